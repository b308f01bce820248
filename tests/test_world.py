"""The cartoon world does what its captions say. Shapes only, so that no font is needed."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora.training.captions import PLAIN_MOTION, SETTING_WORDS, SLOTS, caption, vocabulary
from sora.training.scenery import SETTINGS, backdrop
from sora.training.sprites import SHAPES, SUBJECTS
from sora.training.world import FIRST, MOTIONS, SMALL, Scene, World, draw_scene, held_out, render

SHAPES_ONLY = World(subjects=tuple(SHAPES))


def scene(motion: str, seed: int, **changes: object) -> Scene:
    drawn = replace(draw_scene(SHAPES_ONLY, seed), motion=motion, camera="static", snow=False)
    return replace(drawn, **changes)  # type: ignore[arg-type]


def path(motion: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, area) of the subject's coverage in each frame."""
    _, cover = render(scene(motion, seed), 17, 96, 96)
    mass = cover.astype(float)
    area = mass.sum(axis=(1, 2))
    x = (mass * np.arange(96)).sum(axis=(1, 2)) / area
    y = (mass * np.arange(96)[:, None]).sum(axis=(1, 2)) / area
    return x, y, area


@pytest.mark.parametrize("seed", range(6))
def test_motions_move_as_they_say(seed: int) -> None:
    assert np.all(np.diff(path("right", seed)[0]) > 0)
    assert np.all(np.diff(path("left", seed)[0]) < 0)
    assert np.all(np.diff(path("down", seed)[1]) > 0)
    assert np.all(np.diff(path("up", seed)[1]) < 0)
    assert path("grow", seed)[2][-1] > 2 * path("grow", seed)[2][0]
    assert path("shrink", seed)[2][-1] < 0.5 * path("shrink", seed)[2][0]
    assert np.ptp(path("still", seed)[0]) == 0
    rises = np.diff(path("bounce", seed)[1])
    assert (rises > 0).any() and (rises < 0).any()


def test_a_scene_renders_the_same_every_time() -> None:
    drawn = draw_scene(SHAPES_ONLY, 5)
    assert np.array_equal(render(drawn, 5, 64, 80)[0], render(drawn, 5, 64, 80)[0])


def test_a_later_start_shows_later_frames() -> None:
    drawn = scene("right", 2)
    assert np.array_equal(render(drawn, 9, 64, 64)[0][4:6], render(drawn, 2, 64, 64, first=4)[0])


@given(st.integers(0, 2**48 - 1), st.booleans())
@settings(max_examples=50, deadline=None)
def test_held_out_scenes_stay_apart(seed: int, held: bool) -> None:
    drawn = draw_scene(SMALL, seed, held=held)
    assert held_out(drawn.subject, drawn.setting, drawn.motion) == held


def test_about_a_tenth_is_held_out() -> None:
    triples = [held_out(s, b, m) for s in FIRST.subjects for b in FIRST.settings for m in FIRST.motions]
    assert 0.07 < np.mean(triples) < 0.13


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_every_word_of_a_caption_is_in_the_vocabulary(seed: int, wording: int) -> None:
    known = set(vocabulary(FIRST))
    assert set(re.findall(r"[a-z]+", caption(draw_scene(FIRST, seed), Random(wording)).text.lower())) <= known


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_caption_says_what_it_claims_to_tell(seed: int, wording: int) -> None:
    drawn = draw_scene(FIRST, seed)
    said = caption(drawn, Random(wording))
    assert set(said.told) == set(SLOTS)
    if said.told["setting"]:
        assert any(phrase in said.text for phrase in SETTING_WORDS[drawn.setting])
    if said.told["subject"]:
        assert any(name in said.text for name in SUBJECTS[drawn.subject].names)
    if said.told["motion"] and drawn.motion in PLAIN_MOTION:
        assert any(phrase in said.text for phrase in PLAIN_MOTION[drawn.motion])
    if said.told["motion"] and drawn.motion in ("left", "right"):
        assert drawn.motion in said.text


def test_complete_captions_tell_the_three_that_are_judged() -> None:
    for seed in range(50):
        told = caption(draw_scene(FIRST, seed), Random(seed), complete=True).told
        assert told["subject"] and told["setting"] and told["motion"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_fill_the_whole_frame(setting: str) -> None:
    picture = np.asarray(backdrop(setting, 48, 80, Random(1)))
    assert picture.shape == (48, 80, 3)
    assert picture.std() > 5


def test_all_motions_are_drawn() -> None:
    assert {draw_scene(SMALL, seed).motion for seed in range(300)} == set(MOTIONS)
