"""NaN and infinity in tensors, found before they become a black film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sora.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


class NotFinite(ModelError):
    """A tensor of a file holds NaN or infinity, in the dtype that it was read as."""


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any shape holds neither NaN nor infinity. Reads it once where it stands and allocates nothing
    of its size: ``aminmax`` hands NaN on."""
    if tensor.is_meta or not tensor.numel() or not tensor.is_floating_point():
        return True
    if tensor.dtype.itemsize == 1:  # torch has no order of eight-bit floats
        tensor = tensor.half()
    low, high = tensor.aminmax()
    return bool((low - low == 0) & (high - high == 0))


def check(tensor: Tensor, file: Path, name: str) -> None:
    """Raises NotFinite for a tensor of a file that holds NaN or infinity, as ``name`` in messages."""
    if not is_finite(tensor):
        raise not_finite(file, name, str(tensor.dtype).removeprefix("torch."))


def not_finite(file: Path, name: str, dtype: str = "") -> NotFinite:
    """The error for a tensor of a file. dtype: that it was read as, which may be too narrow for what the file holds."""
    advice = "try --dtype bfloat16, or download it again" if dtype == "float16" else "download it again"
    where = f" as {dtype}" if dtype else ""
    return NotFinite(f"the weights file {file} holds NaN or infinity in {name}{where}; {advice}")
