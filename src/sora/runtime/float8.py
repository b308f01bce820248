"""Linear layers whose products are computed in eight-bit floats (arXiv 2209.05433), for accelerators that compute them
at twice the rate of sixteen bits: NVIDIA's from Ada and Hopper on. It changes the picture.

Each row of the weight and each token has a scale of its own, so that its largest number is float8's largest. Axis
letters: N tokens; K channels in; R channels out.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

FLOAT8 = torch.float8_e4m3fn
FLOAT8_MAX = torch.finfo(FLOAT8).max
CHANNEL_MULTIPLE = 16
"""Channels in and out are multiples of it, or the product is not to be had."""

MIN_CAPABILITY = (8, 9)
"""CUDA's compute capability from which on accelerators multiply eight-bit floats themselves."""


def is_fast(device: torch.device) -> bool:
    """Whether products in float8 work on the device and save time there: CPUs only emulate them."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= MIN_CAPABILITY and is_supported(device)


def is_supported(device: torch.device) -> bool:
    """Whether the installed build of torch computes such products on the device, tested on one whose answer is known:
    torch 2.6 has none on CPUs, and which devices and processors take a scale for each row differs between builds."""
    ones_RK = torch.ones(CHANNEL_MULTIPLE, CHANNEL_MULTIPLE, device=device).to(FLOAT8)
    scale_R1 = 2.0 ** (
        torch.arange(CHANNEL_MULTIPLE, device=device, dtype=torch.float32)[:, None] - CHANNEL_MULTIPLE // 2
    )
    try:
        y_RR = scaled_matmul(ones_RK, ones_RK, scale_R1, scale_R1.T.contiguous(), torch.bfloat16)
    except (RuntimeError, ValueError, TypeError, AttributeError):  # no operator, no such scales, or another signature
        return False
    return torch.equal(y_RR.float(), CHANNEL_MULTIPLE * scale_R1 * scale_R1.T)


class Float8Linear(nn.Module):
    """Replaces a trained ``nn.Linear``, with inputs and outputs in its dtype, bfloat16 or float16."""

    scale: Tensor
    weight: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale_R1, weight_RK = quantize_rows(linear.weight.detach())
        self.register_buffer("scale", scale_R1.T.contiguous())
        self.register_buffer("weight", weight_RK)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        scale_N1, x_NK = quantize_rows(x.reshape(-1, self.in_features))
        y_NR = scaled_matmul(x_NK, self.weight, scale_N1, self.scale, x.dtype)
        y_NR = y_NR if self.bias is None else y_NR + self.bias
        return y_NR.view(*x.shape[:-1], self.out_features)


def scaled_matmul(x_NK: Tensor, weight_RK: Tensor, scale_N1: Tensor, scale_1R: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, R) in ``dtype``: float8 ``x_NK`` and ``weight_RK``, each row times its float32 scale, multiplied."""
    return torch._scaled_mm(x_NK, weight_RK.t(), scale_a=scale_N1, scale_b=scale_1R, out_dtype=dtype)  # type: ignore


def quantize_rows(x_RK: Tensor) -> tuple[Tensor, Tensor]:
    """Return (a scale for each row, float32 (R, 1); the rows divided by their scales, float8 (R, K))."""
    scale_R1 = (x_RK.abs().amax(dim=1, keepdim=True).float() / FLOAT8_MAX).clamp(min=1e-12)
    return scale_R1, (x_RK.float() / scale_R1).clamp(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8)


def convert_to_float8(modules: Iterable[nn.Module]) -> None:
    """Replace every plain linear layer inside whose sizes allow it with a ``Float8Linear``, one by one."""
    for module in modules:
        for parent in module.modules():
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear and not (
                    child.in_features % CHANNEL_MULTIPLE or child.out_features % CHANNEL_MULTIPLE
                ):
                    setattr(parent, name, Float8Linear(child))
