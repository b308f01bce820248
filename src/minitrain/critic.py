"""A patch discriminator that distinguishes rendered pixels from decoded ones (Isola et al., arXiv 1611.07004).

It is trained together with the decoder, with the hinge loss (Lim and Ye, arXiv 1705.02894). It sees single frames, so
it rewards crisp edges and not motion.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Critic(nn.Module):
    """Frames to one score for each patch of 22 pixels; a rendered patch should score above 1, a decoded one below
    -1."""

    def __init__(self, device: torch.device | str = "cpu", width: int = 32, learning_rate: float = 4e-4) -> None:
        super().__init__()
        stages = ((3, width), (width, 2 * width), (2 * width, 2 * width))
        self.net = nn.Sequential(
            *(m for i, o in stages for m in (nn.utils.spectral_norm(nn.Conv2d(i, o, 4, 2, 1)), nn.LeakyReLU(0.2))),
            nn.utils.spectral_norm(nn.Conv2d(2 * width, 1, 1)),
        ).to(device)
        self.optimiser = torch.optim.AdamW(self.parameters(), lr=learning_rate, betas=(0.5, 0.9))

    def forward(self, pixels_BCFYX: Tensor) -> Tensor:
        return self.net(rearrange(pixels_BCFYX, "b c f y x -> (b f) c y x"))

    def update(self, rendered_BCFYX: Tensor, painted_BCFYX: Tensor) -> Tensor:
        """One optimiser step on detached pixels; returns the loss before it."""
        loss = F.relu(1 - self(rendered_BCFYX)).mean() + F.relu(1 + self(painted_BCFYX)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def generator_loss(self, painted_BCFYX: Tensor) -> Tensor:
        """The loss that the decoder should lower."""
        self.requires_grad_(False)
        value = -self(painted_BCFYX).mean()
        self.requires_grad_(True)
        return value
