"""Editing by words without going through noise: FlowEdit (Kulikov et al., arXiv 2412.08629)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from sora.engine.sampler import Velocity, add_noise, with_float_time


@torch.no_grad()
def flow_edit(
    source_velocity: Velocity,
    target_velocity: Velocity,
    clean: Tensor,
    times: Tensor,
    seed: int,
    *,
    averages: int = 1,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The clean latents (B, C, T, H, W), carried from what the source's words say to what the target's say (algorithm 1
    of the paper, with its n_min of 0). Same shape, dtype and device.

    before, after: the velocity fields that know the source's and the target's words. times: falling strictly to 0, as
    ``timesteps`` makes them; the lower the first, the closer the edit stays to the source (the paper leaves out 17 of
    50 steps for SD3, 4 of 28 for FLUX). averages: noises a step, each shown to both fields, at least 1. on_step(done,
    of): called after each step. Raises ValueError.
    """
    if averages < 1:
        raise ValueError(f"an edit averages over at least 1 noise, not {averages}")
    source, target = with_float_time(source_velocity), with_float_time(target_velocity)
    noises = _noises(clean, seed)
    at = times.tolist()
    edit = clean
    for i, (t, t_next) in enumerate(pairwise(at)):
        # The sum starts from edit - clean, and not from edit, so that an edit that has not moved asks the same state.
        moved, pull = edit - clean, torch.zeros_like(clean)
        for _ in range(averages):
            noisy = add_noise(clean, next(noises), t)
            pull += target(noisy + moved, t) - source(noisy, t)
        edit = edit + (t_next - t) / averages * pull
        if on_step is not None:
            on_step(i + 1, len(at) - 1)
    return edit


def _noises(like: Tensor, seed: int) -> Iterator[Tensor]:
    """Standard normal noises of a tensor's shape, dtype and device. Drawn in float32 on the CPU, so a seed gives the
    same ones everywhere."""
    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like)
