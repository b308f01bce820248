"""What ``sora doctor --deep`` runs of the Wan family: a transformer and both autoencoders, narrow, with random weights.

The transformer has one block of three heads and the tokens of 832x480, whose attention matrix has over 2^31 elements at
81 frames, so that MPS takes it in chunks. Frames of the autoencoders have over 2^16 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from sora.models.attention import use_fastest_attention
from sora.models.device_tests import DeviceTest
from sora.models.wan.components import usual_vae_dtype
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.norm_silu import fused_activation
from sora.runtime.speed import DEFAULT_SPEED
from sora.runtime.winograd import Winograd

FRAMES = (9, 33, 81)
TRANSFORMER = WanConfig(num_layers=1, heads=3, ffn_dim=1536, text_dim=64, freq_dim=64)
VAES = {
    "2.1": replace(WAN21, base_dim=16, num_res_blocks=1),
    "2.2": replace(WAN22, base_dim=16, decoder_base_dim=16, num_res_blocks=1),
}
SIDES = (480, 832)  # pixels of the transformer's video
VAE_SIDES = (256, 272)  # pixels of the autoencoders' videos
TIME, WORDS = 4, 20

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def device_tests(device: torch.device, dtype: torch.dtype) -> tuple[DeviceTest, ...]:
    """dtype: of the transformer besides float32."""
    dtypes = tuple(dict.fromkeys((torch.float32, dtype)))
    vae_dtypes = tuple(dict.fromkeys((torch.float32, usual_vae_dtype(device, dtype, DEFAULT_SPEED))))
    vaes: list[tuple[str, Callable[..., Tensor]]] = []
    for name, config in VAES.items():
        vaes += [(f"encode {name}", partial(_encoded, config)), (f"decode {name}", partial(_decoded, config))]
    return (
        DeviceTest("sample", FRAMES, dtypes, partial(_velocity, TRANSFORMER, SIDES), grows=1.7),
        *(DeviceTest(name, FRAMES, vae_dtypes, run) for name, run in vaes),
    )


@torch.inference_mode()
def _velocity(
    config: WanConfig, sides: tuple[int, int], frames: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    network = _filled(WanDiT(config)).to(device, dtype)
    shape = _latents(frames), sides[0] // 8, sides[1] // 8
    use_fastest_attention(network, shape, device, dtype, DEFAULT_SPEED)
    latents = _random(1, config.in_channels, *shape)
    inputs = latents.to(device, dtype), torch.tensor([500.0], device=device)
    return network(*inputs, _random(1, WORDS, config.text_dim).to(device, dtype)).float()


@torch.inference_mode()
def _decoded(config: WanVAEConfig, frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    sides = (side // config.space for side in VAE_SIDES)
    latents = _random(1, config.z_dim, _latents(frames), *sides)
    return torch.cat([chunk.cpu().float() for chunk in _vae(config, device, dtype).stream(latents.to(device))], dim=2)


@torch.inference_mode()
def _encoded(config: WanVAEConfig, frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    pixels = _random(1, 3, frames, *VAE_SIDES).clamp(-1, 1)
    return _vae(config, device, dtype).encode(pixels.to(device)).float()


def _vae(config: WanVAEConfig, device: torch.device, dtype: torch.dtype) -> WanVAE:
    """As the product has it there."""
    vae = _filled(WanVAE(config)).to(device, dtype)
    vae.convolver = Winograd if device.type == "cpu" else None
    if dtype != torch.float32:
        vae.in_channels_last().activation = fused_activation(device, dtype)
    return vae


def _latents(frames: int) -> int:
    return 1 + (frames - 1) // TIME


def _random(*shape: int) -> Tensor:
    """Made on the CPU, so that all devices have the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _filled(network: ModuleT) -> ModuleT:
    """A network on the CPU with weights, always the same, under which nothing dies out or runs away."""
    random = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.data.normal_(std=0.7 * fan_in**-0.5, generator=random)
        if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
            parameter.data.add_(1.0)
    return network.eval().requires_grad_(False)
