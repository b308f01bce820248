"""The schedules of diffusers' Wan pipelines, by sampler, and the timesteps that the networks are given."""

from __future__ import annotations

import torch
from torch import Tensor

from sora.catalog.spec import Defaults
from sora.engine.sampler import shift_from, shift_times, timesteps


def unipc_timesteps(steps: int, shift: float, start: float = 1.0) -> Tensor:
    """As ``sampler.timesteps``, with the times Wan's pipelines give their UniPC solver, ready for ``sampler.unipc``.

    Before the shift they fall evenly towards 1/1000, not 0, and that end is left out. The first is kept 1e-6 below 1,
    where the logarithmic signal-to-noise ratio is finite. 0 comes last. Source: diffusers'
    ``UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift)``, the default of the Wan pipelines.
    """
    even = torch.linspace(1.0, 0.001, steps + 1, dtype=torch.float64)
    even[-1] = 0.0
    return shift_from(even, shift, start).clamp(max=1 - 1e-6)


def euler_timesteps(steps: int, shift: float, start: float = 1.0) -> Tensor:
    """As ``sampler.timesteps``, with the times of diffusers' ``FlowMatchEulerDiscreteScheduler(shift=shift)``.

    Before the shift they fall evenly to the *shifted* 1/1000, which is shifted once more, and then drop to 0.
    """
    last = shift_times(torch.tensor(0.001, dtype=torch.float64), shift)
    even = torch.linspace(1.0, float(last), steps, dtype=torch.float64)
    return shift_from(torch.cat([even, even.new_zeros(1)]), shift, start)


SCHEDULES = {"unipc": unipc_timesteps, "euler": euler_timesteps}
"""By sampler; others use ``sampler.timesteps``."""


def few_step_times(timesteps: tuple[float, ...], shift: float) -> Tensor:
    """The times, float32 with a last 0, of the steps at which a network is shown these timesteps in (0, 1000]: for
    each the nearest one of a thousand evenly spaced before the shift, as FastVideo and LightX2V look them up."""
    shown = torch.tensor(timesteps, dtype=torch.float64) / 1000
    even = (shift_times(shown, 1 / shift) * 1000).round() / 1000
    return shift_from(torch.cat([even, even.new_zeros(1)]), shift, 1.0)


def schedule(
    sampler: str, steps: int, shift: float, strength: float = 1.0, *, defaults: Defaults | None = None
) -> Tensor:
    """The last ``strength`` in (0, 1] of a whole run's times, for the sampler of that name. As in diffusers, whole
    steps are dropped from the beginning: int(steps * strength) are kept, at least one. defaults: of the model; those of
    a few-step network have timesteps, and its times fall evenly before the shift where it takes others."""
    kept = max(1, min(int(steps * strength), steps))
    return _whole(sampler, steps, shift, defaults)[steps - kept :]


def _whole(sampler: str, steps: int, shift: float, defaults: Defaults | None) -> Tensor:
    if defaults is None or not defaults.timesteps:
        return SCHEDULES.get(sampler, timesteps)(steps, shift)
    if (steps, shift) == (len(defaults.timesteps), defaults.shift):
        return few_step_times(defaults.timesteps, shift)
    return timesteps(steps, shift)


def network_timestep(t: Tensor, trained: tuple[float, ...] = ()) -> Tensor:
    """The timestep that Wan's pipelines give the network for t in [0, 1]: 1000 t rounded down, int64. trained: the
    timesteps of a few-step network; where one is next to 1000 t, it is that one, float32."""
    exact = t.float() * 1000
    known = [timestep for timestep in trained if abs(timestep - float(exact)) < 0.5]
    return torch.tensor(known[0]) if known else exact.to(torch.int64)
