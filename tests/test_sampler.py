"""The sampler: times have the right shape, steps the right order."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sora.engine.canvas import Latents
from sora.engine.checkpoint import NoCheckpoint, SamplerState
from sora.engine.sampler import (
    SAMPLERS,
    initial_noise,
    sample,
    seeded,
    shift_times,
    timesteps,
)
from sora.models.wan.schedule import euler_timesteps, network_timestep, unipc_timesteps

SHAPE = (2, 3, 4, 5)
SCHEDULES = {"plain": timesteps, "unipc": unipc_timesteps, "euler": euler_timesteps}

shifts = st.floats(0.2, 12.0)
times_in_unit = st.floats(0.0, 1.0)


def latents() -> Latents:
    """Random data, all to be painted."""
    torch.manual_seed(3)
    return Latents(torch.randn(1, *SHAPE), torch.ones(1, 1, *SHAPE[1:]))


class Gaussian:
    """The flow from noise to data of N(1.5, 0.5^2): x(t) = 1.5 (1 - t) + spread(t) z, for the z it started from."""

    mean, deviation = 1.5, 0.5

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.states: list[Tensor] = []

    def spread(self, t: Tensor) -> Tensor:
        return ((1 - t).square() * self.deviation**2 + t.square()).sqrt()

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        assert t.ndim == 0 and t.dtype == torch.float32
        self.asked.append(float(t))
        self.states.append(x)
        growth = (t - (1 - t) * self.deviation**2) / self.spread(t).square()
        return growth * (x - (1 - t) * self.mean) - self.mean

    def solution(self, noise: Tensor) -> Tensor:
        return self.mean + self.deviation * noise


# Times --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(steps=st.integers(1, 60), shift=shifts, start=st.floats(0.05, 1.0))
def test_times_fall_from_start_to_zero(schedule: str, steps: int, shift: float, start: float) -> None:
    times = SCHEDULES[schedule](steps, shift, start)
    assert times.shape == (steps + 1,) and times.dtype == torch.float32
    assert float(times[0]) == pytest.approx(start, abs=1.1e-6)
    assert float(times[-1]) == 0.0
    assert bool((times.diff() < 0).all())


@given(t=times_in_unit, shift=shifts)
def test_shift_of_one_changes_nothing_and_its_inverse_undoes_it(t: float, shift: float) -> None:
    x = torch.tensor(t, dtype=torch.float64)
    torch.testing.assert_close(shift_times(x, 1.0), x, rtol=1e-15, atol=0)
    torch.testing.assert_close(shift_times(shift_times(x, shift), 1 / shift), x, rtol=1e-9, atol=1e-12)
    assert 0 <= float(shift_times(x, shift)) <= 1


@given(t=times_in_unit, a=shifts, b=shifts)
def test_shifts_multiply(t: float, a: float, b: float) -> None:
    x = torch.tensor(t, dtype=torch.float64)
    torch.testing.assert_close(shift_times(shift_times(x, a), b), shift_times(x, a * b), rtol=1e-9, atol=1e-12)


def test_times_of_a_few_steps() -> None:
    torch.testing.assert_close(timesteps(4, 1.0), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    torch.testing.assert_close(timesteps(2, 3.0), torch.tensor([1.0, 0.75, 0.0]))
    torch.testing.assert_close(timesteps(2, 1.0, start=0.6), torch.tensor([0.6, 0.3, 0.0]))
    assert network_timestep(torch.tensor([1.0, 0.9999, 0.5, 0.0])).tolist() == [1000, 999, 500, 0]


@pytest.mark.parametrize(("steps", "start"), [(0, 1.0), (4, 0.0), (4, 1.5)])
def test_impossible_schedules_are_refused(steps: int, start: float) -> None:
    with pytest.raises(ValueError, match=r"step|start"):
        timesteps(steps, 1.0, start)


# Noise --------------------------------------------------------------------------------------------------------------


def test_noise_is_that_of_the_seed() -> None:
    noise = initial_noise(SHAPE, seed=42)
    assert noise.shape == (1, *SHAPE) and noise.dtype == torch.float32 and noise.device.type == "cpu"
    assert torch.equal(noise, initial_noise(SHAPE, seed=42))
    assert not torch.equal(noise, initial_noise(SHAPE, seed=43))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    initial_noise(SHAPE, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_noise_has_not_changed() -> None:
    noise = initial_noise(SHAPE, seed=42).flatten()
    assert noise[:3].tolist() == pytest.approx([1.926915, 1.487284, 0.900717], abs=1e-6)
    assert float(noise.sum()) == pytest.approx(6.0031, abs=1e-4)


# Steps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["euler", "heun", "unipc"])
def test_a_straight_line_is_followed_exactly(name: str) -> None:
    noise, held = initial_noise(SHAPE, 0), latents()
    straight = noise - held.clean_BCTHW
    for steps, start in product([1, 2, 5], [1.0, 0.7]):
        painted = sample(lambda x, t: straight, held, noise, timesteps(steps, 3.0, start), sampler=SAMPLERS[name])
        assert torch.allclose(painted, held.clean_BCTHW, rtol=1e-5, atol=1e-5), f"{steps} steps from {start}"


def error_of(name: str, schedule: Callable[..., Tensor], steps: int) -> float:
    noise, field = initial_noise(SHAPE, 0), Gaussian()
    painted = sample(field, latents(), noise, schedule(steps, 1.0), sampler=SAMPLERS[name])
    return float((painted - field.solution(noise)).norm() / field.solution(noise).norm())


@pytest.mark.parametrize("schedule", ["plain", "unipc"])
@pytest.mark.parametrize(("name", "order"), [("euler", 1.0), ("heun", 2.0), ("unipc", 2.0)])
def test_order_of_convergence(name: str, order: float, schedule: str) -> None:
    coarse, fine = (error_of(name, SCHEDULES[schedule], steps) for steps in (16, 64))
    assert math.log(coarse / fine, 4) > order - 0.25
    assert coarse < (0.1 if order == 1 else 0.01)


@pytest.mark.parametrize(("name", "evaluations"), [("euler", 6), ("heun", 11), ("unipc", 6), ("lcm", 6)])
def test_evaluations_and_progress(name: str, evaluations: int) -> None:
    field, seen = Gaussian(), []
    times = timesteps(6, 3.0)
    sample(field, latents(), initial_noise(SHAPE, 0), times, sampler=SAMPLERS[name], on_step=lambda *a: seen.append(a))
    assert len(field.asked) == evaluations
    assert set(field.asked) == set(times[:-1].tolist())
    assert seen == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_runs_do_not_remember_one_another(name: str) -> None:
    noise, times = initial_noise(SHAPE, 0), timesteps(5, 3.0)
    first, second = (sample(Gaussian(), latents(), noise, times, sampler=SAMPLERS[name]) for _ in range(2))
    assert torch.equal(first, second)


# Steps that add noise -----------------------------------------------------------------------------------------------


class Kept(NoCheckpoint):
    """Keeps every state, and gives back one that it was made with."""

    def __init__(self, begin: SamplerState | None = None) -> None:
        self.begin, self.states = begin, list[SamplerState]()

    def state(self) -> SamplerState | None:
        return self.begin

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        self.states.append(state())


def test_known_data_is_reached_whatever_noise_a_step_adds() -> None:
    noise, held, kept = initial_noise(SHAPE, 0), latents(), Kept()
    towards = lambda x, t: (x - held.clean_BCTHW) / t  # noqa: E731
    painted = sample(towards, held, noise, timesteps(4, 3.0), sampler=seeded("lcm", 5), checkpoint=kept)
    torch.testing.assert_close(painted, held.clean_BCTHW, rtol=0, atol=1e-6)
    for state, t in zip(kept.states, timesteps(4, 3.0)[1:], strict=True):
        torch.testing.assert_close(state.denoised, held.clean_BCTHW, rtol=0, atol=1e-5)  # what a preview shows
        apart = state.latents - (1 - t) * held.clean_BCTHW
        assert float(apart.std()) == pytest.approx(float(t), abs=0.15)


def test_each_step_adds_noise_of_its_own() -> None:
    noise, blank, kept = initial_noise(SHAPE, 5), torch.zeros(1, *SHAPE), Kept()
    held = Latents(blank, torch.ones(1, 1, *SHAPE[1:]))
    times = timesteps(4, 3.0)
    sample(lambda x, t: x / t, held, noise, times, sampler=seeded("lcm", 5), checkpoint=kept)
    added = [noise, *(state.latents / t for state, t in zip(kept.states[:-1], times[1:], strict=False))]
    for a, b in combinations(added, 2):
        assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 0.3
    other = sample(Gaussian(), latents(), noise, times, sampler=seeded("lcm", 6))
    assert not torch.equal(other, sample(Gaussian(), latents(), noise, times, sampler=seeded("lcm", 5)))


def test_a_run_that_is_taken_up_again_adds_the_same_noise() -> None:
    noise, times, kept = initial_noise(SHAPE, 5), timesteps(4, 3.0), Kept()
    whole = sample(Gaussian(), latents(), noise, times, sampler=seeded("lcm", 5), checkpoint=kept)
    for state in kept.states[:-1]:
        again = sample(Gaussian(), latents(), noise, times, sampler=seeded("lcm", 5), checkpoint=Kept(state))
        assert torch.equal(whole, again), f"from step {state.step}"


def test_a_partial_run_starts_from_the_clean_latents_and_noise() -> None:
    field, held, noise = Gaussian(), latents(), initial_noise(SHAPE, 0)
    sample(field, held, noise, timesteps(3, 5.0, start=0.4))
    assert field.asked[0] == pytest.approx(0.4)
    torch.testing.assert_close(field.states[0], 0.6 * held.clean_BCTHW + 0.4 * noise)


def test_a_velocity_of_low_precision_does_not_lower_the_state() -> None:
    field = Gaussian()
    painted = sample(lambda x, t: field(x, t).bfloat16(), latents(), initial_noise(SHAPE, 0), timesteps(4, 1.0))
    assert painted.dtype == torch.float32


# Pins ---------------------------------------------------------------------------------------------------------------
