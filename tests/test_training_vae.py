"""What the autoencoder's training asks for in addition to the pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minitrain.vae import LossWeights, VAETrainer
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig

CONFIG = MiniVAEConfig(4, 8, 8, (1, 1), 8, 8, (1, 1), detail=4, reach=3)


@pytest.fixture
def model() -> MiniVAE:
    torch.manual_seed(0)
    return MiniVAE(CONFIG)


def loss_of(trainer: VAETrainer, pixels: Tensor) -> float:
    torch.manual_seed(1)
    return trainer.loss(pixels, torch.ones_like(pixels[:, :1]), 0.0)[0].item()


def test_an_anchor_pulls_back_what_drifts(model: MiniVAE) -> None:
    pixels = torch.rand(1, 3, 9, 64, 64) * 2 - 1
    trainer = VAETrainer(model, LossWeights(anchor_weight=1e4), train_encoder=True)
    assert (
        trainer._latent_drift(model.raw_encode(pixels), pixels).abs().max() < 1e-5
    )  # with gradients another kernel may add up
    with torch.no_grad():
        model.to_latents.weight.mul_(2)
    assert loss_of(trainer, pixels) > 1
    trainer.loss(pixels, torch.ones_like(pixels[:, :1]), 0.0)[0].backward()
    gradient = model.to_latents.weight.grad
    assert gradient is not None and (gradient * model.to_latents.weight).sum() > 0


def test_what_the_judge_sees_teaches_the_decoder(model: MiniVAE) -> None:
    pixels = torch.rand(1, 3, 9, 64, 64) * 2 - 1
    seen, unseen = (
        VAETrainer(model, LossWeights(perceptual_weight=1.0), train_encoder=False),
        VAETrainer(model, LossWeights(), train_encoder=False),
    )
    assert 0 < loss_of(seen, pixels) - loss_of(unseen, pixels) <= 4
    seen.loss(pixels, torch.ones_like(pixels[:, :1]), 0.0)[0].backward()
    assert model.from_latents.weight.grad is not None and model.from_latents.weight.grad.abs().sum() > 0
    assert seen._perceptual_distance(pixels, pixels).item() == pytest.approx(0, abs=1e-6)
