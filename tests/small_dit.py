"""A small Wan transformer in bfloat16, its inputs, and how far results are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT

CONFIG = WanConfig(
    num_layers=2, heads=2, head_dim=32, in_channels=4, out_channels=4, text_dim=8, freq_dim=16, ffn_dim=160
)


def small_dit(config: WanConfig = CONFIG) -> WanDiT:
    """In bfloat16, with weights under which nothing dies out."""
    torch.manual_seed(0)
    dit = WanDiT(config).eval().requires_grad_(False)
    for p in dit.parameters():
        p.normal_(std=p[0].numel() ** -0.5 if p.ndim > 1 else 0.3)
    return dit.bfloat16()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, a time, a text."""
    rng = torch.Generator().manual_seed(1)
    x, text = torch.randn(1, 4, 3, 4, 6, generator=rng), torch.randn(1, 5, 8, generator=rng)
    return x.bfloat16(), torch.full((1,), 700.0), text.bfloat16()


def distance(x: Tensor, y: Tensor) -> float:
    """Of x from y, relative to y."""
    return float((x.double() - y.double()).norm() / y.double().norm())
