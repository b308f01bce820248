"""The autoencoders as the product runs them on a card, against float32."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from gpu_parts.result import GIB, Machine, Result
from sora.models.wan import vae_memory
from sora.models.wan.sizes import Autoencoder
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.norm_silu import fused_activation

Shape = tuple[int, int, int]
SIZES: dict[str, tuple[WanVAEConfig, Shape]] = {
    "2.1, 81 frames of 832x480": (WAN21, (21, 60, 104)),
    "2.2, 121 frames of 1280x704": (WAN22, (31, 44, 80)),
}
SMALL = {"2.1 scaled": (replace(WAN21, base_dim=8), (3, 2, 3))}


def measure(machine: Machine) -> Iterator[Result]:
    sizes = SMALL if machine.small else SIZES
    works = [(against_float32, name) for name in sizes]
    works += [(work, name) for work in (at_once, step_by_step) for name in list(sizes)[:1]]
    for work, name in works:
        with torch.inference_mode():
            yield from work(name, *sizes[name], machine)
        machine.empty_cache()


def against_float32(name: str, config: WanVAEConfig, shape: Shape, machine: Machine) -> Iterator[Result]:
    wide, half = build(config, machine, torch.float32), build(config, machine, torch.float16)
    yield Result(f"{name}, norms in one kernel", float(half.activation is not None))
    pixels = smooth_film(shape, config, machine)
    for direction, given in (("decode", wide.encode(pixels)), ("encode", pixels)):
        output = yield from one(name, half, direction, given, machine)
        reference = yield from one(name, wide, direction, given, machine, runs=1)
        yield apart(f"{name}, {direction}, float16 from float32", reference, output)


def at_once(name: str, config: WanVAEConfig, shape: Shape, machine: Machine) -> Iterator[Result]:
    half, pixels = build(config, machine, torch.float16), smooth_film(shape, config, machine)
    latents = half.encode(pixels)
    for count in (4, 2):
        for direction, given in (("decode", latents), ("encode", pixels)):
            yield from one(name, half, direction, given, machine, count, runs=2)


def step_by_step(name: str, config: WanVAEConfig, shape: Shape, machine: Machine) -> Iterator[Result]:
    """Without the kernel for norms."""
    half = build(config, machine, torch.float16)
    half.activation = None
    latents = half.encode(smooth_film(shape, config, machine))
    yield from one(f"{name}, norms step by step", half, "decode", latents, machine, runs=2)


def one(
    name: str, network: WanVAE, direction: str, given: Tensor, machine: Machine, at_once: int = 1, runs: int = 3
) -> Generator[Result, None, Tensor]:
    """Time and memory of one way to run; returns what comes out, on the CPU."""
    dtype = str(network.quant_conv.weight.dtype).removeprefix("torch.")
    name = f"{name}, {direction}, {dtype}" + (f", {at_once} latents at once" if at_once > 1 else "")

    def work() -> Tensor:
        if direction == "decode":
            return network.decode(given, latents_at_once=at_once)
        return network.encode(given, latents_at_once=at_once)

    output = work().float().cpu()
    times: list[float] = []
    peak = machine.peak(lambda: times.append(machine.seconds(work, runs=runs, warm_ups=0)))
    seconds = times[0]
    has_goal = direction == "decode" and dtype == "float16" and network.config == WAN21
    met = seconds <= 1.55 if has_goal and machine.is_cuda else None
    yield Result(name, seconds, "s", "<= 1.55 s" if has_goal else "", met)
    yield from memory(name, network, direction, given, peak, output, at_once)
    return output


def memory(
    name: str, network: WanVAE, direction: str, given: Tensor, peak: int, output: Tensor, at_once: int
) -> Iterator[Result]:
    """The estimate is of a stream; a whole film in float besides it is the benchmark's own."""
    if not peak:
        return
    itemsize = network.quant_conv.weight.itemsize
    vae = Autoencoder.of(network, itemsize, copies=itemsize == 4, fused=network.activation is not None)
    count, latents = (vae_memory.decoding, given) if direction == "decode" else (vae_memory.encoding, output)
    estimate = count(vae, (vae.channels, *latents.shape[2:]), None, at_once)  # type: ignore[arg-type]
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
    if dtype == torch.float16:
        network.in_channels_last().activation = fused_activation(machine.device, dtype)
    return network


def smooth_film(shape: Shape, config: WanVAEConfig, machine: Machine) -> Tensor:
    """Noise without fine detail, in [-1, 1]. shape: of its latents."""
    frames = 1 + config.time * (shape[0] - 1)
    coarse = torch.randn(1, 3, max(2, frames // 8), 12, 20, generator=torch.Generator().manual_seed(1))
    size = (frames, shape[1] * config.space, shape[2] * config.space)
    return torch.nn.functional.interpolate(coarse, size, mode="trilinear").clamp(-1, 1).to(machine.device)
