"""Anchors: what a person gave is shown with every window that does not contain it, and the end is met by the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sora import catalog
from sora.cli import dry_run
from sora.engine.canvas import Canvas
from sora.engine.timeline import Timeline
from sora.jobs.resolve import resolve
from sora.plan import operations, retiming
from sora.plan.clip import Clip
from sora.plan.plan import Format, Plan, Window
from sora.plan.request import Request

FORM = Format((8, 8), (8, 8), 8.0, window=17, context=5, context_after=4, time=4)


def clip(frames: int, seed: int = 0) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (frames, 8, 8, 3), np.uint8), 8.0)


A, B = clip(9, 1), clip(7, 2)
FIRST, LAST = A.frames_FYXC[0], B.frames_FYXC[0]


def to_last(frames: int) -> Plan:
    return operations.img2vid(FIRST, "", frames=frames, format=FORM, last_image_YXC=LAST)


VERBS: dict[str, tuple[Callable[[int], Plan], dict[str, np.ndarray]]] = {  # of so many frames, and what is given
    "img2vid": (lambda n: operations.img2vid(FIRST, "", frames=n, format=FORM), {"before": FIRST}),
    "to a last picture": (to_last, {"before": FIRST, "after": LAST}),
    "extend": (lambda n: operations.extend(A, "", frames=n, format=FORM), {"before": A.frames_FYXC[-1]}),
    "backward": (
        lambda n: operations.extend(A, "", frames=n, format=FORM, backward=True),
        {"after": A.frames_FYXC[0]},
    ),
    "loop": (
        lambda n: operations.loop(A, "", frames=n, format=FORM),
        {"before": A.frames_FYXC[-1], "after": A.frames_FYXC[0]},
    ),
    "bridge": (
        lambda n: operations.bridge(A, B, "", frames=n, format=FORM),
        {"before": A.frames_FYXC[-1], "after": B.frames_FYXC[0]},
    ),
}


def known_frames(window: Window) -> list[int]:
    stop = window.first + window.frames
    return [
        *range(window.first, window.first + window.context_before),
        *range(stop - window.context_after, stop),
    ]


def canvas_of(plan: Plan, window: Window, painted: int = 7) -> Canvas:
    """The window's canvas once those before it are painted, in an even grey."""
    timeline = Timeline(plan)
    for earlier in plan.windows[: plan.windows.index(window)]:
        timeline.add(earlier, torch.full((earlier.frames, 3, 8, 8), painted, dtype=torch.uint8))
    return timeline.canvas_for(window)


@pytest.mark.parametrize("verb", VERBS)
def test_every_window_has_or_is_shown_what_was_given(verb: str) -> None:
    make, given_frames = VERBS[verb]
    plan = make(70)
    assert len(plan.windows) > 3
    for window in plan.windows:
        canvas = canvas_of(plan, window)
        shown = [picture.permute(1, 2, 0).numpy() for picture in canvas.guides.pictures]
        known = canvas.known_F1YX.flatten(1).all(1)
        own = list(canvas.frames_FCYX[known].permute(0, 2, 3, 1).numpy())
        for picture in given_frames.values():
            found = [any(np.array_equal(picture, each) for each in where) for where in (own, shown)]
            assert found in ([True, False], [False, True]), f"{window}: {found}"
        assert len(shown) <= len(given_frames)


@pytest.mark.parametrize("verb", VERBS)
def test_where_a_picture_is_from(verb: str) -> None:
    make, given_frames = VERBS[verb]
    for window in (plan := make(70)).windows:
        guides = canvas_of(plan, window).guides
        for offset, picture in guides.anchors:
            side = "before" if offset < 0 else "after"
            assert np.array_equal(picture.permute(1, 2, 0).numpy(), given_frames[side])
            assert not 0 <= offset < window.frames or side == "after"
        start = [picture for offset, picture in guides.anchors if offset < 0]
        assert (guides.start is None) == (not start)


@pytest.mark.parametrize("verb", VERBS)
def test_a_film_of_one_window_is_shown_nothing_more(verb: str) -> None:
    plan = VERBS[verb][0](6)
    assert len(plan.windows) == 1
    assert canvas_of(plan, plan.windows[0]).guides.pictures == ()


def test_a_persons_references_come_first_and_leave_room_or_none() -> None:
    plan = to_last(70)
    middle = plan.windows[2]
    for count, shown in ((0, 2), (2, 2), (3, 1), (4, 0), (7, 0)):
        with_own = replace(plan, references=tuple(np.full((5, 6, 3), n, np.uint8) for n in range(count)))
        pictures = canvas_of(with_own, middle).guides.pictures
        assert len(pictures) == count + shown
        assert [int(picture[0, 0, 0]) for picture in pictures[:count]] == list(range(count))
        assert [picture.shape[1:] == (8, 8) for picture in pictures[count:]] == [True] * shown


def test_an_edit_is_shown_nothing_of_what_it_replaces() -> None:
    long = clip(80)
    asked: list[dict[str, Any]] = [{"strength": 0.6}, {"strength": 1.0, "frame_range": range(5, 70)}]
    for options in asked:
        plan = operations.edit(long, "a cat", format=FORM, **options)
        assert len(plan.windows) > 1 and plan.anchors == ()


@pytest.mark.parametrize("verb", VERBS)
def test_at_another_rate_the_same_frames_are_anchors(verb: str) -> None:
    make, given_frames = VERBS[verb]
    plan = retiming.at_rate(make(100), 5.0)
    given_at = {first + n: each.frames_FYXC[n] for first, each in plan.known_clips for n in range(len(each))}
    for frame, picture in zip(plan.anchors, given_frames.values(), strict=True):
        assert np.array_equal(given_at[frame], picture)


@settings(max_examples=200)
@given(st.sampled_from(["to a last picture", "loop", "bridge"]), st.integers(3, 400))
def test_the_last_window_meets_the_end(verb: str, frames: int) -> None:
    plan = VERBS[verb][0](frames)
    gap = sorted(i for window in plan.windows for i in window.kept)
    assert gap == list(range(gap[0], gap[-1] + 1))
    *earlier, closing = plan.windows
    assert all((window.frames - 1) % FORM.time == 0 and window.frames <= FORM.window for window in plan.windows)
    after = 1 if verb == "to a last picture" else FORM.context_after
    assert closing.kept[-1] == gap[-1] and known_frames(closing)[-after:] == [gap[-1] + 1 + n for n in range(after)]
    assert all(window.context_after == 0 for window in earlier)
    # A film that does not fit leaves the last window all the room there is.
    if earlier and len(gap) >= FORM.window:
        assert len(closing.kept) == FORM.window - FORM.context - after


@pytest.mark.parametrize(("model", "more"), [("wan2.1-vace-1.3b", 2), ("wan2.1-i2v-14b-480p", 0), ("mini", 0)])
def test_memory_counts_the_pictures_that_are_sampled_along(model: str, more: int, tmp_path: Path) -> None:
    for name in "ab":
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"{name}.png")
    spec = catalog.find(model)
    frames = round(5 * spec.defaults.window)
    request = Request(
        verb="img2vid",
        image=str(tmp_path / "a.png"),
        last_image=str(tmp_path / "b.png"),
        prompt="a red ball",
        frames=frames,
        model=model,
    )
    resolved = resolve(request)
    assert resolved.pictures == more and resolved.largest_canvas[0][0] == spec.defaults.window
    _, length, height, width = spec.grid.latent_shape(*resolved.largest_canvas[0])
    assert dry_run.facts(resolved)["tokens"] == (length + more) * height * width // spec.grid.patch**2
