"""Windows that are sampled at once: a pass of Wan's 1.3B with several samples against one, and a film of shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch

import sora
from gpu_parts.networks import filled
from gpu_parts.result import Machine, Result
from passes_parts import rows
from sora.models.attention import use_fastest_attention
from sora.models.batching import MAX_BATCHED_TOKENS
from sora.models.guidance import GuidedTransformer
from sora.networks.wan.dit import WanDiT
from sora.runtime.speed import DEFAULT_SPEED

SHAPES = ((5, 28, 50), (9, 28, 50), (9, 44, 80))  # latents: 17 and 33 frames of 400x224, 33 of 640x352
SMALL_SHAPES = ((2, 4, 6),)
SHOTS = ("a red balloon floats up", "a blue car drives to the right", "a ball bounces", "a cat sleeps", "a boat sails")


def measure(machine: Machine) -> Iterator[Result]:
    config = rows.CUDA["Wan 2.1 1.3B, 832x480, 81 frames"].config
    if machine.small:
        config = replace(config, num_layers=2, heads=1, ffn_dim=64, text_dim=32)
    with torch.device("meta"):
        network = WanDiT(config)
    network = filled(network, machine.device, torch.bfloat16)
    network.fuse_qkv()
    for shape in SMALL_SHAPES if machine.small else SHAPES:
        tokens = prod(config.token_shape(shape))
        alone = machine.seconds(_pass_of(network, shape, 1, machine), runs=3)
        for samples in (2, 4):
            seconds = machine.seconds(_pass_of(network, shape, samples, machine), runs=3)
            share, chosen = seconds / samples / alone, samples * tokens <= MAX_BATCHED_TOKENS["cuda"]
            note = "chosen" if chosen else "not chosen"
            yield Result(f"1.3B, {samples} windows of {tokens} tokens, a window against one", share, "x", note=note)
    yield from _film(machine)


def _pass_of(network: WanDiT, shape: tuple[int, int, int], samples: int, machine: Machine) -> Callable[[], object]:
    config, made = network.config, {"device": machine.device, "dtype": torch.bfloat16}
    x = torch.randn(samples, config.in_channels, *shape, **made)
    text = torch.randn(samples, rows.WORDS, config.text_dim, **made)
    passes, times = GuidedTransformer(text, samples=samples), torch.full((samples,), 700, device=machine.device)

    use_fastest_attention(network, shape, machine.device, torch.bfloat16, DEFAULT_SPEED)

    @torch.inference_mode()
    def work() -> torch.Tensor:
        return passes.velocities(lambda: network, x, times, guided=False)

    return work


def _film(machine: Machine) -> Iterator[Result]:
    device: Any = machine.device.type
    size, frames = ("64x64", 25) if machine.small else ("256x256", 85)
    found: dict[str, tuple[float, np.ndarray]] = {}
    for name, disable in (("at once", []), ("one by one", ["batched-windows"])):
        films: list[np.ndarray] = []

        def work(disable: list[str] = disable, films: list[np.ndarray] = films) -> None:
            options: dict[str, Any] = {
                "frames": frames,
                "size": size,
                "seed": 1,
                "dtype": "float32",
                "disable": disable,
            }
            films.append(sora.generate(SHOTS[0], then=list(SHOTS[1:]), device=device, **options).frames)

        found[name] = machine.seconds(work, runs=1 if machine.small else 3, warm_ups=1), films[-1].astype(int)
        yield Result(f"mini, five shots, {name}", found[name][0], "s")
    most = int(np.abs(found["at once"][1] - found["one by one"][1]).max())
    yield Result("mini, five shots at once from one by one", most, "grey levels", "<= 1", most <= 1)
