"""The text encoder of Wan on two texts of 512 words, random weights of UMT5-XXL's size."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gpu_parts.networks import filled
from gpu_parts.result import Machine, Result
from sora.networks.umt5 import UMT5, UMT5Config

SMALL = UMT5Config(vocab=100, d_model=64, d_kv=8, d_ff=128, num_layers=2, heads=4)


def measure(machine: Machine) -> Iterator[Result]:
    config = SMALL if machine.small else UMT5Config()
    with torch.device("meta"):
        network = UMT5(config)
    network = filled(network, machine.device, torch.bfloat16)
    ids = torch.randint(0, config.vocab, (2, 512), device=machine.device)
    mask = torch.ones(2, 512, dtype=torch.bool, device=machine.device)
    mask[1, 60:] = False
    with torch.inference_mode():
        yield Result("two texts of 512 words, bfloat16", 1000 * machine.seconds(lambda: network(ids, mask)), "ms")
