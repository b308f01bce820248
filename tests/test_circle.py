"""A circle of time: no call, no latent and no frame is where it begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import gcd, isqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sora import catalog, models
from sora.engine.canvas import Canvas, Latents
from sora.engine.cyclic import decode_cyclic, stride, temporal_roll
from sora.engine.engine import CYCLIC_LEAD
from sora.engine.model import Model
from sora.engine.sampler import SAMPLERS, initial_noise, sample, timesteps

TIME = 3  # frames a latent of the toy decoder
PAST = 2  # latents it looks back


def toy_decode(latents_BCTHW: Tensor) -> Iterator[Tensor]:
    """Causal: each frame is the number of its latent, its own place within it, and the latents before it, zeros where
    there are none. Whole numbers, so that equal means equal. Streams two latents at a time."""
    cells = latents_BCTHW[0].transpose(0, 1)
    before = torch.cat([torch.zeros_like(cells[:PAST]).expand(PAST, -1, -1, -1), cells])
    for first in range(0, len(cells), 2):
        frames = []
        for i in range(first, min(first + 2, len(cells))):
            seen = sum(10**back * before[PAST + i - back] for back in range(PAST + 1))
            places = range(TIME - 1, TIME) if i == 0 else range(TIME)
            frames += [1000 * seen + place for place in places]
        yield torch.stack(frames)


def cycle(length: int) -> Tensor:
    return torch.arange(1.0, length + 1).view(1, 1, -1, 1, 1).expand(1, 3, -1, 2, 2)


def looped(latents: Tensor, lead: int) -> Tensor:
    return torch.cat(list(decode_cyclic(toy_decode, latents, TIME, lead)))


# Decoding -----------------------------------------------------------------------------------------------------------


@given(length=st.integers(1, 6), lead=st.integers(1, 14))
def test_every_latent_of_the_cycle_has_all_its_frames(length: int, lead: int) -> None:
    chunks = list(decode_cyclic(toy_decode, cycle(length), TIME, lead))
    assert all(len(chunk) and chunk.shape[1:] == (3, 2, 2) for chunk in chunks)
    assert (torch.cat(chunks)[:, 0, 0, 0] % 1000).tolist() == [0, 1, 2] * length


@given(length=st.integers(1, 6), lead=st.integers(PAST, 9), turn=st.integers(0, 7))
def test_turning_the_latents_turns_the_frames(length: int, lead: int, turn: int) -> None:
    latents = cycle(length)
    turned = looped(torch.roll(latents, turn, dims=2), lead)
    assert torch.equal(turned, torch.roll(looped(latents, lead), turn * TIME, dims=0))


def test_a_lead_too_short_shows_the_seam() -> None:
    latents = cycle(5)
    assert not torch.equal(looped(latents, PAST - 1), looped(latents, PAST))
    assert torch.equal(looped(latents, PAST), looped(latents, 20))


def test_frames_stream() -> None:
    asked: list[int] = []

    def decode(latents: Tensor) -> Iterator[Tensor]:
        for chunk in toy_decode(latents):
            asked.append(len(chunk))
            yield chunk

    next(decode_cyclic(decode, cycle(8), TIME, 2))
    assert len(asked) < 5


def test_no_lead_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        decode_cyclic(toy_decode, cycle(3), TIME, 0)


# Sampling -----------------------------------------------------------------------------------------------------------


def where_it_opens(length: int, calls: int, lead: int = 0) -> list[int]:
    """The latent each call of a rolled field begins with, after its lead."""
    seen: list[int] = []

    def spy(x: Tensor, _: Tensor) -> Tensor:
        seen.append(int(x[0, 0, lead, 0, 0]) - 1)
        return x

    field = temporal_roll(spy, lead)
    for _ in range(calls):
        field(cycle(length), torch.tensor(0.5))
    return seen


@given(length=st.integers(1, 40), runs=st.integers(1, 3))
def test_the_circle_opens_everywhere_equally_often(length: int, runs: int) -> None:
    seen = where_it_opens(length, runs * length)
    for start in range((runs - 1) * length + 1):
        assert sorted(seen[start : start + length]) == list(range(length))
    assert gcd(stride(length), length) == 1


@pytest.mark.parametrize("length", [13, 16, 21])
def test_even_a_few_calls_are_spread_round_the_circle(length: int) -> None:
    seen = sorted(where_it_opens(length, 5))
    gaps = [after - before for before, after in itertools.pairwise([*seen, seen[0] + length])]
    assert max(gaps) <= 2 * length / 5 + 1


@given(length=st.integers(1, 9), calls=st.integers(1, 12), fixed=st.integers(0, 3), lead=st.integers(0, 2))
def test_what_stands_before_the_circle_is_never_turned(length: int, calls: int, fixed: int, lead: int) -> None:
    before = -cycle(fixed) if fixed else cycle(1)[:, :, :0]
    whole = torch.cat([before, cycle(length)], dim=2)

    def field(x: Tensor, _: Tensor) -> Tensor:
        assert torch.equal(x[:, :, :fixed], before)
        assert x.shape[2] == fixed + lead + length and (x[:, :, fixed:] > 0).all()
        return 2 * x

    turned = temporal_roll(field, lead, fixed)
    for _ in range(calls):
        assert torch.equal(turned(whole, torch.tensor(0.5)), 2 * whole)


def test_each_wrapper_begins_anew() -> None:
    assert where_it_opens(7, 5) == where_it_opens(7, 5)
    assert where_it_opens(7, 1) == [0]


@pytest.mark.parametrize("lead", [0, 1, 4, 11])
def test_the_field_sees_a_circle_and_each_latent_gets_its_own_answer(lead: int) -> None:
    length = 5

    def neighbours(x: Tensor, _: Tensor) -> Tensor:
        line = x[0, 0, :, 0, 0]
        assert len(line) == length + lead
        assert set(line.diff().tolist()) <= {1.0, 1.0 - length}
        return 100 * x + 1

    field = temporal_roll(neighbours, lead)
    for _ in range(2 * length):
        assert torch.equal(field(cycle(length), torch.tensor(0.5)), 100 * cycle(length) + 1)


@pytest.mark.parametrize("step", SAMPLERS)
def test_a_field_that_looks_at_no_neighbours_paints_the_same(step: str) -> None:
    noise = initial_noise((2, 5, 3, 4), 1)
    blank = Latents(torch.zeros_like(noise), torch.ones(1, 1, 5, 3, 4))

    def field(x: Tensor, t: Tensor) -> Tensor:
        return (x - 0.5 * x.tanh()) / (t + 0.1)

    plain, *others = (
        sample(f, blank, noise, timesteps(6, 3.0), sampler=SAMPLERS[step])
        for f in (field, temporal_roll(field), temporal_roll(field, 2))
    )
    for other in others:
        torch.testing.assert_close(other, plain)


def jump(latents: Tensor) -> tuple[float, float]:
    """The step over the seam, and the mean step elsewhere."""
    steps = (torch.roll(latents, -1, dims=2) - latents).square().mean(dim=(0, 1, 3, 4)).sqrt()
    return float(steps[-1]), float(steps[:-1].mean())


@pytest.mark.parametrize("step", SAMPLERS)
@pytest.mark.parametrize("lead", [0, 1])
def test_a_field_that_joins_neighbours_closes_the_circle(step: str, lead: int) -> None:
    """The field draws each latent towards the one before it, as a film's latents are; its first towards nothing."""

    def film(x: Tensor, t: Tensor) -> Tensor:
        before = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        return (x - 0.5 * (x + before)) / t

    noise = initial_noise((4, 8, 6, 6), 2)
    blank = Latents(torch.zeros_like(noise), torch.ones(1, 1, 8, 6, 6))
    (open_seam, open_rest), (seam, rest) = (
        jump(sample(f, blank, noise, timesteps(24, 1.0, 0.9), sampler=SAMPLERS[step]))
        for f in (film, temporal_roll(film, lead))
    )
    assert open_seam > 1.5 * open_rest
    assert seam < 1.25 * rest


def test_a_negative_lead_is_refused() -> None:
    with pytest.raises(ValueError, match="0 latents or more"):
        temporal_roll(lambda x, t: x, -1)


# The embedded model's decoder ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini() -> Model:
    return models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)


def orbit(frames: int, period: int) -> Tensor:
    """A disc that goes round once in ``period`` frames, uint8 (F, 3, S, S) at half the model's own side."""
    side = isqrt(catalog.find("mini").defaults.area) // 2
    angle = 2 * torch.pi * torch.arange(frames).view(-1, 1, 1) / period
    y, x = torch.meshgrid(torch.arange(side) - side / 2, torch.arange(side) - side / 2, indexing="ij")
    far = ((y - side / 4 * angle.sin()).square() + (x - side / 4 * angle.cos()).square()).sqrt()
    disc = (side * 5 / 32 - far).clamp(0, 1)[:, None]
    ground, paint = torch.tensor([90.0, 160.0, 220.0]), torch.tensor([230.0, 60.0, 50.0])
    return (ground.view(1, 3, 1, 1) * (1 - disc) + paint.view(1, 3, 1, 1) * disc).round().to(torch.uint8)


@pytest.fixture(scope="module")
def turn(mini: Model) -> tuple[Tensor, Tensor]:
    """One round of the disc: its latents, cut where encoder and film have run in, and its 16 frames in [-1, 1]."""
    time, length = mini.spec.grid.time, 4
    film = orbit(1 + 3 * time * length, time * length)
    clean = mini.encode(Canvas(film, torch.ones_like(film[:, :1]).bool(), 8.0)).clean_BCTHW
    return clean[:, :, -length:], film[-time * length :] / 127.5 - 1


def test_the_embedded_decoder_looks_back_five_latents(mini: Model, turn: tuple[Tensor, Tensor]) -> None:
    short, enough, long = (
        torch.cat(list(decode_cyclic(mini.decode, turn[0], 4, lead))) for lead in (2, CYCLIC_LEAD, 12)
    )
    assert float((short - long).abs().max()) > 1e-3
    torch.testing.assert_close(enough, long, rtol=0, atol=1e-4)


def test_the_embedded_decoder_closes_a_turn(mini: Model, turn: tuple[Tensor, Tensor]) -> None:
    latents, film = turn
    frames = torch.cat(list(decode_cyclic(mini.decode, latents, mini.spec.grid.time, CYCLIC_LEAD)))
    assert frames.shape == film.shape
    assert float((frames - film).square().mean()) < 0.01
    steps = (torch.roll(frames, -1, dims=0) - frames).abs().mean(dim=(1, 2, 3))
    assert float(steps[-1]) < 1.2 * float(steps[:-1].max())


def test_turning_the_latents_turns_the_embedded_models_frames(mini: Model, turn: tuple[Tensor, Tensor]) -> None:
    here, there = (
        torch.cat(list(decode_cyclic(mini.decode, latents, 4, CYCLIC_LEAD)))
        for latents in (turn[0], torch.roll(turn[0], 1, dims=2))
    )
    torch.testing.assert_close(there, torch.roll(here, 4, dims=0), rtol=0, atol=1e-4)
