"""A grown network does what the smaller one did."""

from __future__ import annotations

import pytest
import torch

from minitrain.vae import grow_vae
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig

SMALL = MiniVAEConfig(4, 8, 16, (1, 2), 8, 16, (1, 3))
LARGE = MiniVAEConfig(6, 8, 16, (1, 2), 8, 16, (1, 3), detail=4, reach=3)


@torch.no_grad()
def test_the_first_latent_channels_are_the_old_ones() -> None:
    torch.manual_seed(1)
    small, large = MiniVAE(SMALL), MiniVAE(LARGE)
    for name, p in small.named_parameters():
        if name.endswith("mix.weight"):
            torch.nn.init.normal_(p, std=0.1)
    large.load_state_dict(grow_vae(small.state_dict(), large))
    film = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    doubled = film.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    assert torch.allclose(large.encode(doubled)[:, :4], small.encode(film), atol=1e-4)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="larger network has no such weights: strange"):
        grow_vae({"strange": torch.zeros(1)}, MiniVAE(LARGE))
