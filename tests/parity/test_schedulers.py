"""Our times and steps against diffusers' schedulers, whole runs driven by one velocity field."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor

from sora.engine.canvas import Latents
from sora.engine.sampler import Sampler, euler, initial_noise, sample, unipc
from sora.models.wan.schedule import euler_timesteps, network_timestep, unipc_timesteps

SHAPE = (4, 3, 6, 8)


def velocity(x: Tensor, t: Tensor) -> Tensor:
    """Nonlinear in the state and in time, and no two cells alike."""
    places = torch.linspace(-1, 1, x.numel()).view_as(x)
    return torch.sin(2 * x + 3 * t * places) + 0.5 * t * x - places


def theirs(name: str, steps: int, shift: float) -> Any:
    if name == "unipc":
        scheduler = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, num_train_timesteps=1000
        )
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    return scheduler


OURS: dict[str, tuple[Callable[[int, float], Tensor], Sampler]] = {
    "euler": (euler_timesteps, euler),
    "unipc": (unipc_timesteps, unipc),
}


def farthest(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).abs().max())


@pytest.mark.parametrize("name", OURS)
def test_same_times(name: str) -> None:
    for shift, steps in product([1.0, 3.0, 5.0, 8.0], [1, 2, 3, 4, 8, 20, 30, 40, 50]):
        case = f"{steps} steps at shift {shift}"
        scheduler, ours = theirs(name, steps, shift), OURS[name][0](steps, shift)
        assert ours.shape == scheduler.sigmas.shape, case
        assert farthest(ours, scheduler.sigmas) <= 1.2e-7, case  # one rounding of float32
        if name == "unipc":
            # A time that is a whole thousandth may round to either side; with Wan's own shifts none is.
            assert farthest(network_timestep(ours[:-1]), scheduler.timesteps) <= (1 if shift == 1.0 else 0), case
        else:
            assert farthest(ours[:-1] * 1000, scheduler.timesteps) <= 1.3e-4, case


@pytest.mark.parametrize("name", OURS)
def test_same_picture(name: str) -> None:
    times, step = OURS[name]
    noise = initial_noise(SHAPE, seed=7)
    latents = Latents(torch.zeros_like(noise), torch.ones(1, 1, *SHAPE[1:]))
    for shift, steps in product([3.0, 5.0, 8.0], [1, 2, 3, 8, 20, 50]):
        got = sample(velocity, latents, noise, times(steps, shift), sampler=step)
        scheduler, x = theirs(name, steps, shift), noise
        for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
            x = scheduler.step(velocity(x, sigma), t, x, return_dict=False)[0]
        assert float((got - x).norm() / x.norm()) <= 1e-5, f"{steps} steps at shift {shift}"
