"""The judge: what it asks, what it is trained on, its files; nothing here trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from sora.errors import ModelError
from sora.training import judge as judges
from sora.training.judge import FRAMES, IGNORED, QUESTIONS, SHOWN, SIDE, Judge
from sora.training.rough import Clips, asked, film_from, roughened, turned
from sora.training.scene import Actor, Film, Shot
from sora.training.telling.facts import facts
from sora.training.worlds.subjects import UNSEEN
from sora.training.worlds.world import WORLDS, draw_film

TINY = replace(WORLDS["small"], subjects=("fish", "car"), settings=("sea", "desert"))


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(1)
    return Judge(judges.options_of([TINY])).eval()


def a_film(motion: str, subject: str = "fish") -> Film:
    return Film((Shot("sea", (Actor(subject, motion, "left"),), seed=5),))


def a_clip(height: int, width: int, frames: int = FRAMES) -> torch.Tensor:
    return torch.randint(0, 256, (2, frames, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_every_film_of_a_world_can_be_answered(world) -> None:
    known = Judge(judges.options_of([world]), width=8)
    for seed in range(100):
        film = draw_film(world, seed)
        right = known.truth(film)
        words = [known.options[q][i] for q, i in zip(QUESTIONS, right.tolist(), strict=True)]
        assert words == [facts(film)[q] for q in QUESTIONS]


def test_subjects_of_no_world_are_known(judge: Judge) -> None:
    for subject in UNSEEN:
        assert judge.options["subject"][judge.truth(a_film("left", subject))[0]] == subject


def test_a_film_of_another_world_is_refused(judge: Judge) -> None:
    with pytest.raises(ModelError, match="elephant"):
        judge.truth(a_film("left", "elephant"))


def test_the_largest_judge_is_small_on_disk(tmp_path: Path) -> None:
    judges.save(Judge(judges.options_of([WORLDS["small"], WORLDS["medium"]])), tmp_path / "judge.safetensors")
    assert (tmp_path / "judge.safetensors").stat().st_size <= 2e6


@pytest.mark.parametrize("size", [(128, 128), (256, 448), (90, 51)])
def test_clips_of_any_size_are_answered(judge: Judge, size: tuple[int, int]) -> None:
    for told in judges.answers(judge, a_clip(*size)):
        assert list(told) == list(QUESTIONS)
        assert all(told[q] in judge.options[q] for q in QUESTIONS)


def test_clips_of_another_length_are_refused(judge: Judge) -> None:
    with pytest.raises(ValueError, match="17 frames, not 16"):
        judges.answers(judge, a_clip(32, 32, 16))


def test_one_clip_is_answered_as_in_a_batch(judge: Judge) -> None:
    clips = a_clip(64, 96)
    alone = [judges.answer(judge, clip.permute(0, 2, 3, 1).numpy()) for clip in clips]
    assert alone == judges.answers(judge, clips)


def test_twice_the_size_looks_the_same() -> None:
    small = a_clip(SIDE, SIDE)
    large = small.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    assert torch.allclose(judges.shown(small), judges.shown(large), atol=1e-6)


def test_a_preference_is_either_way(judge: Judge) -> None:
    film = np.random.default_rng(1).integers(0, 256, (FRAMES, 48, 48, 3), dtype=np.uint8)
    assert judges.prefers(judge, film, "left", "right") != judges.prefers(judge, film, "right", "left")


@pytest.mark.parametrize("frames", [1, 9, 17, 33])
def test_features_are_told_of_every_second_frame(judge: Judge, frames: int) -> None:
    told = judges.features(judge, a_clip(40, 40, frames))
    assert told.shape[:2] == (2, (frames + 1) // 2)
    assert told.std() > 0


def test_a_file_brings_its_words_along(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    judges.save(judge, path)
    again, clip = judges.load(path), a_clip(64, 64)
    assert again.options == judge.options
    assert again(judges.shown(clip))[0].sub(judge(judges.shown(clip))[0]).abs().max() < 0.02  # float16 on the way


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "judge.safetensors")
    with pytest.raises(ModelError, match="no judge of this version"):
        judges.load(tmp_path / "judge.safetensors")


def test_a_looking_glass_turns_left_to_right(judge: Judge) -> None:
    tables = dict(zip(QUESTIONS, turned(judge), strict=True))
    for question, word, other in (
        ("motion", "left", "right"),
        ("camera", "pan-right", "pan-left"),
        ("motion", "up", "up"),
    ):
        words = judge.options[question]
        assert words[tables[question][words.index(word)]] == other


def test_what_cannot_be_seen_is_not_asked(judge: Judge) -> None:
    motion = QUESTIONS.index("motion")
    assert asked(judge, a_film("grow"), 0)[motion] >= 0
    assert asked(judge, a_film("grow"), 36)[motion] == IGNORED
    assert asked(judge, a_film("left"), 36)[motion] >= 0


def test_it_is_trained_on_the_middle_of_films_and_on_unseen_subjects() -> None:
    rng = Random(1)
    drawn = [film_from(TINY, rng) for _ in range(300)]
    starts = {start for _, start in drawn}
    assert 0 in starts and max(starts) > 16 and all(start % 4 == 0 for start in starts)
    assert {f.shots[0].actors[0].subject for f, _ in drawn} == {*TINY.subjects, *UNSEEN}
    leftwards = [f.shots[0].actors[0] for f, _ in drawn if f.shots[0].actors[0].motion == "left"]
    assert {actor.faces for actor in leftwards} == {"left", "right"}


def test_batches_are_what_the_network_takes(judge: Judge) -> None:
    pytest.importorskip("PIL")
    pixels, right = Clips(judge, [TINY], Random(2), batch=3).next()
    assert pixels.shape == (3, SHOWN, 3, SIDE, SIDE) and right.shape == (3, len(QUESTIONS))
    rough = roughened(pixels)
    assert rough.shape == pixels.shape and rough.isfinite().all()
    assert 0 < (rough - pixels).abs().mean() < 0.3
    for words, column in zip(judge.options.values(), right.T, strict=True):
        assert all(i == IGNORED or 0 <= i < len(words) for i in column.tolist())
