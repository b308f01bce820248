"""The autoencoders as the product runs them on a card, against float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from gpu_parts.result import GIB, Machine, Result
from sora.models.wan import vae_memory
from sora.models.wan.sizes import Autoencoder
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig

SIZES: dict[str, tuple[WanVAEConfig, tuple[int, int, int]]] = {
    "2.1, 81 frames of 832x480": (WAN21, (21, 60, 104)),
    "2.2, 121 frames of 1280x704": (WAN22, (31, 44, 80)),
}
SMALL = {"2.1 scaled": (replace(WAN21, base_dim=8), (3, 8, 8))}


def measure(machine: Machine) -> Iterator[Result]:
    for name, (config, shape) in (SMALL if machine.small else SIZES).items():
        yield from of(name, config, shape, machine)


def of(name: str, config: WanVAEConfig, shape: tuple[int, int, int], machine: Machine) -> Iterator[Result]:
    wide, half = build(config, machine, torch.float32), build(config, machine, torch.float16)
    frames = 1 + config.time * (shape[0] - 1)
    with torch.inference_mode():
        pixels = smooth_film(frames, shape, config, machine)
        latents = wide.encode(pixels)
        for direction, networks in (("decode", (wide, half)), ("encode", (wide, half))):
            found: list[Tensor] = []
            for network in networks:
                dtype = str(network.quant_conv.weight.dtype).removeprefix("torch.")
                work = (
                    (lambda n=network: n.decode(latents))
                    if direction == "decode"
                    else lambda n=network: n.encode(pixels)
                )
                found.append(work().float().cpu())
                seconds, peak = machine.seconds(work, runs=3, warm_ups=1), machine.peak(work)
                goal = direction == "decode" and dtype == "float16" and config is WAN21
                met = seconds <= 1.55 if goal and machine.is_cuda else None
                yield Result(f"{name}, {direction}, {dtype}", seconds, "s", "<= 1.55 s" if goal else "", met)
                yield from memory(f"{name}, {direction}, {dtype}", network, direction, shape, peak, found[-1])
            yield apart(f"{name}, {direction}, float16 from float32", *found)


def memory(
    name: str, network: WanVAE, direction: str, shape: tuple[int, int, int], peak: int, output: Tensor
) -> Iterator[Result]:
    """The estimate is of a stream; a whole film in float besides it is the benchmark's own."""
    if not peak:
        return
    itemsize = network.quant_conv.weight.itemsize
    vae = Autoencoder.of(network, itemsize, copies=itemsize == 4)
    count = vae_memory.decoding if direction == "decode" else vae_memory.encoding
    estimate = count(vae, (vae.channels, *shape), None)
    taken = peak - (2 * output.numel() * itemsize if direction == "decode" else 0)
    share = estimate / taken
    note = f"{taken / GIB:.2f} GiB taken, {estimate / GIB:.2f} estimated"
    yield Result(f"{name}, estimate", share, "of what is taken", "0.85 to 1.15", 0.85 <= share <= 1.15, note)


def apart(name: str, a: Tensor, b: Tensor) -> Result:
    peak = 2.0 if float(a.abs().max()) <= 1 else float(a.max() - a.min())
    decibels = 10 * math.log10(peak**2 / max(1e-20, float((a - b).square().mean())))
    return Result(name, decibels, "dB", ">= 60 dB", decibels >= 60)


def build(config: WanVAEConfig, machine: Machine, dtype: torch.dtype) -> WanVAE:
    """The same weights in each dtype, as the product lays them out."""
    torch.manual_seed(0)
    network = WanVAE(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.normal_(std=0.7 * fan_in**-0.5)
        if name.endswith("gamma"):
            parameter.add_(1.0)
    network = network.to(machine.device, dtype)
    return network.in_channels_last() if dtype == torch.float16 else network


def smooth_film(frames: int, shape: tuple[int, int, int], config: WanVAEConfig, machine: Machine) -> Tensor:
    """Noise without fine detail, in [-1, 1]."""
    coarse = torch.randn(1, 3, max(2, frames // 8), 12, 20, generator=torch.Generator().manual_seed(1))
    size = (frames, shape[1] * config.space, shape[2] * config.space)
    return torch.nn.functional.interpolate(coarse, size, mode="trilinear").clamp(-1, 1).to(machine.device)
