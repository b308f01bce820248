"""Checkpoint files in safetensors, loaded strictly: what a file must hold is checked before any tensor is allocated.

The format: eight bytes of header length (little-endian), a JSON header of names, shapes and byte ranges, then the
bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sora.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    ModuleT = TypeVar("ModuleT", bound=nn.Module)

Shapes = Mapping[str, tuple[int, ...]]

ASSETS = Path(__file__).parent / "assets"

_HEADER_LIMIT = 100_000_000  # bytes; the format's own bound, so that a damaged length never becomes an allocation
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_BYTES |= {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1}


def asset(name: str) -> Path:
    """Where a file that ships inside the package stands."""
    return ASSETS / name


def embedded(files: Iterable[str]) -> bool:
    """Whether all these files ship inside this installation."""
    return all(asset(name).is_file() for name in files)


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor of a file, from its header alone.

    Raises ModelError for a file that is missing, empty, truncated, or not safetensors.
    """
    try:
        return _shapes(path)
    except FileNotFoundError:
        raise ModelError(f"the weights file {path} is missing; reinstall the package that brings it") from None
    except OSError as error:
        raise ModelError(f"the weights file {path} cannot be read ({error.strerror}); check its permissions") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(f"the weights file {path} is damaged ({error}); reinstall or download it again") from None


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or not 2 <= length <= min(_HEADER_LIMIT, total - 8):
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
    return {name: tuple(entry["shape"]) for name, entry in header.items()}


def _check_spans(header: dict[str, Any]) -> int:
    """The end of the last tensor's bytes. Every span is as long as its shape says and starts where another ended."""
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        shape = entry["shape"]
        if not all(isinstance(n, int) and n >= 0 for n in (start, stop, *shape)):
            raise ValueError(f"{name} has a size that is no count")
        if entry["dtype"] not in _BYTES:
            raise ValueError(f"{name} is of the unknown type {entry['dtype']}")
        if start != end or stop - start != math.prod(shape) * _BYTES[entry["dtype"]]:
            raise ValueError(f"the bytes of {name} do not match its shape")
        end = stop
    return end


def read(
    path: Path,
    expected: Shapes,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    prefix: str = "",
) -> dict[str, Tensor]:
    """Exactly the tensors of ``expected`` (name to shape), on ``device``.

    dtype: floating tensors are converted to it; None keeps the file's. prefix: look only at names that start with it;
    ``expected`` and the answer are without it. Raises ModelError, before anything is allocated, when the file is
    damaged or holds other names or shapes than expected.
    """
    found = {name.removeprefix(prefix): shape for name, shape in shapes(path).items() if name.startswith(prefix)}
    _compare(path, found, expected)

    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in expected:
                tensor = file.get_tensor(prefix + name)
                tensors[name] = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
    except SafetensorError as error:
        raise ModelError(f"the weights file {path} is damaged ({error}); reinstall or download it again") from None
    return tensors


def _compare(path: Path, found: Shapes, expected: Shapes) -> None:
    """Raises ModelError naming the first few names that differ."""
    complaints = [
        _few("missing", [n for n in expected if n not in found]),
        _few("unexpected", [n for n in found if n not in expected]),
        _few(
            "of another shape",
            [f"{n} {found[n]} for {shape}" for n, shape in expected.items() if n in found and found[n] != tuple(shape)],
        ),
    ]
    if any(complaints):
        said = "; ".join(c for c in complaints if c)
        raise ModelError(f"the weights file {path} does not fit the model ({said}); reinstall or download it again")


def _few(what: str, names: list[str], most: int = 3) -> str:
    """'2 missing: a, b', with no more than ``most`` names; empty for no names."""
    if not names:
        return ""
    more = ", ..." if len(names) > most else ""
    return f"{len(names)} {what}: {', '.join(names[:most])}{more}"


def load_into(
    module: ModuleT,
    path: Path,
    prefix: str = "",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ModuleT:
    """The same module with the file's tensors (those under ``prefix``) in place of its own, in eval mode, frozen.

    The module may stand on the meta device, so that nothing is allocated twice. Raises ModelError as ``read`` does, and
    ValueError for a module that keeps buffers out of its state on the meta device: nothing in the file could fill them.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict(read(path, expected, device=device, dtype=dtype, prefix=prefix), strict=True, assign=True)
    hollow = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    if hollow:
        raise ValueError(f"no file fills these buffers of {type(module).__name__}: {', '.join(hollow)}")
    return module.eval().requires_grad_(False)
