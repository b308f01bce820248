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
from sora.training.world import FIRST, MOTIONS, SMALL, STRIDE, Scene, World, draw_scene, held_out, render

SHAPES_ONLY = World(subjects=tuple(SHAPES))


def scene(motion: str, seed: int, **changes: object) -> Scene:
    drawn = replace(draw_scene(SHAPES_ONLY, seed), motion=motion, camera="static", snow=False)
    return replace(drawn, **changes)  # type: ignore[arg-type]


def path(motion: str, seed: int, lattice: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, area) of the subject's coverage in each frame."""
    _, cover = render(scene(motion, seed, lattice=lattice), 17, 128, 128)
    mass = cover.astype(float)
    area = mass.sum(axis=(1, 2))
    x = (mass * np.arange(128)).sum(axis=(1, 2)) / area
    y = (mass * np.arange(128)[:, None]).sum(axis=(1, 2)) / area
    return x, y, area


@pytest.mark.parametrize("lattice", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_motions_move_as_they_say(seed: int, lattice: bool) -> None:
    x, y, area = 0, 1, 2
    shown = {motion: path(motion, seed, lattice) for motion in MOTIONS}
    assert np.all(np.diff(shown["right"][x]) > 0)
    assert np.all(np.diff(shown["left"][x]) < 0)
    assert np.all(np.diff(shown["down"][y]) > 0)
    assert np.all(np.diff(shown["up"][y]) < 0)
    assert shown["grow"][area][-1] > 2 * shown["grow"][area][0]
    assert shown["shrink"][area][-1] < 0.5 * shown["shrink"][area][0]
    assert np.ptp(shown["still"][x]) == np.ptp(shown["still"][y]) == 0
    rises = np.diff(shown["bounce"][y])
    assert (rises > 0).any() and (rises < 0).any()


def test_on_the_lattice_every_fourth_frame_is_a_stride_further() -> None:
    x = path("right", 3, lattice=True)[0]
    assert np.allclose(np.diff(x[::4]), STRIDE)


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


@pytest.mark.parametrize("motion", ["left", "right", "up", "down"])
def test_a_travelling_subject_is_never_lost(motion: str) -> None:
    """What goes out on one side comes in on the other, as a film of a minute needs."""
    _, cover = render(scene(motion, 5, lattice=True), 17, 128, 128, first=60)
    _, early = render(scene(motion, 5, lattice=True), 17, 128, 128)
    shares = cover.mean(axis=(1, 2)) / early.mean()
    assert shares.min() > 0.9 and shares.max() < 1.1
