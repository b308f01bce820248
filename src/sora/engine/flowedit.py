"""Editing a clip by prompt without inverting it to noise: FlowEdit (Kulikov et al., arXiv 2412.08629)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from sora.engine import finite
from sora.engine.checkpoint import NO_CHECKPOINT, Checkpoint, SamplerState
from sora.engine.sampler import add_noise, with_float_time
from sora.engine.velocity import Velocity, restore_state, state_of


@torch.no_grad()
def flow_edit(
    source_velocity: Velocity,
    target_velocity: Velocity,
    clean: Tensor,
    times: Tensor,
    seed: int,
    *,
    averages: int = 1,
    lead: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Tensor:
    """The clean latents (B, C, T, H, W), edited from what the source prompt describes to what the target prompt does
    (algorithm 1 of the paper, with its n_min of 0). Same shape, dtype and device.

    source_velocity, target_velocity: bound to the source and the target prompt. times: falling strictly to 0, as
    ``timesteps`` makes them; the lower the first, the closer the edit stays to the source (the paper leaves out 17 of
    50 steps for SD3, 4 of 28 for FLUX). averages: noises a step, each shown to both velocities, at least 1. lead: as
    in ``Latents``. on_step(done, total): called after each step. checkpoint: holds the state to start from, if any, and
    is shown that of each step. Raises ValueError, and NotFinite at the step that makes NaN or infinity.
    """
    if averages < 1:
        raise ValueError(f"an edit averages over at least 1 noise, not {averages}")
    source, target = with_float_time(source_velocity), with_float_time(target_velocity)
    noises = _noises(clean, seed)
    time_values, velocities = times.tolist(), (source_velocity, target_velocity)
    edit, begin = clean, 0
    if (state := checkpoint.state()) is not None:
        edit, begin = state.latents.to(clean), state.step
        _restore(velocities, state)
        _skip(noises, begin * averages)
    for i, (t, t_next) in list(enumerate(pairwise(time_values)))[begin:]:
        # The sum starts from edit - clean, and not from edit, so that an edit that has not moved queries the same
        # state.
        offset, difference = edit - clean, torch.zeros_like(clean)
        for _ in range(averages):
            noisy = add_noise(clean, next(noises), t)
            difference += target(noisy + offset, t) - source(noisy, t)
        edit = edit + (t_next - t) / averages * difference
        finite.check(edit, f"the latents of step {i + 1} of {len(time_values) - 1}")
        if on_step is not None:
            on_step(i + 1, len(time_values) - 1)
        checkpoint.after_step(partial(_state, i + 1, edit, velocities, lead), i + 1, len(time_values) - 1)
    return edit


def _state(step: int, edit: Tensor, velocities: Sequence[Velocity], lead: int) -> SamplerState:
    """The state after so many steps. The edit itself is always free of noise. lead: as in ``Latents``."""
    remembered = {f"{n} {name}": each for n, v in enumerate(velocities) for name, each in state_of(v).items()}
    return SamplerState(step, edit, velocity=remembered, denoised=edit[:, :, lead:])


def _restore(velocities: Sequence[Velocity], state: SamplerState) -> None:
    for n, velocity in enumerate(velocities):
        own = {k.removeprefix(f"{n} "): each for k, each in state.velocity.items() if k.startswith(f"{n} ")}
        restore_state(velocity, own)


def _skip(noises: Iterator[Tensor], count: int) -> None:
    for _ in range(count):
        next(noises)


def _noises(like: Tensor, seed: int) -> Iterator[Tensor]:
    """Standard normal noises of a tensor's shape, dtype and device. They are drawn in float32 on the CPU, so that a
    seed gives the same noise on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like)
