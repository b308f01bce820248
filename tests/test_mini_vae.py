"""The small autoencoder's promises, on random weights: causal, streaming equals whole, crops agree with the whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sora.networks.mini_vae import MiniVAE, MiniVAEConfig

SMALL = MiniVAEConfig(4, 8, 16, (1, 2), 8, 16, (1, 3))


@pytest.fixture(scope="module")
def vae() -> MiniVAE:
    torch.manual_seed(0)
    model = MiniVAE(SMALL)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.2)
        model.mean.copy_(torch.randn(4))
        model.deviation.copy_(torch.rand(4) + 0.5)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def film() -> Tensor:
    return torch.rand(2, 3, 13, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_shapes(vae: MiniVAE, film: Tensor) -> None:
    latents = vae.encode(film)
    assert latents.shape == (2, 4, 4, 4, 6)
    assert vae.decode(latents).shape == film.shape


def test_a_picture_is_the_first_latent_of_its_film(vae: MiniVAE, film: Tensor) -> None:
    assert torch.allclose(vae.encode(film[:, :, :1]), vae.encode(film)[:, :, :1], atol=1e-5)


def test_later_frames_never_reach_back(vae: MiniVAE, film: Tensor) -> None:
    changed = film.clone()
    changed[:, :, 9:] = 0
    before, after = vae.encode(film), vae.encode(changed)
    assert torch.allclose(before[:, :, :3], after[:, :, :3], atol=1e-5)
    assert not torch.allclose(before[:, :, 3], after[:, :, 3], atol=1e-2)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_streaming_equals_the_whole(vae: MiniVAE, film: Tensor, chunk: int) -> None:
    latents = vae.encode(film)
    streamed = torch.cat(list(vae.stream(latents, chunk)), dim=2)
    assert torch.allclose(streamed, vae.decode(latents), atol=1e-5)


def test_decoding_is_causal(vae: MiniVAE, film: Tensor) -> None:
    latents = vae.encode(film)
    assert torch.allclose(vae.decode(latents[:, :, :2]), vae.decode(latents)[:, :, :5], atol=1e-5)


def test_time_is_seen_across_latent_frames(vae: MiniVAE, film: Tensor) -> None:
    latents = vae.encode(film)
    changed = latents.clone()
    changed[:, :, 0] += 1
    assert not torch.allclose(vae.decode(latents)[:, :, 5:9], vae.decode(changed)[:, :, 5:9], atol=1e-3)
