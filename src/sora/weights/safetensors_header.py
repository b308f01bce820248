"""What a safetensors file holds, checked, from its header alone.

The format: eight bytes of header length (little-endian), a JSON header of names, shapes and byte ranges, then the
bytes (github.com/huggingface/safetensors).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sora.storage import regular
from sora.weights.tensor_entry import BLOCKS, SIZES, Table, TensorEntry

MAX_HEADER = 8 << 20  # bytes, enough for 70,000 tensors; JSON takes ten times as much in memory
_MAX_DIMS = 8
_METADATA = "__metadata__"


def table(path: Path) -> Table:
    """Every tensor by name. Raises ValueError, TypeError or KeyError for a file that is truncated or not safetensors,
    and OSError."""
    header, start, total = _header(path)
    header.pop(_METADATA, None)
    end = _check_spans(header)
    if total != start + end:
        raise ValueError(f"it has {total} bytes where its header promises {start + end}")
    return {
        name: TensorEntry(path, entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def metadata(path: Path) -> dict[str, str]:
    """What a file says about itself, as text. Raises as ``table``."""
    found = _header(path)[0].get(_METADATA) or {}
    if not isinstance(found, dict):
        raise ValueError("its metadata is no table of texts")
    return {str(key): str(value) for key, value in found.items()}


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """(the header, the byte after it, bytes of the file)."""
    with regular.opened(path) as file:
        total = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or not 2 <= length <= total - 8:
            raise ValueError(f"{total} bytes hold no safetensors header")
        if length > MAX_HEADER:
            raise ValueError(f"its header has {length} bytes, at most {MAX_HEADER} are read")
        text = file.read(length)
    try:
        header = regular.parse_json(text.decode("utf-8"))
    except ValueError:
        raise ValueError("its header is not JSON") from None
    if not isinstance(header, dict):
        raise ValueError("its header is not a table of tensors")
    return header, 8 + length, total


def _check_spans(header: dict[str, Any]) -> int:
    """The end of the last tensor's bytes. Every span is as long as its shape says and starts where another ended."""
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        shape = entry["shape"]
        if len(shape) > _MAX_DIMS or not all(isinstance(n, int) and 0 <= n < 1 << 63 for n in (start, stop, *shape)):
            raise ValueError(f"{name} has a size that is no count")
        if entry["dtype"] not in SIZES or entry["dtype"] in BLOCKS:
            raise ValueError(f"{name} is of the unknown type {entry['dtype']}")
        if start != end or stop - start != TensorEntry(Path(), entry["dtype"], tuple(shape), start).nbytes:
            raise ValueError(f"the bytes of {name} do not match its shape")
        end = stop
    return end
