"""A grown network does what the smaller one did."""

from __future__ import annotations

import pytest
import torch

from minitrain.grow import grown_dit, grown_vae
from sora.models.mini.model import beside_noise, extra_channels
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.networks.wan.dit import WanConfig, WanDiT

SMALL = MiniVAEConfig(4, 8, 16, (1, 2), 8, 16, (1, 3))
LARGE = MiniVAEConfig(6, 8, 16, (1, 2), 8, 16, (1, 3), detail=4, reach=3)


def transformer(channels: int) -> WanDiT:
    config = WanConfig(1, 2, 12, channels + extra_channels(channels), channels, 8, 16, 48)
    torch.manual_seed(channels)
    dit = WanDiT(config)
    dit.init_weights()
    for p in dit.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return dit


@torch.no_grad()
def test_the_first_latent_channels_are_the_old_ones() -> None:
    torch.manual_seed(1)
    small, large = MiniVAE(SMALL), MiniVAE(LARGE)
    for name, p in small.named_parameters():
        if name.endswith("mix.weight"):
            torch.nn.init.normal_(p, std=0.1)
    large.load_state_dict(grown_vae(small.state_dict(), large))
    film = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    doubled = film.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    assert torch.allclose(large.encode(doubled)[:, :4], small.encode(film), atol=1e-4)


@torch.no_grad()
def test_a_grown_transformer_sees_and_says_what_the_small_one_did() -> None:
    small, large = transformer(4), transformer(6)
    large.load_state_dict(grown_dit(small.state_dict(), large, 4))
    x, clean, known = torch.randn(1, 4, 2, 4, 4), torch.randn(1, 4, 2, 4, 4), torch.zeros(1, 4, 2, 4, 4)
    known[:, :, 0] = 1
    more = torch.zeros(1, 2, 2, 4, 4)
    text, t = torch.randn(1, 3, 8), torch.tensor([500.0])
    said = small(torch.cat([x, beside_noise(clean, known)], dim=1), t, text)
    wide = torch.cat([x, more], dim=1), torch.cat([clean, more], dim=1)
    says = large(torch.cat([wide[0], beside_noise(wide[1], known)], dim=1), t, text)
    assert torch.allclose(says[:, :4], said, atol=1e-4)
    assert not says[:, 4:].any()


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="no place in the larger network: strange"):
        grown_vae({"strange": torch.zeros(1)}, MiniVAE(LARGE))
