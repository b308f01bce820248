"""SiLU of a norm over channels as one Triton kernel, which reads its input once and writes its result where it belongs.

Step by step torch moves six times as many bytes, in float32: two thirds of all that decoding moves, convolutions and
all.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

from sora.runtime.sigmoid_triton import sigmoid

TILE = 4096  # numbers of a program, about


@triton.jit(do_not_specialize=["places"])
def _norm_silu(x, gamma, out, places, sample_stride, channels, scale, PLACES: tl.constexpr, CHANNELS: tl.constexpr):
    sample = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    channel = tl.arange(0, CHANNELS)
    inside = (place < places)[:, None] & (channel < channels)[None, :]
    offset = place.to(tl.int64)[:, None] * channels + channel[None, :]
    values = tl.load(x + sample * places * channels + offset, mask=inside, other=0).to(tl.float32)
    square = tl.sum(values * values, axis=1)
    # Not a maximum, which would make a number of NaN.
    factor = scale * tl.rsqrt(tl.where(square < 1e-24, 1e-24, square))  # type: ignore[operator]
    weight = tl.load(gamma + channel, mask=channel < channels, other=0).to(tl.float32)
    values = values * factor[:, None] * weight[None, :]
    values = values * sigmoid(values)
    tl.store(out + sample * sample_stride + offset, values.to(out.dtype.element_ty), mask=inside)


def norm_silu_in_triton(x_BCTHW: Tensor, gamma: Tensor, out_BCTHW: Tensor) -> None:
    """``networks.convolver.Activation`` for tensors on CUDA (on a CPU under TRITON_INTERPRET=1) whose channels are side
    by side in memory; x is copied where its places are not. Raises what Triton raises where it cannot compile."""
    b, c, t, h, w = x_BCTHW.shape
    x = x_BCTHW.permute(0, 2, 3, 4, 1).contiguous()
    places, block = t * h * w, triton.next_power_of_2(c)
    tile = max(1, TILE // block)
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        launch: Any = _norm_silu[(triton.cdiv(places, tile), b)]  # type: ignore[index]
        launch(
            x,
            gamma,
            out_BCTHW,
            places,
            out_BCTHW.stride(0),
            c,
            c**0.5,
            PLACES=tile,
            CHANNELS=block,
            enable_fp_fusion=True,  # by name, since Triton's default differs between versions
        )
