"""The judge's accuracy on held-out rendered clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minitrain.judge import FRAMES, QUESTIONS, Judge, answers, device_of, right_answers
from minitrain.judge_data import MAX_START, SIZES, START_STEP, can_start_midway, motion_is_visible
from minitrain.scene import Film
from minitrain.worlds.render import render
from minitrain.worlds.world import World, draw_film

FIRST_SEED = 2 * 10**9  # seed of the first film that is scored
BATCH_CLIPS = 20  # clips of one size


def correct_answers(
    judge: Judge,
    world: World,
    count: int,
    seed: int = FIRST_SEED,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    device: str | torch.device = "cpu",
    midway: bool = False,
) -> Tensor:
    """(count, questions) bool: whether the judge is correct about held-out rendered clips, of every size in turn.
    midway: clips that begin later than their films, but before the motion is over."""
    correct = []
    for begin in range(0, count, BATCH_CLIPS):
        films = [draw_film(world, seed + i, held_out=True) for i in range(begin, min(begin + BATCH_CLIPS, count))]
        starts = [_midway_start(film, begin + i) if midway else 0 for i, film in enumerate(films)]
        size = sizes[begin // BATCH_CLIPS % len(sizes)]
        judged = answers(judge, render(films, FRAMES, *size, first=starts, device=device).frames_BFCYX)
        for film, each in zip(films, judged, strict=True):
            correct.append([each[q] == right for q, right in right_answers(film).items()])
    return torch.tensor(correct)


def _midway_start(film: Film, number: int) -> int:
    """A frame to begin at, later than the film's first one if the answers stay the same."""
    if not can_start_midway(film):
        return 0
    starts = [s for s in range(START_STEP, MAX_START + 1, START_STEP) if motion_is_visible(film, s)]
    return starts[number % len(starts)]


def accuracy(judge: Judge, world: World, count: int = 500, seed: int = FIRST_SEED) -> dict[str, float]:
    """The share of correct answers on held-out rendered clips, for each question."""
    right = correct_answers(judge, world, count, seed, device=device_of(judge))
    return dict(zip(QUESTIONS, right.float().mean(dim=0).tolist(), strict=True))
