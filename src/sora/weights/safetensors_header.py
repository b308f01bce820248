"""What a safetensors file holds, checked, from its header alone.

The format: eight bytes of header length (little-endian), a JSON header of names, shapes and byte ranges, then the
bytes (github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sora.weights.held import SIZES, Table, TensorEntry

_LIMIT = 100_000_000  # bytes; the format's own bound, so that a damaged length never becomes an allocation
_BLOCKS = ("Q8_0", "Q4_K", "Q5_K", "Q6_K")  # formats of ggml, which no safetensors file has


def table(path: Path) -> Table:
    """Every tensor by name. Raises ValueError, TypeError, KeyError or RecursionError for a file that is truncated or
    not safetensors, and OSError."""
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or not 2 <= length <= min(_LIMIT, total - 8):
            raise ValueError(f"{total} bytes hold no safetensors header")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError:
            raise ValueError("its header is not JSON") from None
    if not isinstance(header, dict):
        raise ValueError("its header is not a table of tensors")
    header.pop("__metadata__", None)
    end = _check_spans(header)
    if total != 8 + length + end:
        raise ValueError(f"it has {total} bytes where its header promises {8 + length + end}")
    return {
        name: TensorEntry(path, entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _check_spans(header: dict[str, Any]) -> int:
    """The end of the last tensor's bytes. Every span is as long as its shape says and starts where another ended."""
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        shape = entry["shape"]
        if not all(isinstance(n, int) and n >= 0 for n in (start, stop, *shape)):
            raise ValueError(f"{name} has a size that is no count")
        if entry["dtype"] not in SIZES or entry["dtype"] in _BLOCKS:
            raise ValueError(f"{name} is of the unknown type {entry['dtype']}")
        if start != end or stop - start != TensorEntry(Path(), entry["dtype"], tuple(shape), start).nbytes:
            raise ValueError(f"the bytes of {name} do not match its shape")
        end = stop
    return end
