"""The times at which Wan's pipelines sample, by the step rule, and the thousandths in which its networks take them."""

from __future__ import annotations

import torch
from torch import Tensor

from sora.engine.sampler import shift_from, shift_times, timesteps


def unipc_timesteps(steps: int, shift: float, start: float = 1.0) -> Tensor:
    """As ``sampler.timesteps``, with the times Wan's pipelines give their UniPC solver, ready for ``sampler.unipc``.

    Before the shift they fall evenly towards 1/1000 and not 0, that end is left out, and the first is held 1e-6 below
    1, where the logarithmic signal-to-noise ratio is finite. 0 comes last. Source: diffusers'
    ``UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift)``, which the Wan pipelines ship with.
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
"""By the step rule; others take ``sampler.timesteps``."""


def schedule(sampler: str, steps: int, shift: float, strength: float = 1.0) -> Tensor:
    """The last ``strength`` of a whole run's times, for the step rule of that name. As diffusers does, whole steps are
    dropped from their beginning, and of these the fewest are kept that make up no more than ``strength``. At least one
    step is left."""
    left = max(1, min(int(steps * strength), steps))
    return SCHEDULES.get(sampler, timesteps)(steps, shift)[steps - left :]


def network_timestep(t: Tensor) -> Tensor:
    """t in [0, 1] as Wan's pipelines hand it to the network: whole thousandths, rounded down; int64 in [0, 1000]."""
    return (t.float() * 1000).to(torch.int64)
