"""At the edges of the picture: in ``rich-v2`` travellers turn back and nobody is cut off; older worlds stay."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minitrain.scene import Actor, Film, Shot
from minitrain.worlds import WORLDS, draw_film, render
from minitrain.worlds.sprites import sprite

WORLD = WORLDS["rich-v2"]
LONG = 72  # frames, several times as long as a way across the picture
DRAWN = {
    "small": 3307208731,
    "medium": 180159531,
    "rich": 323467755,
    "wide": 164684617,
    "large": 3580785686,
}  # subjects, motions and seeds of 40 films of each world


def film(motion: str, seed: int, *, contained: bool = True, subject: str = "red ball", size: float = 0.5) -> Film:
    faces = "right" if motion == "right" else "left"
    return Film((Shot("meadow", (Actor(subject, motion, faces, size=size),), seed, contained=contained),))


def cover(drawn: Film, frames: int = LONG, size: tuple[int, int] = (64, 64)) -> Tensor:
    """(F, Y, X) bool: where the subject is."""
    return render([drawn], frames, *size).cover_BFYX[0] > 128


@pytest.mark.parametrize("motion", ["left", "right", "up", "down"])
@pytest.mark.parametrize("size", [(64, 64), (64, 112), (112, 64)])
def test_travellers_stay_whole_and_turn_back(motion: str, size: tuple[int, int]) -> None:
    for seed in range(3):
        seen = cover(film(motion, seed, size=0.47), size=size)
        area = seen.sum(dim=(1, 2)).float()
        assert area.min() > 0.93 * area.max()  # never cut off, never two of them
        axis = 2 if motion in ("up", "down") else 1
        places = torch.arange(float(seen.shape[3 - axis]))
        middle = (seen.any(dim=axis) * places).sum(dim=1) / seen.any(dim=axis).sum(dim=1)
        steps = middle.diff()
        assert steps.abs().max() < 4  # no leap to the other side
        assert (steps > 0.5).any() and (steps < -0.5).any()


def test_nothing_appears_at_the_bottom_while_the_subject_is_at_the_top() -> None:
    """Where actors come in again, the same film does show it at both edges."""
    for contained in (True, False):
        seen = cover(film("up", 3, contained=contained, size=0.47))
        torn = seen[:, :4].any(dim=(1, 2)) & seen[:, -4:].any(dim=(1, 2))
        assert bool(torn.any()) is not contained


def test_the_first_seventeen_frames_go_in_one_direction() -> None:
    for seed in range(8):
        drawn = draw_film(WORLD, seed, held_out=False)
        actor = replace(drawn.shots[0].actors[0], motion="left", faces="left", subject="red ball")
        shot = replace(drawn.shots[0], actors=(actor,), camera="static", weather="", setting="meadow", hour="day")
        seen = cover(Film((shot,)), 17).any(dim=1)
        middle = (seen * torch.arange(64.0)).sum(dim=1) / seen.sum(dim=1)
        assert middle[-1] < middle[0] - 10 and (middle.diff() < 0.6).all()


@pytest.mark.parametrize("motion", ["grow", "shrink"])
@pytest.mark.parametrize("size", [(64, 64), (64, 112)])
def test_growing_subjects_stay_whole(motion: str, size: tuple[int, int]) -> None:
    for seed in range(4):
        seen = cover(film(motion, seed, size=0.6), 33, size)
        height, width = (seen.any(dim=axis).sum(dim=1) for axis in (2, 1))
        assert (height - width).abs().max() <= 2  # a ball stays round, so no side of it is cut off
        assert height.max() > 1.5 * height.min()


def test_who_turns_back_looks_where_it_goes() -> None:
    try:
        sprite("fish")
    except OSError:
        pytest.skip("the emoji font is not installed")
    drawn = film("left", 2, subject="fish")
    shown = render([drawn], LONG, 64, 64)
    box = shown.cover_BFYX[0] > 128
    middle = (box.any(dim=1) * torch.arange(64.0)).sum(dim=1) / box.any(dim=1).sum(dim=1)
    looks = []
    for frame in (2, int(middle.argmin()) + 6):
        columns = box[frame].any(dim=0).nonzero()
        looks.append(box[frame][:, int(columns.min()) : int(columns.max()) + 1].float())
    width = min(look.shape[1] for look in looks)
    there, back = (look[:, :width] for look in looks)
    assert (there - back.flip(-1)).abs().mean() < 0.5 * (there - back).abs().mean()


def test_what_is_painted_worst_is_trained_on_most() -> None:
    counts = {held: Counter() for held in (False, True)}
    for seed in range(3000):
        for held, counted in counts.items():
            actor = draw_film(WORLD, seed, held_out=held).shots[0].actors[0]
            counted.update([actor.subject, actor.motion])
    hard = sum(counts[False][s] for s in WORLD.oversampled_subjects) / len(WORLD.oversampled_subjects)
    easy = [
        s
        for s in WORLD.subjects
        if s not in WORLD.oversampled_subjects and " ball" not in s and s not in ("yellow star",)
    ]
    assert 2.2 < hard / (sum(counts[False][s] for s in easy) / len(easy)) < 3.8
    assert min(counts[False][m] for m in ("bounce", "spin")) > 2 * counts[False]["still"]
    assert sum(counts[True][s] for s in WORLD.oversampled_subjects) < 1.6 * 3000 * len(WORLD.oversampled_subjects) / 48


@pytest.mark.parametrize("name", ["small", "medium", "rich", "wide", "large"])
def test_older_worlds_draw_what_they_drew(name: str) -> None:
    """Shipped weights and the judge were trained on them."""
    drawn = [draw_film(WORLDS[name], seed, held_out=False) for seed in range(40)]
    assert not any(shot.contained for film in drawn for shot in film.shots)
    words = "|".join(f"{f.shots[0].actors[0].subject} {f.shots[0].actors[0].motion} {f.shots[0].seed}" for f in drawn)
    assert zlib.crc32(words.encode()) == DRAWN[name]
