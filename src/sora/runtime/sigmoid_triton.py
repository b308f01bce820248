"""The logistic sigmoid for Triton kernels."""

from __future__ import annotations

import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]


@triton.jit
def sigmoid(x):
    """Of float32, within 2^-21 of the number: three instructions fewer than ``tl.sigmoid``, whose division guards against
    numbers that 1 + exp(-x) never is near, and two fewer for an exponential whose smallest results, which 1 swallows,
    may become 0."""
    root = tl.rsqrt(1 + tl.exp2(-1.4426950408889634 * x))
    return root * root
