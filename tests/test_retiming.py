"""Films of another rate than the model's: right to the frame, known frames untouched, each moment where it belongs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from conftest import Footage, Studio
from sora import catalog, media
from sora.jobs import retime
from sora.plan import operations, retiming
from sora.plan.clip import Clip
from sora.plan.plan import Format, Plan

FORM = Format((16, 16), (16, 16), 30.0, window=33, context=5, context_after=4, time=4)
SPEC = catalog.find("mini")
RATES = (5.0, 12.0, 15.0, 24000 / 1001, 25.0, 30.0, 60.0)


def levels(*values: float, fps: float = 30.0) -> Clip:
    """A clip whose frames are even grey."""
    grey = np.array(values).round().astype(np.uint8)
    return Clip(np.broadcast_to(grey[:, None, None, None], (len(grey), 16, 16, 3)).copy(), fps)


def rising(count: int, fps: float, at: float = 0.0) -> Clip:
    """Grey rises by 40 levels a second from second ``at`` on."""
    return levels(*(40 * (at + n / fps) for n in range(count)), fps=fps)


def painted(plan: Plan, level: Callable[[int], float]) -> Iterator[Tensor]:
    """As the engine would: known frames as they are, painted ones of an even grey."""
    known = {first + n: clip[n : n + 1] for first, clip in plan.known_clips for n in range(len(clip))}
    for n in range(plan.frames):
        frames_FYXC = known[n].frames_FYXC if n in known else levels(level(n)).frames_FYXC
        yield torch.from_numpy(frames_FYXC).permute(0, 3, 1, 2)


def film(plan: Plan, level: Callable[[int], float]) -> np.ndarray:
    """The grey of every frame of the film."""
    frames = torch.cat(list(retime.film_frames(plan, painted(plan, level))))
    assert len(frames) == plan.film_frames
    return frames[:, 0, 0, 0].numpy().astype(int)


@settings(max_examples=200)
@given(
    st.sampled_from(RATES), st.integers(1, 200), st.integers(0, 60), st.integers(0, 60), st.sampled_from((8.0, 16.0))
)
def test_a_stretch_fills_its_gap_to_the_frame(fps: float, gap: int, before: int, after: int, model: float) -> None:
    form = Format((16, 16), (16, 16), fps, window=33, context=5, context_after=4, time=4)
    if before and after:
        plan = operations.bridge(rising(before, fps), rising(after, fps), "", frames=gap, format=form)
    elif before or after:
        clip = rising(before or after, fps)
        plan = operations.extend(clip, "", frames=gap, format=form, backward=bool(after))
    else:
        return
    made = retiming.at_rate(plan, model)
    assert made.retiming is not None
    (stretch,) = made.retiming.stretches
    assert (made.film_frames, made.film_fps, made.format.fps) == (plan.frames, fps, model)
    assert stretch.film == range(before, before + gap)
    kept = sorted(n for window in made.windows for n in window.kept)
    standing = sorted(first + n for first, clip in made.known_clips for n in range(len(clip)))
    assert sorted(kept + standing) == list(range(made.frames))
    seconds = (gap - 1 + stretch.lead + stretch.trail) / fps
    assert abs((len(stretch.painted) - 1) / model - seconds) <= max(0.5, stretch.lead + stretch.trail) / model + 1e-9


@pytest.mark.parametrize("fps", [12.0, 30.0])
def test_what_is_painted_shows_at_its_moment(fps: float) -> None:
    """A model that paints 8 frames a second goes on with what rises; so does the film, at its own rate."""
    count = round(1.5 * fps)
    form = Format((16, 16), (16, 16), fps, window=33, context=5, context_after=4, time=4)
    clip = rising(count, fps)
    plan = retiming.at_rate(operations.extend(clip, "", frames=round(2 * fps), format=form), 8.0)
    begin = len(plan.known_clips[0][1])
    found = film(plan, lambda n: 40 * ((count - 1) / fps + (n - begin + 1) / 8))
    assert np.abs(found - 40 * np.arange(len(found)) / fps).max() <= 2
    assert [int(level) for level in found[:count]] == [int(level) for level in clip.frames_FYXC[:, 0, 0, 0]]
    steps = np.diff(plan.known_clips[0][1].frames_FYXC[:, 0, 0, 0].astype(int))
    assert np.abs(steps - 5).max() <= 3, "known frames stand an eighth of a second apart"


def test_backward_and_between_end_where_the_clip_begins() -> None:
    clip, other = rising(30, 30.0, at=3.0), rising(30, 30.0)
    plan = retiming.at_rate(operations.extend(clip, "", frames=60, format=FORM, backward=True), 8.0)
    found = film(plan, lambda n: 40 * (1 + n / 8))
    assert np.abs(found - 40 * (1 + np.arange(90) / 30)).max() <= 2
    plan = retiming.at_rate(operations.bridge(other, clip, "", frames=60, format=FORM), 8.0)
    begin = len(plan.known_clips[0][1])
    found = film(plan, lambda n: 40 * (29 / 30 + (n - begin + 1) / 8))
    assert np.abs(found - 40 * np.arange(120) / 30).max() <= 4
    plan = retiming.at_rate(operations.loop(clip, "", frames=60, format=FORM), 8.0)
    assert plan.known_clips[1][1].frames_FYXC[0, 0, 0, 0] == clip.frames_FYXC[0, 0, 0, 0]


def test_nothing_lies_between_two_shots() -> None:
    form = Format((16, 16), (16, 16), 8.0, window=33, context=5, context_after=4, time=4)
    plan = retiming.generate(("a", "b"), frames=121, fps=30.0, format=form)
    half = plan.frames // 2
    found = film(plan, lambda n: 40 if n < half else 200)
    assert {int(level) // 10 for level in found} <= {3, 4, 19, 20}
    assert int(np.diff(found).argmax()) in (59, 60)
    flowing = retiming.generate(("a", "b"), frames=121, fps=30.0, format=form, transition="flow")
    assert any(window.context_after for window in flowing.windows)


def test_a_cycle_closes() -> None:
    form = Format((16, 16), (16, 16), 8.0, window=33, context=5, context_after=4, time=4)
    plan = retiming.text_loop("", frames=66, fps=30.0, format=form)
    found = film(plan, lambda n: 100 + 80 * np.sin(2 * np.pi * n / plan.frames))
    assert np.abs(found - (100 + 80 * np.sin(2 * np.pi * np.arange(66) / 66))).max() <= 8


def test_a_draft_stands_at_the_painted_moments() -> None:
    clip = rising(45, 30.0)
    plan = retiming.at_rate(operations.extend(clip, "", frames=60, format=FORM), 8.0)
    draft = retiming.at_painted_frames(plan, rising(105, 30.0))
    begin = len(plan.known_clips[0][1])
    assert len(draft) == plan.frames
    seconds = 44 / 30 + np.arange(1, plan.frames - begin + 1) / 8
    assert np.abs(draft.frames_FYXC[begin:, 0, 0, 0] - 40 * seconds).max() <= 2


def test_frames_between_frames_move_and_come_as_soon_as_they_can() -> None:
    taken: list[int] = []

    def source() -> Iterator[np.ndarray]:
        for n in range(60):
            taken.append(n)
            yield disc(24 + 4 * n)

    begun, found = [], []
    for frame_YXC in media.interpolated(source(), (64, 128), Fraction(1, 4), 65):
        begun.append(len(taken))
        found.append(frame_YXC)
    off = [np.abs(frame.astype(int) - disc(24 + n)).mean() for n, frame in enumerate(found)]
    mixed = np.abs((disc(24).astype(int) + disc(28)) / 2 - disc(26)).mean()
    assert (len(found), max(off) < mixed / 2) == (65, True)
    assert begun[0] < 60, "the first come before the last is painted"


def disc(x: float) -> np.ndarray:
    """A round thing with soft edges at x."""
    across, down = np.meshgrid(np.arange(128) - x, np.arange(64) - 32)
    grey = 40 + 160 / (1 + np.exp((np.hypot(across, down) - 14) / 1.5)) + 10 * np.sin(across / 3)
    return np.repeat(grey[..., None], 3, axis=-1).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (15, 17)])
def test_frames_of_any_size(size: tuple[int, int]) -> None:
    frames = (np.full((*size, 3), level, np.uint8) for level in (0, 80, 160))
    made = np.stack(list(media.interpolated(frames, size, Fraction(1, 2), 5)))
    assert made.shape == (5, *size, 3)
    assert np.abs(made.reshape(5, -1).astype(int) - 40 * np.arange(5)[:, None]).max() <= 2


def test_what_is_there_comes_before_a_failure() -> None:
    def source() -> Iterator[np.ndarray]:
        yield from levels(0, 40, 80).frames_FYXC
        raise RuntimeError("painting stopped")

    found: list[int] = []
    with pytest.raises(RuntimeError, match="painting stopped"):
        found.extend(int(frame[0, 0, 0]) for frame in media.interpolated(source(), (16, 16), Fraction(1, 2), 99))
    assert found == [0, 20, 40, 60, 80]


# --- as commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "fps", "frames", "painted_fps"),
    [
        (["extend", "CLIP", "--seconds", 2], 30, 60, "8 fps"),
        (["extend", "CLIP", "--frames", 7, "--backward"], 30, 7, "8 fps"),
        (["extend", "CLIP"], 30, 60, "8 fps"),
        (["extend", "CLIP"], 24000 / 1001, 48, "8 fps"),
        (["extend", "CLIP"], 8, 16, ""),
        (["extend", "CLIP"], 7.5, 16, ""),
        (["loop", "CLIP"], 30, 93, "8 fps"),
        (["bridge", "CLIP", "CLIP"], 30, 6 + 63, "8 fps"),
        (["bridge", "CLIP", "CLIP"], 8, 6 + 16, ""),
        (["edit", "CLIP", "a ball", "--frames", "1:4"], 30, 0, "8 fps"),
        (["edit", "CLIP", "a ball", "--region", "0,0,16,16"], 30, 0, ""),
        (["edit", "CLIP", "a ball"], 30, 0, ""),
        (["generate", "a ball", "--fps", 30], 30, 61 - 6, "8 fps"),
        (["generate", "a ball", "--fps", 30, "--seconds", 3], 30, 90 - 6, "8 fps"),
        (["generate", "a ball", "--then", "in snow", "--fps", 24], 24, 98 - 6, "8 fps"),
        (["loop", "--prompt", "a ball", "--fps", 30, "--seconds", 2.2], 30, 66 - 6, "8 fps"),
    ],
)
def test_lengths_are_of_the_film_and_painting_is_the_models(
    studio: Studio, footage: Footage, argv: list[object], fps: float, frames: int, painted_fps: str
) -> None:
    path = str(footage(fps=fps))
    result = studio(*(path if word == "CLIP" else word for word in argv), "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["film"].startswith(f"{6 + frames} frames of ")
    assert told["painted at"].endswith(painted_fps) and ("fps" in told["painted at"]) == bool(painted_fps)
    assert any("paints 8 frames a second" in note for note in told["notes"]) == bool(painted_fps)


def test_a_phones_clip_is_extended_and_stays_what_it_is(studio: Studio, footage: Footage) -> None:
    path = footage(fps=30, sound=True)
    result = studio("extend", path, "a ball", "--seconds", 0.5, "--steps", 1, "--seed", 1, "-o", "made.mkv")
    assert result.exit_code == 0, result.stderr
    film, clip = media.read_clip("made.mkv"), media.read_clip(path)
    assert (len(film), film.fps) == (6 + 15, 30)
    assert np.array_equal(film.frames_FYXC[:6], clip.frames_FYXC)
    assert media.sound_tracks("made.mkv")
    again = studio("remake", "made.mkv", "-o", "again.mkv")
    assert again.exit_code == 0, again.stderr
    assert np.array_equal(media.read_clip("again.mkv").frames_FYXC, film.frames_FYXC)
