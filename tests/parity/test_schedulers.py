"""Our times and steps against diffusers' schedulers, whole runs driven by one velocity field."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from diffusers.schedulers import scheduling_flow_match_lcm
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_lcm import FlowMatchLCMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor

from sora.catalog.few_step import FASTWAN, LIGHTX2V, FewStep
from sora.engine.canvas import Latents
from sora.engine.sampler import Sampler, euler, initial_noise, sample, seeded, step_noise, unipc
from sora.models.wan.schedule import euler_timesteps, few_step_times, network_timestep, unipc_timesteps

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


def test_same_picture_where_each_step_adds_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers draws the noise of all steps from one generator; here it is given ours."""
    noise = initial_noise(SHAPE, seed=7)
    latents = Latents(torch.zeros_like(noise), torch.ones(1, 1, *SHAPE[1:]))
    for shift, steps in product([1.0, 3.0, 8.0], [1, 2, 3, 4, 8]):
        scheduler: Any = FlowMatchLCMScheduler(shift=shift)
        x = noise
        scheduler.set_timesteps(steps)
        for i, (t, sigma) in enumerate(zip(scheduler.timesteps, scheduler.sigmas, strict=False)):
            drawn = step_noise(x, (7,), i + 1)
            monkeypatch.setattr(scheduling_flow_match_lcm, "randn_tensor", lambda *_, drawn=drawn, **__: drawn)
            x = scheduler.step(velocity(x, sigma), t, x, return_dict=False)[0]
        got = sample(velocity, latents, noise, scheduler.sigmas, sampler=seeded("lcm", 7))
        assert float((got - x).norm() / x.norm()) <= 1e-5, f"{steps} steps at shift {shift}"


@pytest.mark.parametrize("kind", [FASTWAN, LIGHTX2V])
def test_times_of_few_steps_are_those_of_the_table_that_their_makers_look_them_up_in(kind: FewStep) -> None:
    table: Any = FlowMatchEulerDiscreteScheduler(shift=kind.shift or 1.0)  # of a thousand times
    nearest = [int((table.timesteps - timestep).abs().argmin()) for timestep in kind.timesteps]
    times = few_step_times(kind.timesteps, kind.shift or 1.0)
    assert farthest(times[:-1], table.sigmas[nearest]) <= 1.2e-7 and times[-1] == 0
    shown = [float(network_timestep(t, kind.timesteps)) for t in times[:-1]]
    assert shown == pytest.approx(kind.timesteps, abs=1e-4)
