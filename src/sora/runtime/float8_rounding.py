"""Rounding to eight-bit floats with a scale for each row, in as few passes over memory as the way of running allows.

A compiler sees plain torch arithmetic and fuses it with whatever made the numbers. Uncompiled, torch would read and
write the numbers some eight times; on CUDA one Triton kernel does it in one read, where Triton works.

Axis letters: R rows; K numbers in a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

FLOAT8 = torch.float8_e4m3fn
FLOAT8_MAX = torch.finfo(FLOAT8).max
MIN_SCALE = 1e-12
"""Of a row of zeros, which has no largest number to go by."""

GELU_DEPTH = 0.1701
"""How far a GELU, by its tanh approximation, goes below 0: it falls to -0.17004 and grows from x = -0.75 on."""

MAX_COLUMNS = 32768
"""Numbers in a row that the Triton kernel can hold at once."""

RoundingFunction = Callable[[Tensor, bool], tuple[Tensor, Tensor]]


def quantize_rows(x_RK: Tensor, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """Return (a scale for each row, float32 (R, 1); the rows divided by their scales, float8 (R, K)).

    gelu: whether the tanh approximation of GELU comes first. A row's largest number becomes float8's largest; after a
    GELU the smallest that there can be, -0.17, counts as one of the row. NaN stays NaN, and infinity becomes NaN.
    """
    if x_RK.is_cuda and not torch.compiler.is_compiling() and x_RK.shape[1] <= MAX_COLUMNS:
        kernel = triton_rounding(x_RK.device)
        if kernel is not None:
            return kernel(x_RK, gelu)
    return quantize_rows_in_torch(x_RK, gelu)


def quantize_rows_in_torch(x_RK: Tensor, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """``quantize_rows`` for any device and for a compiler. Only a row's scale is divided, so that whoever computes this
    has the same bits; no clamp is needed, because a quotient exceeds the largest by rounding alone."""
    if gelu:  # of the largest number alone where the scale is computed, since a GELU takes longer than a maximum
        largest_R1 = _tanh_gelu(x_RK.amax(dim=1, keepdim=True).float()).clamp(min=GELU_DEPTH)
        x_RK = _tanh_gelu(x_RK.float())
    else:
        largest_R1 = x_RK.abs().amax(dim=1, keepdim=True).float()
    scale_R1 = (largest_R1 * (1 / FLOAT8_MAX)).clamp(min=MIN_SCALE)
    return scale_R1, (x_RK.float() * scale_R1.reciprocal()).to(FLOAT8)


def _tanh_gelu(x: Tensor) -> Tensor:
    """Of float32. Compiled by the sigmoid, the same number: compilers make more of a tanh."""
    if not torch.compiler.is_compiling():
        return F.gelu(x, approximate="tanh")
    return x * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


@cache
def triton_rounding(device: torch.device) -> RoundingFunction | None:
    """The Triton kernel, if it runs on the device and gives torch's bits there. It needs Triton, which torch brings
    along for CUDA on Linux, and a C compiler."""
    try:
        from sora.runtime.float8_triton import quantize_rows_in_triton
    except ImportError:
        return None
    rows = torch.linspace(-3, 5, 4000, device=device, dtype=torch.bfloat16).view(4, 1000)
    try:
        found = quantize_rows_in_triton(rows, False)
        quantize_rows_in_triton(rows, True)
    except Exception:  # a compiler that fails takes time from a clip, and must not take the clip
        return None
    expected = quantize_rows_in_torch(rows)
    return quantize_rows_in_triton if all(map(_same_bits, found, expected)) else None


def _same_bits(x: Tensor, y: Tensor) -> bool:
    return torch.equal(x.view(torch.uint8), y.view(torch.uint8))
