"""SiLU of a norm over channels in one kernel, for a network whose tensors have their channels side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

Kernel = Callable[[Tensor, Tensor, Tensor], None]


class FusedActivation:
    """Computes with a kernel what it can (``networks.convolver.Activation``)."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def is_faster(self, x_BCTHW: Tensor) -> bool:
        return x_BCTHW.stride(1) == 1 and not (torch.is_grad_enabled() and x_BCTHW.requires_grad)

    def __call__(self, x_BCTHW: Tensor, gamma: Tensor, out_BCTHW: Tensor) -> None:
        self._kernel(x_BCTHW, gamma.flatten(), out_BCTHW)


def norm_silu_in_torch(x_BCTHW: Tensor, gamma: Tensor, out_BCTHW: Tensor) -> None:
    """The same, step by step."""
    length = torch.linalg.vector_norm(x_BCTHW, dim=1, keepdim=True, dtype=torch.float32).clamp_min(1e-12)
    y = x_BCTHW * (x_BCTHW.shape[1] ** 0.5 / length) * gamma.view(-1, 1, 1, 1)
    out_BCTHW.copy_(F.silu(y))


def may_fuse_activation(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there is all that the kernel needs, of which nothing is tried yet."""
    return device.type == "cuda" and dtype != torch.float32 and find_spec("triton") is not None


@cache
def fused_activation(device: torch.device, dtype: torch.dtype) -> FusedActivation | None:
    """With the Triton kernel, if it runs on the device and gives there what torch does; None otherwise. It needs
    Triton, which torch brings along for CUDA on Linux, and a C compiler."""
    if not may_fuse_activation(device, dtype):
        return None
    try:
        from sora.runtime.norm_silu_triton import norm_silu_in_triton

        if agrees_with_torch(norm_silu_in_triton, device, dtype):
            return FusedActivation(norm_silu_in_triton)
    except Exception:  # a compiler that fails takes time from a clip, and must not take the clip
        return None
    return None


def agrees_with_torch(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a kernel gives what torch does, but for rounding, on frames with gaps between samples and a zero."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 7, 96, generator=generator).to(device, dtype).permute(0, 4, 1, 2, 3)
    x[0, :, 0, 0, 0] = 0
    gamma = torch.randn(96, generator=generator).to(device, dtype)
    both = [x.new_zeros(2, 5, 5, 7, 96).permute(0, 4, 1, 2, 3) for _ in range(2)]
    for function, out in zip((kernel, norm_silu_in_torch), both, strict=True):
        function(x, gamma, out[:, :, 2:])
    return bool(torch.allclose(*(out.float() for out in both), rtol=4 * torch.finfo(dtype).eps, atol=1e-6))
