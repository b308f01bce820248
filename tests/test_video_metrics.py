"""The metrics themselves, on clips made by hand whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minitrain import video_metrics


def greys(*levels: int, height: int = 4, width: int = 6) -> np.ndarray:
    """A film of even frames, one for each grey level."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def textured(height: int = 40, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_changes_are_grey_levels():
    assert video_metrics.frame_differences(greys(0, 10, 4)).tolist() == [10, 6]
    assert video_metrics.frame_differences(greys(0, 10, 4), circular=True).tolist() == [10, 6, 4]
    assert video_metrics.mean_motion(greys(0, 10, 4)) == 8
    assert video_metrics.mean_motion(greys(7)) == 0


def test_a_step_like_the_others_is_one():
    assert video_metrics.seam_ratio(greys(*range(0, 100, 5)), 9) == 1


def test_a_seam_over_the_median_of_those_around():
    film = greys(0, 2, 4, 6, 18, 20, 22, 24, 26)
    assert video_metrics.seam_ratio(film, 3) == 6


def test_the_seam_itself_does_not_count_as_usual():
    assert video_metrics.seam_ratio(greys(0, 30, 32), 0) == 15


def test_no_more_than_eight_frames_count():
    quiet, wild = [0, 2] * 4, [100, 0] * 8
    film = greys(*wild, *quiet, *wild)
    assert video_metrics.seam_ratio(film, len(wild) + 3) == 1


def test_still_film_has_a_floor_of_one_grey_level():
    assert video_metrics.seam_ratio(greys(9, 9, 9, 12, 12, 12), 2) == 3
    assert video_metrics.seam_ratio(greys(9, 9, 9, 9), 1) == 0


def test_a_film_of_two_frames_has_nothing_around():
    assert video_metrics.seam_ratio(greys(0, 7), 0) == 7


def test_on_a_circle_the_last_frame_is_followed_by_the_first():
    film = greys(0, 3, 6, 9, 12, 15, 18, 21)
    assert video_metrics.seam_ratio(film, 7, circular=True) == 7
    for place in range(8):
        assert video_metrics.seam_ratio(np.roll(film, place, axis=0), (7 + place) % 8, circular=True) == 7


def test_a_short_circle_counts_each_pair_once():
    assert video_metrics.seam_ratio(greys(0, 4, 10), 2, circular=True) == 10 / 5


@pytest.mark.parametrize(("at", "circular"), [(-1, False), (3, False), (4, True)])
def test_no_seam_beyond_the_film(at: int, circular: bool):
    with pytest.raises(IndexError, match="no seam"):
        video_metrics.seam_ratio(greys(1, 2, 3, 4), at, circular=circular)


def test_an_edge_in_space():
    film = np.zeros((2, 32, 32, 3), np.uint8)
    film[:] = (3 * np.arange(32, dtype=np.uint8))[:, None]
    assert video_metrics.edge_ratio(film, (8, 8, 16, 16)) == 1
    film[:, 8:24, 8:24] += 50
    assert video_metrics.edge_ratio(film, (8, 8, 16, 16)) > 20
    assert video_metrics.edge_ratio(film, (0, 0, 32, 32)) == 0


def test_an_edge_in_an_even_picture_has_the_floor():
    film = np.full((1, 16, 16, 3), 90, np.uint8)
    film[:, 4:12, 4:12] = 95
    assert video_metrics.edge_ratio(film, (4, 4, 8, 8)) == 5
    assert video_metrics.edge_ratio(film, (0, 4, 16, 8)) == 2.5


def test_psnr():
    assert video_metrics.psnr(greys(5), greys(5)) == float("inf")
    assert video_metrics.psnr(greys(0), greys(255)) == 0
    assert video_metrics.psnr(greys(10), greys(11)) == pytest.approx(48.13, abs=0.01)
    with pytest.raises(ValueError, match="cannot be compared"):
        video_metrics.psnr(greys(1), greys(1, 2))


def test_colour_drift_is_the_worst_channel():
    a, b = greys(100, 100), greys(101)
    b[..., 2] = 90
    assert video_metrics.colour_drift(a, b) == 10


@given(st.integers(-20, 19), st.integers(-32, 31), st.floats(0.5, 1.0))
@settings(max_examples=25)
def test_a_moved_thing_is_found_on_another_ground(down: int, right: int, contrast: float):
    look, ground = textured(), textured(seed=1)
    share = np.zeros((40, 64), bool)
    share[12:24, 20:40] = True
    there = np.roll(share, (down, right), axis=(0, 1))
    frame = ground.copy()
    frame[there] = (np.roll(look, (down, right), axis=(0, 1))[there] * contrast).astype(np.uint8)
    y, x, likeness = video_metrics.locate(look, share, frame)
    assert (y, x) == (down, right)
    assert likeness > 0.99


def test_nothing_to_look_for_is_refused():
    with pytest.raises(ValueError, match="nothing to locate"):
        video_metrics.locate(textured(), np.zeros((40, 64), bool), textured())
