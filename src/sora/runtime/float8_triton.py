"""Rounding to eight-bit floats as one Triton kernel: a program for each row reads it once and keeps it in registers.

Bit for bit what torch computes, but for the rounding of the GELU in float32.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

from sora.runtime.sigmoid_triton import sigmoid

FLOAT8 = torch.float8_e4m3fn


@triton.jit
def _tanh_gelu(x):
    return x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))  # x / 2 * (1 + tanh(u)) = x * sigmoid(2 u)


@triton.jit
def _quantize_row(x, rounded, scales, row_stride, columns, GELU: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    values = tl.load(x + row * row_stride + place, mask=place < columns, other=0).to(tl.float32)
    # Among the bits of floats read as whole numbers NaN is the largest, so that it reaches the scale.
    if GELU:
        largest = tl.max(values.to(tl.int32, bitcast=True), axis=0)
        largest = _tanh_gelu(largest.to(tl.float32, bitcast=True))  # type: ignore[union-attr]
        largest = tl.where(largest < 0.1701, 0.1701, largest)
        values = _tanh_gelu(values)
    else:
        largest = tl.max(tl.abs(values).to(tl.int32, bitcast=True), axis=0)
        largest = largest.to(tl.float32, bitcast=True)  # type: ignore[union-attr]
    scale = largest * (1 / 448)
    scale = tl.where(scale < 1e-12, 1e-12, scale)
    tl.store(scales + row, scale)
    # A number times the scale's reciprocal, rounded as IEEE 754 does: Triton's plain division is an approximation.
    values = (values * tl.div_rn(1.0, scale)).to(rounded.dtype.element_ty)
    tl.store(rounded + row * columns + place, values, mask=place < columns)


def quantize_rows_in_triton(x_RK: Tensor, gelu: bool = False, dtype: torch.dtype = FLOAT8) -> tuple[Tensor, Tensor]:
    """``float8_rounding.quantize_rows`` of a tensor on CUDA (on a CPU under TRITON_INTERPRET=1). Raises what Triton
    raises where it cannot compile.

    dtype: of the rows divided by their scales, float32 for what is then rounded elsewhere, as Triton's interpreter does
    not round to float8 as IEEE 754 asks.
    """
    rows, columns = x_RK.shape
    x_RK = x_RK if x_RK.stride(1) == 1 else x_RK.contiguous()
    rounded_RK = torch.empty(rows, columns, dtype=dtype, device=x_RK.device)
    scale_R1 = torch.empty(rows, 1, dtype=torch.float32, device=x_RK.device)
    block = triton.next_power_of_2(columns)
    warps = min(max(block // 512, 1), 16)
    with torch.cuda.device(x_RK.device) if x_RK.is_cuda else nullcontext():
        if rows:
            launch: Any = _quantize_row[(rows,)]  # type: ignore[index]
            launch(
                x_RK,
                rounded_RK,
                scale_R1,
                x_RK.stride(0),
                columns,
                GELU=gelu,
                BLOCK=block,
                num_warps=warps,
                # Asked for by name, since Triton's default differs between versions. torch's bits take no fusion.
                enable_fp_fusion=gelu,
            )
    return scale_R1, rounded_RK
