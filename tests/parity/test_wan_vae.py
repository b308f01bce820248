"""Our Wan autoencoders against diffusers' AutoencoderKLWan: same weights, same numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.winograd import Winograd

STATISTICS: dict[str, Any] = {"latents_mean": (0.3, -0.7, 0.1, 1.2), "latents_std": (2.1, 0.6, 1.4, 0.9)}
CASES = {
    "2.1": WanVAEConfig(base_dim=8, z_dim=4, **STATISTICS),
    "2.1 narrow": WanVAEConfig(
        base_dim=8, decoder_base_dim=12, z_dim=4, dim_mult=(1, 2, 3), temperal_downsample=(True, True), **STATISTICS
    ),
    "2.2": WanVAEConfig(
        base_dim=8,
        decoder_base_dim=12,
        z_dim=4,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        **STATISTICS,
    ),
    "2.2 of one block": WanVAEConfig(base_dim=8, z_dim=4, is_residual=True, num_res_blocks=1, **STATISTICS),
}
TOTALS = {"2.1": (WAN21, 126_892_531), "2.2": (WAN22, 704_688_668)}


def theirs(config: WanVAEConfig) -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=config.base_dim,
        decoder_base_dim=config.decoder_base_dim,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.num_res_blocks,
        temperal_downsample=list(config.temperal_downsample),
        latents_mean=list(config.latents_mean),
        latents_std=list(config.latents_std),
        is_residual=config.is_residual,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        patch_size=None if config.patch_size == 1 else config.patch_size,
        scale_factor_temporal=config.time,
        scale_factor_spatial=config.space,
    )


def pair(config: WanVAEConfig) -> tuple[WanVAE, AutoencoderKLWan]:
    """Both networks with the same lively random weights: every bias and norm counts."""
    torch.manual_seed(0)
    reference = theirs(config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            fan_in = 16 if "gamma" in name or parameter.ndim == 1 else parameter[0].numel()
            parameter.normal_(std=1.2 * fan_in**-0.5)
            if "gamma" in name:
                parameter.add_(1.0)
        reference.decoder.conv_out.weight.mul_(0.5)
    ours = WanVAE(config).eval()
    ours.convolver = Winograd
    ours.load_state_dict(reference.state_dict(), strict=True)
    return ours, reference


def film(config: WanVAEConfig, frames: int, batch: int = 1) -> Tensor:
    """Random pixels in [-1, 1], three latents high and five wide."""
    return torch.rand(batch, 3, frames, 3 * config.space, 5 * config.space) * 2 - 1


def wide(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1, 1)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("frames", [1, 5, 9, 13])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_same_latents(case: str, frames: int) -> None:
    config = CASES[case]
    ours, reference = pair(config)
    pixels = film(config, frames, batch=2)
    posterior = reference.encode(pixels, return_dict=False)[0]
    mean, logvar = ours.moments(pixels)
    assert mean.shape == (2, 4, 1 + (frames - 1) // 4, 3, 5) and float(posterior.mean.std()) > 0.1
    assert distance(mean, posterior.mean) <= 1e-5
    assert distance(logvar, posterior.logvar) <= 1e-5
    want = (posterior.mode() - wide(config.latents_mean)) / wide(config.latents_std)
    assert distance(ours.encode(pixels), want) <= 1e-5


@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_same_pixels(case: str, length: int) -> None:
    config = CASES[case]
    ours, reference = pair(config)
    latents = torch.randn(2, 4, length, 3, 5)
    raw = latents * wide(config.latents_std) + wide(config.latents_mean)
    want = reference.decode(raw, return_dict=False)[0]
    got = ours.decode(latents)
    assert got.shape == want.shape == (2, 3, 4 * length - 3, 3 * config.space, 5 * config.space)
    assert float(want.std()) > 0.1 and float((want.abs() == 1).float().mean()) < 0.1
    assert distance(got, want) <= 1e-5


@pytest.mark.parametrize("tile", [None, 2])
@pytest.mark.parametrize("case", ["2.1", "2.2"])
@torch.no_grad()
def test_streaming_is_the_same_too(case: str, tile: int | None) -> None:
    config = CASES[case]
    ours, reference = pair(config)
    latents = torch.randn(1, 4, 4, 3, 5)
    raw = latents * wide(config.latents_std) + wide(config.latents_mean)
    want = reference.decode(raw, return_dict=False)[0]
    chunks = list(ours.stream(latents, tile))
    assert [chunk.shape[2] for chunk in chunks] == [1, 4, 4, 4]
    assert distance(torch.cat(chunks, dim=2), want) <= 1e-5


@pytest.mark.parametrize("case", ["2.1", "2.2"])
@torch.no_grad()
def test_in_bfloat16_no_further_from_exact(case: str) -> None:
    config = CASES[case]
    ours, reference = pair(config)
    latents, pixels = torch.randn(2, 4, 2, 3, 5), film(config, 5, batch=2)
    raw = latents * wide(config.latents_std) + wide(config.latents_mean)
    exact_pixels, exact_mean = ours.decode(latents), ours.moments(pixels)[0]
    ours, reference = ours.bfloat16(), reference.bfloat16()
    got, want = ours.decode(latents), reference.decode(raw.bfloat16(), return_dict=False)[0]
    assert got.dtype == torch.bfloat16
    assert distance(got.float(), exact_pixels) <= 1.1 * distance(want.float(), exact_pixels)
    mean, posterior = ours.moments(pixels)[0], reference.encode(pixels.bfloat16(), return_dict=False)[0]
    assert distance(mean.float(), exact_mean) <= 1.1 * distance(posterior.mean.float(), exact_mean)


@pytest.mark.parametrize("case", TOTALS)
def test_same_names_and_shapes_as_the_true_sizes(case: str) -> None:
    config, total = TOTALS[case]
    with torch.device("meta"):
        ours, reference = WanVAE(config).state_dict(), theirs(config).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in reference.items()}
    assert sum(math.prod(v.shape) for v in ours.values()) == total


def test_the_published_numbers_are_diffusers_own() -> None:
    with torch.device("meta"):
        defaults = dict(AutoencoderKLWan().config)
    assert WanVAEConfig.from_json(defaults) == WAN21


@pytest.mark.parametrize("case", CASES)
def test_reads_what_diffusers_writes(case: str) -> None:
    with torch.device("meta"):
        written = theirs(CASES[case]).to_json_string()
    assert WanVAEConfig.from_json(json.loads(written)) == CASES[case]
