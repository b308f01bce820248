"""Clips: what is one, slices, and fitting to a shape."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sora.plan.clip import Clip, fit, resampled


def noise(frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def test_a_clip_knows_its_length_size_and_seconds() -> None:
    clip = Clip(noise(6, 4, 8), 12.0)
    assert (len(clip), clip.size, clip.seconds) == (6, (4, 8), 0.5)


@pytest.mark.parametrize(
    ("frames", "fps"),
    [(noise(1, 2, 2).astype(np.float32), 8.0), (noise(1, 2, 2)[0], 8.0), (noise(0, 2, 2), 8.0),
     (noise(1, 2, 2)[..., :1], 8.0), (noise(1, 2, 2), 0.0), (noise(1, 2, 2), -1.0), (noise(1, 2, 2), float("nan"))],
)  # fmt: skip
def test_what_is_no_clip_is_refused(frames: np.ndarray, fps: float) -> None:
    with pytest.raises(ValueError):
        Clip(frames, fps)


@settings(max_examples=50)
@given(st.integers(2, 9), st.data())
def test_slices_of_a_clip_make_up_the_whole(frames: int, data: st.DataObject) -> None:
    clip = Clip(noise(frames, 3, 5), 8.0)
    cut = data.draw(st.integers(1, frames - 1))
    slices = clip[:cut], clip[cut:]
    assert all(each.fps == 8.0 for each in slices)
    assert np.array_equal(np.concatenate([each.frames_FYXC for each in slices]), clip.frames_FYXC)


@settings(max_examples=40)
@given(*[st.integers(1, 70)] * 4)
@example(1, 29, 1, 45)  # the box rounds to a little more than the frame
def test_fit_gives_exactly_the_size_asked_for(y: int, x: int, height: int, width: int) -> None:
    fitted = fit(noise(1, y, x)[0], height, width)
    assert fitted.shape == (height, width, 3) and fitted.dtype == np.uint8


@settings(max_examples=20)
@given(*[st.integers(1, 60)] * 4)
def test_fit_keeps_a_flat_colour(y: int, x: int, height: int, width: int) -> None:
    flat = np.broadcast_to(np.array([200, 30, 90], np.uint8), (y, x, 3)).copy()
    assert (fit(flat, height, width) == [200, 30, 90]).all()


def test_fit_crops_in_the_middle_without_stretching() -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    assert (fit(wide, 16, 16) == 255).all()
    assert (fit(wide.transpose(1, 0, 2).copy(), 16, 16) == 255).all()


def test_fit_of_the_same_size_changes_nothing() -> None:
    frame = noise(1, 7, 9)[0]
    assert np.array_equal(fit(frame, 7, 9), frame)


def test_fitted_fits_every_frame_and_keeps_the_rate() -> None:
    clip = Clip(noise(3, 20, 30), 12.5).fitted(8, 16)
    assert clip.frames_FYXC.shape == (3, 8, 16, 3) and clip.fps == 12.5


@pytest.mark.parametrize(("fps", "shown"), [(8, [0, 1, 2, 3]), (16, [0, 0, 1, 1, 2, 2, 3, 3]), (4, [1, 3]), (1, [3])])
def test_resampled_shows_at_each_moment_what_was_shown(fps: float, shown: list[int]) -> None:
    clip = Clip(noise(4, 6, 6), 8.0)
    found = resampled(clip, fps)
    assert found.fps == fps
    assert np.array_equal(found.frames_FYXC, clip.frames_FYXC[shown])


@given(frames=st.integers(1, 40), old=st.floats(1, 120), new=st.floats(1, 120))
def test_resampled_keeps_the_length(frames: int, old: float, new: float) -> None:
    found = resampled(Clip(noise(frames, 1, 1), old), new)
    assert abs(len(found) - frames * new / old) <= 0.5 + 1e-6 or len(found) == 1
