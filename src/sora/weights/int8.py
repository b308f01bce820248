"""Weights in eight bits: each row of a large matrix as whole numbers of one step, small tensors in float16.

Symmetric round-to-nearest with one scale per output channel, as in LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339)
without its outliers. A packed table is plain tensors: ``name`` in int8 with ``name.scale`` in float16, everything
else under its own name. Which tensors are packed follows from their shapes alone, so a file can be checked before it
is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sora.errors import ModelError

SCALE = ".scale"
SMALLEST = 4096  # elements from which a matrix is worth a scale a row
LEVELS = 127


def packable(shape: tuple[int, ...]) -> bool:
    """Whether a floating tensor of this shape is kept in eight bits: a matrix or kernel of several rows, and large."""
    return len(shape) >= 2 and shape[0] > 1 and math.prod(shape) >= SMALLEST


def stored_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Names and shapes that the packed table of floating tensors of these shapes holds, scales among them."""
    scales = {name + SCALE: (shape[0],) for name, shape in shapes.items() if packable(tuple(shape))}
    return {name: tuple(shape) for name, shape in shapes.items()} | scales


def pack8(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The table in its stored form, on the CPU. A packed value is off by half a step at most, and a step is 1/127 of
    its row's largest value, rounded up to float16; whole numbers and truth values stay what they are.

    Raises ValueError for values float16 cannot hold, for int8 tensors, and for names that end like a scale's.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        _check(name, tensor)
        if not tensor.is_floating_point():
            packed[name] = tensor.detach().cpu().contiguous()
        elif packable(tuple(tensor.shape)):
            packed[name], packed[name + SCALE] = _rows(tensor.detach().float().cpu())
        else:
            packed[name] = tensor.detach().half().cpu().contiguous()
    return packed


def unpack8(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The table that was packed, floating tensors in ``dtype``, each on the device where its stored form stands.

    Raises ModelError for a table that ``pack8`` did not make.
    """
    unpacked: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        if tensor.dtype == torch.int8:
            scale = tensors.get(name + SCALE)
            if scale is None or scale.shape != tensor.shape[:1] or not scale.is_floating_point():
                raise ModelError(f"{name} is in eight bits without a scale a row; reinstall or download its file again")
            wide = scale.float().view(-1, *[1] * (tensor.ndim - 1))
            unpacked[name] = (tensor.float() * wide).to(dtype)
        else:
            unpacked[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return unpacked


def _check(name: str, tensor: Tensor) -> None:
    if name.endswith(SCALE) or tensor.dtype == torch.int8:
        raise ValueError(f"{name} looks packed already; pack8 takes plain tensors")
    if tensor.is_floating_point() and not tensor.abs().amax().item() <= torch.finfo(torch.float16).max:
        raise ValueError(f"{name} holds values beyond float16, or none at all; it cannot be packed")


def _rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 of the same shape, float16 steps a row). A step is rounded up, so that no value is cut off."""
    scale = matrix.flatten(1).abs().amax(dim=1) / LEVELS
    step = scale.half()
    step = torch.where(step.float() < scale, torch.nextafter(step, torch.full_like(step, torch.inf)), step)
    wide = step.float().view(-1, *[1] * (matrix.ndim - 1))
    whole = torch.where(wide > 0, matrix / wide, 0).round()
    return whole.to(torch.int8).contiguous(), step
