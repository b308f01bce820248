"""The judge: what it asks, what it is trained on, its files; nothing here trains it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from minitrain import judge as judges
from minitrain import latent_corruptions
from minitrain.captions.facts import facts
from minitrain.corruptions import CORRUPTIONS, MILD_CORRUPTIONS, corrupt, corrupt_mildly, subject_difference
from minitrain.eval.quality import perceptual_distance
from minitrain.judge import CROP_SIDE, FRAMES, IGNORED, QUESTIONS, SAMPLED_FRAMES, SIDE, Judge, crop_subject
from minitrain.judge_augmentation import augment
from minitrain.judge_data import (
    ClipReplayBuffer,
    Frames,
    LabelledClips,
    answerable_labels,
    draw_clip,
    mirrored_answers,
    motion_is_visible,
    reversed_answers,
)
from minitrain.scene import Actor, Film, Shot
from minitrain.worlds.subjects import UNSEEN
from minitrain.worlds.world import WORLDS, draw_film
from sora.errors import ModelError

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
        right = known.labels_of(film)
        words = [known.options[q][i] for q, i in zip(QUESTIONS, right.tolist(), strict=True)]
        assert words == [(facts(film) | {"whole": "whole"})[q] for q in QUESTIONS]


def test_subjects_of_no_world_are_known(judge: Judge) -> None:
    for subject in UNSEEN:
        assert judge.options["subject"][judge.labels_of(a_film("left", subject))[0]] == subject


def test_a_film_of_another_world_is_refused(judge: Judge) -> None:
    with pytest.raises(ModelError, match="elephant"):
        judge.labels_of(a_film("left", "elephant"))


def test_the_largest_judge_is_small_on_disk(tmp_path: Path) -> None:
    judges.save(Judge(judges.options_of([WORLDS["rich"], WORLDS["large"]])), tmp_path / "judge.safetensors")
    assert (tmp_path / "judge.safetensors").stat().st_size <= 4e6


@pytest.mark.parametrize("size", [(128, 128), (256, 448), (90, 51)])
def test_clips_of_any_size_are_answered(judge: Judge, size: tuple[int, int]) -> None:
    for answers in judges.answers(judge, a_clip(*size)):
        assert list(answers) == list(QUESTIONS)
        assert all(answers[q] in judge.options[q] for q in QUESTIONS)


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
    assert torch.allclose(judges.preprocess(small), judges.preprocess(large), atol=1e-6)


def test_a_preference_is_one_of_two(judge: Judge) -> None:
    film = np.random.default_rng(1).integers(0, 256, (FRAMES, 48, 48, 3), dtype=np.uint8)
    assert judges.prefers(judge, film, "left", "right") != judges.prefers(judge, film, "right", "left")


@pytest.mark.parametrize("frames", [1, 9, 17, 33])
def test_every_second_frame_has_features(judge: Judge, frames: int) -> None:
    features = judges.clip_features(judge, a_clip(40, 40, frames))
    assert features.shape[:2] == (2, (frames + 1) // 2)
    assert features.std() > 0


def test_a_file_brings_its_words_along(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    judges.save(judge, path)
    again, clip = judges.load(path), a_clip(64, 64)
    assert again.options == judge.options
    assert (
        again(judges.preprocess(clip))[0].sub(judge(judges.preprocess(clip))[0]).abs().max() < 0.02
    )  # float16 on the way


def test_a_bias_towards_broken_changes_the_answers() -> None:
    torch.manual_seed(12)
    strict, clips = Judge(judges.options_of([TINY])).eval(), torch.cat([a_clip(48, 48) for _ in range(4)])
    judges.bias_towards_broken(strict, -50)
    assert {answer["whole"] for answer in judges.answers(strict, clips)} == {"whole"}
    judges.bias_towards_broken(strict, 100)
    assert {answer["whole"] for answer in judges.answers(strict, clips)} == {"broken"}


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "judge.safetensors")
    with pytest.raises(ModelError, match="no judge of this version"):
        judges.load(tmp_path / "judge.safetensors")


def test_a_file_without_all_questions_is_refused(judge: Judge, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    options = {q: list(words) for q, words in judge.options.items() if q != "whole"}
    save_file({"a": torch.zeros(1)}, tmp_path / "judge.safetensors", metadata={"options": json.dumps(options)})
    with pytest.raises(ModelError, match="no judge of this version"):
        judges.load(tmp_path / "judge.safetensors")


def test_films_are_far_apart_by_what_the_judge_sees_of_them(judge: Judge) -> None:
    film, other = (clip.permute(0, 2, 3, 1).numpy() for clip in a_clip(48, 64, 3))
    assert perceptual_distance(judge, film, film) == pytest.approx(0, abs=1e-5)
    assert (
        0
        < perceptual_distance(judge, film, (0.9 * film + 0.1 * other).astype(np.uint8))
        < perceptual_distance(judge, film, other)
    )


@pytest.mark.parametrize("size", [(64, 96), (40, 40)])
def test_maps_are_an_eighth_of_the_picture(judge: Judge, size: tuple[int, int]) -> None:
    seen = judges.feature_maps(judge, torch.rand(2, 3, 3, *size) * 2 - 1)
    assert seen.shape[0] == 6 and seen.shape[2:] == (size[0] // 8, size[1] // 8)
    assert torch.allclose(seen.norm(dim=1), torch.ones(6, *seen.shape[2:]), atol=1e-4)


def test_a_looking_glass_turns_left_to_right(judge: Judge) -> None:
    tables = dict(zip(QUESTIONS, mirrored_answers(judge), strict=True))
    for question, word, other in (
        ("motion", "left", "right"),
        ("camera", "pan-right", "pan-left"),
        ("motion", "up", "up"),
    ):
        words = judge.options[question]
        assert words[tables[question][words.index(word)]] == other


@pytest.mark.parametrize(
    ("question", "word", "other"),
    [
        *(
            ("motion", "left", "right"),
            ("motion", "down", "up"),
            ("motion", "grow", "shrink"),
            ("motion", "spin", "spin"),
        ),
        *(("camera", "zoom-in", "zoom-out"), ("camera", "", ""), ("setting", "sea", "sea")),
    ],
)
def test_a_clip_played_backwards_shows_the_opposite(question: str, word: str, other: str) -> None:
    known = Judge(judges.options_of([WORLDS["large"]]), width=8)
    table, words = dict(zip(QUESTIONS, reversed_answers(known), strict=True))[question], known.options[question]
    assert words[table[words.index(word)]] == other


def test_what_looks_like_nothing_else_backwards_is_not_asked() -> None:
    known = Judge(judges.options_of([WORLDS["large"]]), width=8)
    table = dict(zip(QUESTIONS, reversed_answers(known), strict=True))["motion"]
    assert {w for w, i in zip(known.options["motion"], table, strict=True) if i == IGNORED} == {
        *("arc-left", "arc-right", "fall", "enter-left", "enter-right", "leave-left", "leave-right"),
    }


@pytest.mark.parametrize(("top", "left", "side"), [(10, 50, 30), (40, 20, 44)])
def test_close_up_the_subject_fills_the_picture(top: int, left: int, side: int) -> None:
    cover = torch.zeros(1, 1, SIDE, SIDE)
    cover[:, :, top : top + side, left : left + side] = 1
    crop = crop_subject(cover, cover)
    assert crop.shape == (1, 1, CROP_SIDE, CROP_SIDE)
    assert 0.45 < crop.mean() < 0.85
    assert crop[0, 0, CROP_SIDE // 2, CROP_SIDE // 2] == 1 and crop[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]].max() < 0.5


def test_close_up_of_nothing_is_the_middle() -> None:
    pixels = torch.rand(2, 3, SIDE, SIDE)
    assert crop_subject(pixels, torch.zeros(2, 1, 12, 12)).isfinite().all()


def test_what_cannot_be_seen_is_not_asked(judge: Judge) -> None:
    motion = QUESTIONS.index("motion")
    assert answerable_labels(judge, a_film("grow"), 0)[motion] >= 0
    assert answerable_labels(judge, a_film("grow"), 36)[motion] == IGNORED
    assert answerable_labels(judge, a_film("left"), 36)[motion] >= 0


def test_it_is_trained_on_the_middle_of_films_and_on_unseen_subjects() -> None:
    rng = Random(1)
    drawn = [draw_clip(TINY, rng) for _ in range(300)]
    starts = {start for _, start in drawn}
    assert 0 in starts and max(starts) > 16 and all(start % 4 == 0 for start in starts)
    assert {f.shots[0].actors[0].subject for f, _ in drawn} == {*TINY.subjects, *UNSEEN}
    leftwards = [f.shots[0].actors[0] for f, _ in drawn if f.shots[0].actors[0].motion == "left"]
    assert {actor.faces for actor in leftwards} == {"left", "right"}


@pytest.fixture(scope="module")
def clips(judge: Judge) -> ClipReplayBuffer:
    pytest.importorskip("PIL")
    torch.manual_seed(3)
    held = ClipReplayBuffer(judge, [TINY], Random(2), capacity=8)
    held.add(8)
    return held


def test_clips_are_what_the_network_takes(judge: Judge, clips: ClipReplayBuffer) -> None:
    pixels, right = clips.latest(3)
    assert pixels.shape == (6, SAMPLED_FRAMES, 3, SIDE, SIDE) and right.shape == (6, len(QUESTIONS))
    rough = augment(pixels)
    assert rough.shape == pixels.shape and rough.isfinite().all()
    assert 0 < (rough - pixels).abs().mean() < 0.3
    for words, column in zip(judge.options.values(), right.T, strict=True):
        assert all(i == IGNORED or 0 <= i < len(words) for i in column.tolist())


def test_the_newest_clips_are_kept(judge: Judge) -> None:
    pytest.importorskip("PIL")
    held = ClipReplayBuffer(judge, [TINY], Random(4), capacity=3)
    held.add(2)
    assert held.count == 2
    first = held.pixels[1].clone()
    held.add(2)
    assert held.count == 3
    assert torch.equal(held.pixels[1], first) and not torch.equal(held.pixels[0], held.pixels[1])


def test_frames_know_where_their_subject_stands(clips: ClipReplayBuffer) -> None:
    frames = clips.frames(60)
    assert frames.pixels.shape == frames.background.shape == (60, 3, SIDE, SIDE)
    there = (frames.pixels - frames.background).abs().mean(dim=1, keepdim=True)
    shown = frames.cover.flatten(1).mean(dim=1) > 0.05
    inside = (there * (frames.cover > 0.9)).sum() / (frames.cover > 0.9).sum()
    outside = (there * (frames.cover < 0.1)).sum() / (frames.cover < 0.1).sum()
    assert shown.any() and inside > 3 * outside


def a_picture(count: int = 6) -> Frames:
    """A bright striped square on a dark ground."""
    torch.manual_seed(5)
    cover = torch.zeros(count, 1, SIDE, SIDE)
    cover[:, :, 24:72, 28:70] = 1
    bare = torch.full((count, 3, SIDE, SIDE), -0.8)
    stripes = torch.sin(torch.arange(SIDE) / 3).expand(SIDE, SIDE) * torch.linspace(-1, 1, SIDE)[:, None]
    pixels = torch.where(cover > 0, stripes.expand(count, 3, SIDE, SIDE) * torch.rand(count, 3, 1, 1), bare)
    return Frames(pixels, bare, cover, torch.zeros(count, len(QUESTIONS), dtype=torch.long))


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.__name__)
def test_each_corruption_changes_the_subject_and_leaves_the_background(corruption) -> None:
    frames = a_picture()
    corrupted = corruption(frames)
    assert corrupted.shape == frames.pixels.shape and corrupted.isfinite().all()
    assert (corrupted - frames.pixels).abs().flatten(1).amax(dim=1).min() > 0.1
    assert (
        torch.allclose(corrupted[:, :, :, -2:], frames.pixels[:, :, :, -2:], atol=0.02)
        or corruption.__name__ == "duplicate"
    )


def test_mild_corruptions_change_less_than_strong_ones() -> None:
    frames = a_picture(40)
    assert (
        subject_difference(frames, corrupt_mildly(frames)).mean()
        < subject_difference(frames, corrupt(frames)).mean() / 2
    )
    assert all(corruption(frames).isfinite().all() for corruption in MILD_CORRUPTIONS)


def test_a_picture_without_a_subject_can_be_corrupted() -> None:
    empty = a_picture(12)
    empty = Frames(empty.background, empty.background, torch.zeros_like(empty.cover), empty.labels)
    assert corrupt(empty).isfinite().all() and corrupt_mildly(empty).isfinite().all()


def test_a_motion_that_is_over_is_not_seen() -> None:
    assert motion_is_visible(a_film("shrink"), 12) and not motion_is_visible(a_film("shrink"), 16)
    assert motion_is_visible(a_film("bounce"), 36)


# Corrupted latents ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("PIL")
    from sora import catalog, models

    return models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", latent_corruptions.CORRUPTIONS)
def test_corrupted_latents_keep_the_background(model, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    corruption, verdict, _ = latent_corruptions.CORRUPTIONS[name]
    monkeypatch.setattr(latent_corruptions, "CORRUPTIONS", {name: (corruption, verdict, 1.0)})
    torch.manual_seed(7)
    frames, labels = latent_corruptions.corrupt_clips(model, TINY, Random(8))
    assert len(labels) == len(frames["pixels"]) == len(frames["cover"])
    assert {row["whole"] for row in labels} == {verdict}
    assert all((row["subject"] == "") == (verdict == "broken") for row in labels)
    far = (frames["pixels"].float() - frames["bare"].float()).abs().mean(dim=(1, 2, 3))
    assert far.median() < 40


def test_a_judge_learns_from_a_file_of_corrupted_clips(judge: Judge, model, tmp_path: Path) -> None:
    torch.manual_seed(9)
    latent_corruptions.write(
        [latent_corruptions.corrupt_clips(model, TINY, Random(seed)) for seed in range(2)],
        tmp_path / "mimics.safetensors",
    )
    frames = latent_corruptions.CorruptedClips(judge, tmp_path / "mimics.safetensors").frames(10)
    assert frames.pixels.shape == (10, 3, SIDE, SIDE) and frames.cover.shape == (10, 1, SIDE, SIDE)
    assert frames.pixels.abs().max() <= 1 and frames.cover.min() >= 0 and frames.cover.max() <= 1
    assert set(frames.labels[:, QUESTIONS.index("whole")].tolist()) <= {0, 1}
    assert (frames.labels[:, QUESTIONS.index("motion")] == IGNORED).all()


def test_a_judge_learns_from_labelled_clips_of_the_part_for_training_alone(judge: Judge, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    (tmp_path / "kept").mkdir()
    for number in range(3):
        frames = rng.integers(0, 256, (FRAMES, 32, 32, 3), dtype=np.uint8)
        row = json.dumps({"facts": {"subject": "fish"}})
        np.savez_compressed(tmp_path / "kept" / f"{number}.npz", frames=frames, row=row)
    rows = [{"folder": "kept", "number": n, "whole": n == 0, "why": ""} for n in range(3)]
    (tmp_path / "labels.json").write_text(json.dumps({"train": rows[:2], "test": rows[2:]}))
    torch.manual_seed(11)
    painted = LabelledClips(judge, tmp_path, tmp_path / "labels.json")
    assert len(painted.pixels) == 2 * SAMPLED_FRAMES
    right = painted.frames(400).labels
    whole, subject = right[:, QUESTIONS.index("whole")], right[:, QUESTIONS.index("subject")]
    assert 0.4 < (whole == 0).float().mean() < 0.6
    assert (subject[whole == 0] == judge.options["subject"].index("fish")).all()
    assert (subject[whole == 1] == IGNORED).all()
