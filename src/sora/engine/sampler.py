"""Sampling, from noise to latents: schedules of times, and samplers as functions over a velocity.

A rectified flow (Liu et al., arXiv 2209.03003) runs x = (1 - t) * data + t * noise from t = 1, pure noise, down to
t = 0; its velocity is dx/dt = noise - data. To add a sampler: one function like ``euler``, and one row in ``SAMPLERS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from sora.engine import finite
from sora.engine.canvas import Latents
from sora.engine.checkpoint import NO_CHECKPOINT, Checkpoint, SamplerState
from sora.engine.seeds import derive_seed
from sora.engine.velocity import Velocity, restore_state, state_of

FloatTimeVelocity = Callable[[Tensor, float], Tensor]
"""A Velocity as samplers call it: t is a float, and the result has x's dtype."""

History = tuple[Tensor, ...]
"""What a sampler remembers of the steps before: empty before the first one."""


class Prediction(NamedTuple):
    """The history of a sampler that goes on from other noise than the velocity's: the data that its last step
    predicted, which the noise hides."""

    data: Tensor


SamplerStep = Callable[[FloatTimeVelocity, Tensor, int, History], tuple[Tensor, History]]
"""(velocity, x at times[i], i, the history after step i - 1) -> (x at times[i + 1], the history). A pure function, so
that a run can be taken up again between any two steps."""

Sampler = Callable[[Sequence[float]], SamplerStep]
"""times -> the SamplerStep of one run. It computes all coefficients beforehand, so that no step waits for the
device."""


# Times --------------------------------------------------------------------------------------------------------------


def shift_times(t: Tensor, shift: float) -> Tensor:
    """s t / (1 + (s - 1) t): maps 0 and 1 to themselves, and for s > 1 spends more steps at high noise (Esser et
    al., arXiv 2403.03206, section 5.3.2). shift > 0; a shift by 1 / s undoes a shift by s."""
    return shift * t / (shift * t + (1 - t))  # written so that rounding never carries it past 1


def timesteps(steps: int, shift: float, start: float = 1.0) -> Tensor:
    """steps + 1 float32 times falling from ``start`` to 0: evenly spaced before the shift.

    start: in (0, 1]; below 1 the run begins at that noise level, and still takes ``steps`` steps.
    """
    return shift_from(torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64), shift, start)


def timesteps_for_strength(steps: int, shift: float, strength: float = 1.0) -> Tensor:
    """The last ``strength`` in (0, 1] of a whole run's times, beginning exactly at that share of the schedule (SDEdit);
    at least one step. For models that are not ``engine.model.Scheduled``."""
    begin = float(shift_times(torch.tensor(strength), shift))
    return timesteps(max(1, round(steps * strength)), shift, start=begin)


def shift_from(even: Tensor, shift: float, start: float) -> Tensor:
    """Evenly spaced times in [0, 1], shifted, and scaled before that so that the first becomes ``start``; float64 in,
    float32 out. Raises ValueError."""
    if len(even) < 2:
        raise ValueError("a schedule has at least one step")
    if not 0 < start <= 1:
        raise ValueError(f"start is in (0, 1], not {start}")
    first = shift_times(torch.tensor(start, dtype=torch.float64), 1 / shift)
    return shift_times(even * first, shift).float()


# Noise --------------------------------------------------------------------------------------------------------------


def initial_noise(shape_CTHW: tuple[int, int, int, int], seed: int) -> Tensor:
    """Standard normal noise, (1, C, T, H, W) float32. It is drawn on the CPU, so that a
    seed gives the same noise on every device."""
    return torch.randn((1, *shape_CTHW), generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


def step_noise(like: Tensor, seeds: Sequence[int], step: int) -> Tensor:
    """Standard normal noise of a tensor's shape, dtype and device, other at each step from 1 on. seeds: of the samples
    of a batch. The noise of each is drawn as ``initial_noise`` is, whatever else is in the batch."""
    shape_CTHW = (like.shape[1], like.shape[2], like.shape[3], like.shape[4])
    return torch.cat([initial_noise(shape_CTHW, derive_seed(seed, step=step)) for seed in seeds]).to(like)


ALL_NOISE = 1 - 2e-6  # the time from which a run begins with noise alone; Wan's UniPC begins at 1 - 1e-6


def starting_point(clean: Tensor, noise: Tensor, t: float) -> Tensor:
    """Where a run begins that starts at time t: with noise alone also where t is not quite 1, as in diffusers."""
    return noise if t >= ALL_NOISE else add_noise(clean.to(noise.dtype), noise, t)


def add_noise(clean: Tensor, noise: Tensor, t: float) -> Tensor:
    """The clean latents at noise level t, on the straight path from data (t = 0) to noise (t = 1)."""
    return (1 - t) * clean + t * noise


# Samplers -----------------------------------------------------------------------------------------------------------


def euler(times: Sequence[float]) -> SamplerStep:
    """First order: x + dt * velocity. One evaluation a step."""
    deltas = [t_next - t for t, t_next in pairwise(times)]

    def step(velocity: FloatTimeVelocity, x: Tensor, i: int, history: History) -> tuple[Tensor, History]:
        return x + deltas[i] * velocity(x, times[i]), history

    return step


def heun(times: Sequence[float]) -> SamplerStep:
    """Second order: an Euler step, then again with the mean of the velocities at both ends (Karras et al., arXiv
    2206.00364, algorithm 1). Two evaluations a step, but one in the last, where the mean would gain little."""
    deltas = [t_next - t for t, t_next in pairwise(times)]

    def step(velocity: FloatTimeVelocity, x: Tensor, i: int, history: History) -> tuple[Tensor, History]:
        slope = velocity(x, times[i])
        predicted = x + deltas[i] * slope
        if i == len(deltas) - 1:
            return predicted, history
        return x + 0.5 * deltas[i] * (slope + velocity(predicted, times[i + 1])), history

    return step


def unipc(times: Sequence[float]) -> SamplerStep:
    """Second-order predictor and corrector: UniPC with B2(h) = e^h - 1 (Zhao et al., arXiv 2302.04867, algorithms 5
    to 8), predicting data, first order in the first and last step. One evaluation a step.

    It steps in half the logarithmic signal-to-noise ratio, lambda = log((1 - t) / t). Each evaluation serves twice: it
    corrects the state it was made at, and predicts the next.
    """
    last = len(times) - 2
    orders = [1 if i in (0, last) else 2 for i in range(last + 1)]
    predictors = [_unipc_predictor(times, i, orders[i]) for i in range(last + 1)]
    correctors = [_unipc_corrector(times, i, orders[i]) for i in range(last)]

    def step(velocity: FloatTimeVelocity, x: Tensor, i: int, history: History) -> tuple[Tensor, History]:
        # history, of step i - 1: the corrected state; the data predicted there, and at step i - 2
        data = x - times[i] * velocity(x, times[i])
        if i > 0:
            x = _weighted_sum(correctors[i - 1], (*history, data))
        history = (x, data, history[1] if i > 0 else data)
        return _weighted_sum(predictors[i], history), history

    return step


def _unipc_predictor(times: Sequence[float], i: int, order: int) -> tuple[float, float, float]:
    """Weights of the state, and of the data predicted at steps i and i - 1, for the state at i + 1."""
    t, t_next = times[i], times[i + 1]
    gain = _data_gain(t, t_next)
    slope = 0.5 / _unipc_ratio(times, i) if order == 2 else 0.0
    return t_next / t, gain * (1 - slope), gain * slope


def _unipc_corrector(times: Sequence[float], i: int, order: int) -> tuple[float, float, float, float]:
    """As the predictor's weights, with the data predicted at i + 1 as a fourth."""
    t, t_next = times[i], times[i + 1]
    gain, h = _data_gain(t, t_next), _log_snr(t_next) - _log_snr(t)
    slope, pull = 0.0, 0.5
    if order == 2:
        # Both moments of the exponential integral over the step, matched by slopes from the past and from ahead.
        ratio, b_h = _unipc_ratio(times, i), math.expm1(-h)
        phi = b_h / -h - 1
        first, second = phi / b_h, (phi / -h - 0.5) * 2 / b_h
        past = (second - first) / (ratio - 1)
        slope, pull = past / ratio, first - past
    return t_next / t, gain * (1 - slope - pull), gain * slope, gain * pull


def _data_gain(t: float, t_next: float) -> float:
    """How much of the predicted data a first-order step from t to t_next adds: alpha (1 - e^-h), exact at both ends."""
    return 1 - t_next / t


def _unipc_ratio(times: Sequence[float], i: int) -> float:
    """Step i - 1 in lambda over step i; negative, and minus infinity where the previous step began at t = 1."""
    now = _log_snr(times[i])
    return (_log_snr(times[i - 1]) - now) / (_log_snr(times[i + 1]) - now)


def _log_snr(t: float) -> float:
    """lambda = log((1 - t) / t): minus infinity at pure noise, infinity at data."""
    if t >= 1:
        return -math.inf
    return math.log((1 - t) / t) if t > 0 else math.inf


def _weighted_sum(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """The weighted sum, without the terms of weight 0."""
    terms = [w * x for w, x in zip(weights, tensors, strict=True) if w != 0]
    return sum(terms[1:], terms[0])


def lcm(times: Sequence[float], seeds: Sequence[int] = (0,)) -> SamplerStep:
    """Multistep sampling of consistency models (Song et al., arXiv 2303.01469, algorithm 1): each step predicts the
    data and adds new noise to it, up to the next time. One evaluation a step. For weights that were distilled to
    predict data in few steps.

    The noise of each step is drawn from a sample's seed and the step's number alone, so that a run that is taken up
    again adds the same. seeds: of the samples of the batch, in [0, 2**63).
    """

    def step(velocity: FloatTimeVelocity, x: Tensor, i: int, _: History) -> tuple[Tensor, History]:
        data = x - times[i] * velocity(x, times[i])
        if times[i + 1] == 0:
            return data, Prediction(data)
        return add_noise(data, step_noise(x, seeds, i + 1), times[i + 1]), Prediction(data)

    return step


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun, "unipc": unipc, "lcm": lcm}


def seeded(name: str, *seeds: int) -> Sampler:
    """The sampler of that name. seeds: of the samples of the batch, in [0, 2**63), for the noise that a sampler adds
    along the way."""
    return partial(lcm, seeds=seeds) if name == "lcm" else SAMPLERS[name]


# The run ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def sample(
    velocity: Velocity,
    latents: Latents,
    noise: Tensor,
    times: Tensor,
    *,
    sampler: Sampler = euler,
    on_step: Callable[[int, int], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Tensor:
    """Sample latents, of noise's shape and dtype, on the latents' device.

    The run starts from the clean latents with noise added at times[0], so times that begin well below 1 keep some of
    them.
    times: falling strictly to 0, on the CPU, as ``timesteps`` makes them. on_step(done, total): called after each
    step, with done from 1 to total. checkpoint: holds the state to start from, if any, and is shown that of each step.
    Raises NotFinite at the step that makes NaN or infinity.
    """
    time_values = times.tolist()
    clean = latents.clean_BCTHW
    noise = noise.to(clean.device)
    float_velocity, step = with_float_time(velocity), sampler(time_values)
    x, history, begin = starting_point(clean, noise, time_values[0]), (), 0
    if (state := checkpoint.state()) is not None:
        x, begin, history = state.latents.to(x), state.step, tuple(each.to(x) for each in state.history)
        restore_state(velocity, state.velocity)
    total = len(time_values) - 1
    for i in range(begin, total):
        before = x
        advance = partial(step, float_velocity, before, i, history)
        x, history = advance()
        finite.check(x, f"the latents of step {i + 1} of {total}", advance)
        if on_step is not None:
            on_step(i + 1, total)
        state_now = partial(_state, i, time_values, before, x, history, velocity, latents.lead)
        checkpoint.after_step(state_now, i + 1, total)
    return x


def _state(
    i: int, times: Sequence[float], before: Tensor, x: Tensor, history: History, velocity: Velocity, lead: int
) -> SamplerState:
    """The state after step i, which led from ``before`` to x. lead: as in ``Latents``."""
    slope = (x - before) / (times[i + 1] - times[i])
    data = history.data if isinstance(history, Prediction) else x - times[i + 1] * slope
    return SamplerState(i + 1, x, history, state_of(velocity), denoised=data[:, :, lead:])


def with_float_time(velocity: Velocity) -> FloatTimeVelocity:
    """The same velocity, called with t in [0, 1] as a float; the result has x's shape and dtype."""

    def float_velocity(x: Tensor, t: float) -> Tensor:
        # On the CPU, where it can be read without waiting for the device.
        return velocity(x, torch.tensor(t, dtype=torch.float32)).to(x.dtype)

    return float_velocity
