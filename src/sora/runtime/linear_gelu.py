"""A linear layer and the GELU that follows it as one matrix product, for CUDA, whose library applies the GELU to the
sums before it rounds them. What is saved is one reading and one writing of the widest tensor of a block.

Axis letters: N tokens; K channels in; R channels out.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

APART = 1.5e-4
"""How far a number of the product tested may be from the tanh approximation: less than the exact GELU is (up to
4.7e-4), more than rounding to bfloat16 does to the numbers up to 0.06 that are compared."""


def linear_gelu(x: Tensor, weight_RK: Tensor, bias_R: Tensor) -> Tensor:
    """GELU, by its tanh approximation on CUDA, of x W^T + bias: (..., R) from (..., K). Not differentiable."""
    y_NR = torch._addmm_activation(bias_R, x.reshape(-1, x.shape[-1]), weight_RK.t(), use_gelu=True)  # type: ignore[attr-defined]
    return y_NR.view(*x.shape[:-1], len(weight_RK))


@cache
def is_supported(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the installed build of torch computes it so on the device, tested where the exact GELU, which it takes on
    CPUs, is another number."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    return agrees_with_tanh(device, dtype)


def agrees_with_tanh(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether ``linear_gelu`` is the tanh approximation there."""
    diagonal_N = torch.linspace(-3.0, -2.0, 64, device=device).to(dtype)
    try:
        found = linear_gelu(torch.diag(diagonal_N), torch.eye(64, device=device, dtype=dtype), diagonal_N.new_zeros(64))
    except (RuntimeError, TypeError, AttributeError):  # no such operator, or another signature
        return False
    expected = torch.diag(F.gelu(diagonal_N.float(), approximate="tanh"))
    return bool((found.float() - expected).abs().max() <= APART)
