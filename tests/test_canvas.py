"""Canvases: what is known comes back exactly, what is not is the painter's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sora.canvas import Canvas, Plan, to_FCYX
from sora.clip import Clip


def film(frames: int, height: int = 4, width: int = 6, seed: int = 1) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8), 8.0)


def test_a_blank_canvas_knows_nothing() -> None:
    canvas = Canvas.blank(5, 4, 6, 8.0)
    assert canvas.shape == (5, 4, 6) and not canvas.known_F1YX.any()


def test_channels_stand_second_and_the_clip_is_copied() -> None:
    clip = film(2)
    frames_FCYX = to_FCYX(clip)
    assert frames_FCYX.shape == (2, 3, 4, 6)
    assert (frames_FCYX[1, 2].numpy() == clip.frames_FYXC[1, :, :, 2]).all()
    frames_FCYX.zero_()
    assert clip.frames_FYXC.any()


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_known_frames_are_pasted_back_exactly_and_no_others(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 8))
    start = data.draw(st.integers(0, total - 1))
    clip = film(data.draw(st.integers(1, total - start)))
    blank = Canvas.blank(total, *clip.size, 8.0)
    canvas = blank.with_known(clip, start)
    painted = torch.full((total, 3, *clip.size), 7, dtype=torch.uint8)
    pasted = canvas.paste_known(painted)
    known = slice(start, start + len(clip))
    assert torch.equal(pasted[known], to_FCYX(clip))
    others = torch.ones(total, dtype=torch.bool)
    others[known] = False
    assert (pasted[others] == 7).all()
    assert not blank.known_F1YX.any()  # the canvas it came from is as it was


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_pasting_in_chunks_is_pasting_at_once(seed: int, chunk: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (7, 3, 4, 6), generator=draw, dtype=torch.uint8)
    known = torch.rand(7, 1, 4, 6, generator=draw) < 0.5
    painted = torch.randint(0, 256, (7, 3, 4, 6), generator=draw, dtype=torch.uint8)
    canvas = Canvas(frames, known, 8.0)
    whole = canvas.paste_known(painted)
    pieces = [canvas.paste_known(painted[i : i + chunk], i) for i in range(0, 7, chunk)]
    assert torch.equal(whole, torch.cat(pieces))
    rgb_known = known.expand_as(frames)
    assert torch.equal(whole[rgb_known], frames[rgb_known])
    assert torch.equal(whole[~rgb_known], painted[~rgb_known])


@pytest.mark.parametrize(
    ("frames", "known"),
    [(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)),
     (torch.zeros(2, 4, 4, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4, dtype=torch.bool)),
     (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4)),
     (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 4, 4, dtype=torch.bool))],
)  # fmt: skip
def test_what_is_no_canvas_is_refused(frames: torch.Tensor, known: torch.Tensor) -> None:
    with pytest.raises(ValueError):
        Canvas(frames, known, 8.0)


@pytest.mark.parametrize(
    ("clip", "start"),
    [(film(2), -1), (film(2), 4), (film(1), -1), (film(1), 5), (film(1, 1, 1), 0), (film(1, 6, 4), 0)],
)
def test_film_that_does_not_lie_on_the_canvas_is_refused(clip: Clip, start: int) -> None:
    with pytest.raises(ValueError, match="do not lie"):
        Canvas.blank(5, 4, 6, 8.0).with_known(clip, start)


def test_a_plan_keeps_every_frame_unless_told() -> None:
    assert Plan((), ()).keep == slice(None)
