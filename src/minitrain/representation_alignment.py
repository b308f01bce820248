"""Representation alignment (REPA, Yu et al. 2024, arXiv 2410.06940) as an auxiliary loss of the transformer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sora.networks.wan.dit import WanDiT


class RepresentationAlignment(nn.Module):
    """Compares projected tokens of a middle block with a frozen network's features of the clean pixels. It is used
    while training alone; nothing of it is saved with the model."""

    def __init__(self, dit: WanDiT, feature_channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(dit.config.dim, dit.config.dim), nn.SiLU(), nn.Linear(dit.config.dim, feature_channels)
        )
        self.patch = dit.config.patch
        self.tokens: Tensor | None = None
        dit.blocks[len(dit.blocks) // 2].register_forward_hook(self._store_tokens)

    def _store_tokens(self, _block: nn.Module, _given: Any, tokens: Tensor) -> None:
        self.tokens = tokens if torch.is_grad_enabled() else None

    def forward(self, features_BDTHW: Tensor, latent_shape: tuple[int, int, int]) -> Tensor:
        """One minus the mean cosine similarity, for the transformer's last forward pass. features_BDTHW: the frozen
        network's features. latent_shape: (T, H, W) of the latents."""
        assert self.tokens is not None
        grid = [size // p for size, p in zip(latent_shape, self.patch, strict=True)]
        target = F.interpolate(features_BDTHW, grid, mode="trilinear").flatten(2).mT
        return 1 - F.cosine_similarity(self.project(self.tokens.float()), target, dim=-1).mean()
