"""Editing by words: with fields whose answers are known, the edit lands where the theory says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from sora.engine.flowedit import flow_edit
from sora.engine.sampler import timesteps

SHAPE = (1, 2, 3, 4, 5)


@dataclass
class Normal:
    """The flow to data of N(mean, deviation^2); a point where the deviation is 0. Remembers what it was asked."""

    mean: float
    deviation: float = 0.0
    states: list[Tensor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def variance(self, t: Tensor) -> Tensor:
        return ((1 - t) * self.deviation).square() + t.square()

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.states.append(x)
        self.times.append(float(t))
        growth = (t - (1 - t) * self.deviation**2) / self.variance(t)
        return growth * (x - (1 - t) * self.mean) - self.mean


def picture(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("averages", [1, 3])
def test_the_same_words_change_nothing(averages: int) -> None:
    clean, same = picture(), Normal(0.3, 0.8)
    assert torch.equal(flow_edit(same, same, clean, timesteps(7, 3.0), 1, averages=averages), clean)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("start", [1.0, 0.4])
def test_between_points_it_is_the_way_from_one_to_the_other(steps: int, start: float) -> None:
    """m = edit - clean follows dm/dt = (m - way) / t, a straight line that any number of steps follows."""
    clean = picture()
    edited = flow_edit(Normal(-1.0), Normal(2.0), clean, timesteps(steps, 3.0, start), 1)
    torch.testing.assert_close(edited, clean + 3.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", [1.0, 0.8, 0.5])
def test_between_equal_spreads_a_later_start_goes_part_of_the_way(start: float) -> None:
    """m = (1 - t) way + u with du/dt = growth(t) u, so u shrinks as the flow's spread does; the noise cancels."""
    clean, deviation, way = picture(), 0.5, 2.5
    target = Normal(2.0, deviation)
    edited = flow_edit(Normal(2.0 - way, deviation), target, clean, timesteps(400, 1.0, start), 1)
    spread = float(target.variance(torch.tensor(start)).sqrt())
    expected = clean + way * (1 - (1 - start) * deviation / spread)
    torch.testing.assert_close(edited, expected, rtol=0, atol=0.02)


def test_between_spreads_the_mean_over_noise_goes_where_the_theory_says() -> None:
    """E[edit] = b + (clean - a) r I, where I is the integral of t / (s^2(t) r(t)) over [0, 1] and s(t), r(t) are the
    spreads of source and target at t: the solution of the flow with the noise replaced by its mean."""
    source, target = Normal(-1.0, 0.4), Normal(2.0, 0.8)
    clean = torch.linspace(-2, 1, 8).view(1, 1, 1, 8, 1).expand(1, 1, 1, 8, 400).contiguous()
    t = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    integral = (t / source.variance(t) / target.variance(t).sqrt()).mean()
    expected = target.mean + (clean - source.mean) * target.deviation * float(integral)
    edited = flow_edit(source, target, clean, timesteps(200, 1.0), 1, averages=2)
    torch.testing.assert_close(edited.mean(-1), expected.mean(-1), rtol=0, atol=0.05)


def test_more_noises_a_step_scatter_the_edit_less() -> None:
    clean, source, target = torch.zeros(1, 1, 4, 20, 20), Normal(0.0, 0.4), Normal(0.0, 1.0)
    one, nine = (
        float(flow_edit(source, target, clean, timesteps(20, 1.0), 1, averages=averages).std()) for averages in (1, 9)
    )
    assert nine == pytest.approx(one / 3, rel=0.15)


def test_the_source_is_asked_about_fresh_noise_on_the_clean_latents() -> None:
    clean, source, target = picture((1, 4, 8, 16, 16)), Normal(0.0), Normal(1.0)
    times = timesteps(3, 3.0, start=0.7)
    flow_edit(source, target, clean, times, 1, averages=2)
    assert source.times == target.times == [t for t in times[:-1].tolist() for _ in range(2)]
    noises = [(x - (1 - t) * clean) / t for x, t in zip(source.states, source.times, strict=True)]
    for i, noise in enumerate(noises):
        assert float(noise.mean()) == pytest.approx(0, abs=0.05)
        assert float(noise.std()) == pytest.approx(1, abs=0.05)
        for other in noises[:i]:
            assert float((noise * other).mean()) == pytest.approx(0, abs=0.05)


def test_a_seed_gives_one_edit() -> None:
    clean, times = picture(), timesteps(5, 3.0)
    first, again, other = (flow_edit(Normal(0, 0.4), Normal(1, 0.9), clean, times, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    flow_edit(Normal(0, 0.4), Normal(1, 0.9), clean, times, 1)
    assert torch.equal(state, torch.get_rng_state())


def test_progress_counts_steps() -> None:
    seen: list[tuple[int, int]] = []
    times = timesteps(3, 1.0)
    flow_edit(Normal(0), Normal(1), picture(), times, 1, averages=2, on_step=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_source_is_left_as_it_is_and_its_precision_kept() -> None:
    clean = picture().bfloat16()
    before = clean.clone()
    edited = flow_edit(Normal(0), Normal(1), clean, timesteps(3, 1.0), 1)
    assert torch.equal(clean, before)
    assert edited.dtype == torch.bfloat16 and edited.shape == clean.shape


def test_no_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        flow_edit(Normal(0), Normal(1), picture(), timesteps(2, 1.0), 1, averages=0)
