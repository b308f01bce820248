"""SiLU of a norm as one kernel: the numbers of the layers, in the autoencoders and on its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.norm_silu import FusedActivation, agrees_with_torch, fused_activation, norm_silu_in_torch

CPU = torch.device("cpu")
CONFIGS = {"2.1": replace(WAN21, base_dim=8), "2.2": replace(WAN22, base_dim=8, decoder_base_dim=8)}


def network(config: WanVAEConfig) -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE(config).eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        parameter.normal_(std=1.2 * (parameter[0].numel() if parameter.ndim > 1 else 16) ** -0.5)
        if name.endswith("gamma"):
            parameter.add_(1.0)
    return vae


class CountedActivation(FusedActivation):
    """Counts its calls."""

    calls = 0

    def __call__(self, x_BCTHW: Tensor, gamma: Tensor, out_BCTHW: Tensor) -> None:
        self.calls += 1
        super().__call__(x_BCTHW, gamma, out_BCTHW)


@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_autoencoders_give_the_same_with_it(config: WanVAEConfig, tile: int | None) -> None:
    plain, fused = network(config), network(config).in_channels_last()
    fused.activation = counted = CountedActivation(norm_silu_in_torch)
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(2, config.z_dim, 4, 4, 5, generator=draw)
    pixels = torch.rand(2, 3, 9, 4 * config.space, 5 * config.space, generator=draw) * 2 - 1
    for at_once in (1, 2):
        decoded = plain.decode(latents, tile)
        assert float((fused.decode(latents, tile, at_once) - decoded).abs().max()) <= 2e-5
        assert float(decoded.std()) > 0.1
        assert float((fused.encode(pixels, tile, at_once) - plain.encode(pixels, tile)).abs().max()) <= 2e-5
    assert counted.calls > 100


def test_what_it_cannot_do_is_left_to_the_layers() -> None:
    activation = FusedActivation(norm_silu_in_torch)
    x = torch.zeros(1, 2, 3, 4, 5)
    assert not activation.is_faster(x)
    ordered = x.contiguous(memory_format=torch.channels_last_3d)
    assert activation.is_faster(ordered) and not activation.is_faster(ordered.requires_grad_())


def test_there_is_none_on_a_cpu() -> None:
    assert fused_activation(CPU, torch.float16) is None


def test_a_kernel_that_is_wrong_is_found_out() -> None:
    def without_gaps(x: Tensor, gamma: Tensor, out: Tensor) -> None:
        norm_silu_in_torch(x, gamma, torch.empty_like(x))
        out.zero_()

    assert agrees_with_torch(norm_silu_in_torch, CPU, torch.float16)
    assert not agrees_with_torch(without_gaps, CPU, torch.float16)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_triton_kernel_agrees_with_torch() -> None:
    """On a card or in Triton's interpreter, which it takes a process of its own to choose."""
    call = "import test_norm_silu; test_norm_silu.compare_triton_with_torch()"
    interpreted = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    env, tests = {**os.environ, **interpreted}, Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", call], env=env, cwd=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def compare_triton_with_torch() -> None:
    from sora.runtime.norm_silu_triton import norm_silu_in_triton

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert agrees_with_torch(norm_silu_in_triton, device, dtype)
        x = torch.randn(1, 4, 9, 11, 48, device=device).to(dtype).permute(0, 4, 1, 2, 3)
        x[0, 3, 1, 2, 2], x[0, 7, 1, 3, 2] = torch.nan, torch.inf
        crop, gamma = x[:, :, :, 1:4, 2:], torch.randn(48, device=device).to(dtype)
        found, expected = (x.new_zeros(1, 6, 3, 9, 48).permute(0, 4, 1, 2, 3) for _ in range(2))
        norm_silu_in_triton(crop, gamma, found[:, :, 2:])
        norm_silu_in_torch(crop, gamma, expected[:, :, 2:])
        assert torch.equal(found.isnan(), expected.isnan()) and int(found.isnan().sum()) == 48 + 1
        assert torch.allclose(
            found.float(), expected.float(), rtol=4 * torch.finfo(dtype).eps, atol=1e-6, equal_nan=True
        )
