"""Painted latents that later windows go on from: which they are, and what a film gains by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sora import catalog
from sora.catalog.spec import ModelSpec
from sora.engine import engine
from sora.engine.canvas import Canvas, Latents
from sora.engine.checkpoint import Checkpoint, NoCheckpoint
from sora.engine.engine import Settings
from sora.engine.kept_latents import KeptLatents, PlacedLatents, latent_runs, spliced
from sora.engine.velocity import Velocity
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.grid import Grid
from sora.plan.plan import Format, Plan, Window
from sora.plan.windows import plan_windows

TIME = 4
FORM = Format((4, 4), (4, 4), 8.0, window=17, context=9, context_after=4, time=TIME)
FORMS = (FORM, replace(FORM, window=33, context=5), replace(FORM, window=81, context=17, context_after=16))


# Which latents


def frames_of(window: Window, latent: int) -> range:
    """The film's frames that a latent of a window covers."""
    first = window.first + 1 + TIME * (latent - 1)
    return range(window.first, window.first + 1) if latent == 0 else range(first, first + TIME)


def check(windows: tuple[Window, ...], number: int) -> None:
    window = windows[number]
    end = window.first + window.frames
    inside = range(window.first + window.context_before, end - window.context_after)
    runs = latent_runs(windows, number, TIME)
    taken = [(run.painter, run.source + n, at) for run in runs for n, at in enumerate(run.target)]
    assert len({at for *_, at in taken}) == len(taken)
    for painter, source, at in taken:
        frames = frames_of(window, at)
        assert painter < number and source > 0 and at > 0
        assert frames == frames_of(windows[painter], source)
        assert set(frames) <= set(windows[painter].kept) and not set(frames) & set(inside)
    # What is not taken over has no latent of its own that covers it and nothing else.
    for at in range(1, 1 + (window.frames - 1) // TIME):
        frames = frames_of(window, at)
        if at not in {each for *_, each in taken} and not set(frames) & set(inside):
            for other in windows[:number]:
                latents = [frames_of(other, n) for n in range(1, 1 + (other.frames - 1) // TIME)]
                assert frames not in latents or not set(frames) <= set(other.kept)


@settings(max_examples=150)
@given(st.sampled_from(FORMS), st.integers(1, 400), st.integers(0, 40), st.integers(0, 40))
def test_a_latent_is_taken_over_where_it_covers_the_same_painted_frames(
    form: Format, length: int, left: int, right: int
) -> None:
    windows = plan_windows(range(100, 100 + length), form, known_before=left, known_after=right)
    for number in range(len(windows)):
        check(windows, number)


@settings(max_examples=80)
@given(st.sampled_from(FORMS), st.integers(60, 500), st.integers(1, 4), st.sampled_from(["cut", "flow"]))
def test_so_it_is_in_films_of_several_shots(form: Format, frames: int, shots: int, transition: Any) -> None:
    windows = operations.generate(("a",) * shots, frames=frames, format=form, transition=transition).windows
    for number in range(len(windows)):
        check(windows, number)


@pytest.mark.parametrize("form", FORMS)
def test_going_forward_all_that_is_known_is_taken_over_but_the_first_latent(form: Format) -> None:
    windows = operations.generate(("a",), frames=400, format=form).windows
    context = 1 + (form.context - 1) // TIME
    last = (form.window - 1) // TIME
    for number in range(1, len(windows)):
        (run,) = latent_runs(windows, number, TIME)
        assert (run.painter, run.target) == (number - 1, range(1, context))
        assert run.source + len(run.target) - 1 == last


def test_going_backward_no_latent_covers_the_same_frames() -> None:
    windows = plan_windows(range(60), FORM, known_before=0, known_after=9)
    assert len(windows) > 2 and not any(latent_runs(windows, n, TIME) for n in range(len(windows)))


def test_of_what_a_person_gave_nothing_is_taken_over() -> None:
    windows = plan_windows(range(9, 13), FORM, known_before=9, known_after=9)
    assert not any(latent_runs(windows, n, TIME) for n in range(len(windows)))


# What is made of them


def random_latents(seed: int, lead: int = 0) -> Latents:
    drawn = torch.randn(1, 3, lead + 5, 2, 2, generator=torch.Generator().manual_seed(seed))
    return Latents(drawn, torch.ones(1, 1, lead + 5, 2, 2), lead)


def test_painted_latents_stand_behind_those_of_references() -> None:
    encoded, painted = random_latents(1, lead=2), random_latents(2).clean_BCTHW[:, :, :2]
    made = spliced(encoded, [PlacedLatents(range(1, 3), painted)])
    assert torch.equal(made.clean_BCTHW[:, :, 3:5], painted)
    assert torch.equal(made.clean_BCTHW[:, :, :3], encoded.clean_BCTHW[:, :, :3])
    assert torch.equal(made.clean_BCTHW[:, :, 5:], encoded.clean_BCTHW[:, :, 5:])
    assert made.lead == 2 and torch.equal(made.unknown_B1THW, encoded.unknown_B1THW)


def test_a_correction_of_the_film_is_one_of_the_latents() -> None:
    encoded, painted = random_latents(1), random_latents(2).clean_BCTHW[:, :, :2]
    as_decoded = encoded.clean_BCTHW[:, :, 1:3] - 0.25
    made = spliced(encoded, [PlacedLatents(range(1, 3), painted, as_decoded)])
    assert torch.allclose(made.clean_BCTHW[:, :, 1:3], painted + 0.25, atol=1e-6)


# A film that goes on


@dataclass(frozen=True)
class Copyist:
    """Goes on with the last latent that it is given, a little livelier each time; its autoencoder is causal, and loses
    some contrast at each round."""

    loss: float = 0.8
    growth: float = 1.0
    spec: ModelSpec = field(
        default_factory=lambda: replace(catalog.find("mini"), grid=Grid(time=TIME, space=1, channels=3, patch=1))
    )

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode(self, canvas: Canvas) -> Latents:
        pixels = torch.where(canvas.known_F1YX, canvas.frames_FCYX / 127.5 - 1, torch.zeros(()))
        video = F.pad(pixels.permute(1, 0, 2, 3), (0, 0, 0, 0, TIME - 1, 0)).unflatten(1, (-1, TIME))
        clean = torch.cat([video[:, :1, -1], video[:, 1:].mean(dim=2)], dim=1)[None]
        unknown = F.pad((~canvas.known_F1YX).float()[:, 0], (0, 0, 0, 0, TIME - 1, 0)).unflatten(0, (-1, TIME))
        return Latents(self.loss * clean, unknown.amax(dim=1)[None, None])

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        for n, latent_CYX in enumerate(latents_BCTHW[0].transpose(0, 1)):
            yield latent_CYX.expand(1 if n == 0 else TIME, -1, -1, -1)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        clean, known = latents.clean_BCTHW, latents.unknown_B1THW == 0
        own = torch.linspace(-0.6, 0.6, 48).view(1, 3, 1, 4, 4)
        given = known[0, 0].flatten(1).all(dim=1).nonzero().flatten().tolist()
        beginning = [n for n in given if n == 0 or n - 1 in given]
        goes_on = self.growth * clean[:, :, beginning[-1]][:, :, None] if beginning else own
        target = torch.where(known, clean, goes_on)
        return lambda x, t: (x - target) / t


class Recorded(NoCheckpoint):
    """In memory; what is in ``holds`` can be gone on with."""

    def __init__(self, holds: tuple[str, ...] = ()) -> None:
        self.holds, self.kept, self.sampled = holds, dict[str, Any](), False

    def latents(self) -> Tensor | None:
        return self.kept["latents"] if "latents" in self.holds else None

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        self.kept["latents"], self.sampled = latents_BCTHW.clone(), True

    def frames(self) -> Iterator[Tensor] | None:
        return iter([self.kept["frames"]]) if "frames" in self.holds else None

    def keep_frames(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        passed = list(chunks)
        self.kept["frames"] = torch.cat(passed)
        yield from passed


def windows_of(frames: int) -> Plan:
    return operations.generate(("a",), frames=frames, format=FORM)


def painted(plan: Plan, model: Copyist, records: dict[str, Recorded], *, keep_latents: bool = True) -> Tensor:
    def checkpoint(name: str) -> Checkpoint:
        return records.setdefault(name, Recorded())

    how = Settings(seed=1, steps=2, guidance=1.0, shift=1.0, sampler="euler", keep_latents=keep_latents)
    return torch.cat(list(engine.paint(model, plan, how, None, checkpoint)))


def deviations(plan: Plan, model: Copyist, *, keep_latents: bool) -> list[float]:
    """Of the painted latents of each window."""
    records: dict[str, Recorded] = {}
    painted(plan, model, records, keep_latents=keep_latents)
    return [records[name].kept["latents"][:, :, 3:].std().item() for name in sorted(records)]


def test_what_an_autoencoder_loses_does_not_add_up_from_window_to_window() -> None:
    plan = windows_of(17 + 7 * 8)
    kept, encoded = (deviations(plan, Copyist(), keep_latents=keep) for keep in (True, False))
    assert len(kept) == 8
    first = kept[0]
    assert max(abs(each / first - 1) for each in kept) < 0.03
    assert max(abs(each / first - 1) for each in encoded) > 0.15


def test_the_film_s_colours_are_kept_where_the_model_adds_to_them() -> None:
    """The painted latents would grow without end; the correction of the frames holds them."""
    plan = windows_of(17 + 11 * 8)
    grown = deviations(plan, Copyist(growth=1.1), keep_latents=True)
    assert grown[-1] / grown[0] < 1.25
    assert max(grown[4:]) / min(grown[4:]) < 1.02


def test_a_person_s_frames_stay_as_they_are() -> None:
    pixels = torch.randint(0, 256, (9, 4, 4, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    plan = operations.extend(Clip(pixels.numpy(), 8.0), "a", frames=30, format=FORM)
    film = painted(plan, Copyist(), {})
    assert torch.equal(film[:9], pixels.permute(0, 3, 1, 2))


@pytest.mark.parametrize("growth", [1.0, 1.1])
@pytest.mark.parametrize("holds", [("latents", "frames"), ("latents",), ("frames",)], ids=" and ".join)
@pytest.mark.parametrize("finished", [1, 2, 4])
def test_a_film_goes_on_to_the_same_frames_from_any_window(
    finished: int, holds: tuple[str, ...], growth: float
) -> None:
    plan, model = windows_of(17 + 4 * 8), Copyist(growth=growth)
    records: dict[str, Recorded] = {}
    whole = painted(plan, model, records)
    names = sorted(records)
    for name in names:
        records[name].holds, records[name].sampled = holds if name in names[:finished] else (), False
    again = painted(plan, model, records)
    assert torch.equal(again, whole)
    if "latents" in holds:
        assert [name for name in names if records[name].sampled] == names[finished:]


@pytest.mark.parametrize("frames", [70, 75, 83])
def test_so_does_a_film_whose_shots_flow_into_each_other(frames: int) -> None:
    model = Copyist(growth=1.1)
    plan = operations.generate(("a", "b", "c"), frames=frames, format=FORM, transition="flow")
    records: dict[str, Recorded] = {}
    whole = painted(plan, model, records)
    for number, name in enumerate(sorted(records)):
        records[name].holds = ("latents", "frames") if number < len(records) // 2 else ()
    assert torch.equal(painted(plan, model, records), whole)


def test_no_more_is_kept_than_later_windows_need() -> None:
    plan = windows_of(17 + 20 * 8)
    kept = KeptLatents(plan)
    for window in plan.windows:
        latents = torch.zeros(1, 3, 1 + (window.frames - 1) // TIME, 4, 4)
        kept.add(window, latents)
        kept.add_frames(window, torch.zeros(window.frames, 3, 4, 4), torch.ones(window.frames, 3, 4, 4))
        held = [v for each in vars(kept).values() if isinstance(each, dict) for v in each.values()]
        numbers = sum(v.untyped_storage().nbytes() for v in held if isinstance(v, Tensor))
        assert numbers <= 4 * 3 * 4 * 4 * (2 + FORM.context)
