"""How often the judge is right about held-out rendered clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minitrain.judge import FRAMES, QUESTIONS, Judge, answers, device_of, right_answers
from minitrain.judge_data import LATEST, SIZES, STEP, may_begin_late, seen_moving
from minitrain.scene import Film
from minitrain.worlds.render import render
from minitrain.worlds.world import World, draw_film

HELD = 2 * 10**9  # seed of the first film that is scored
AT_ONCE = 20  # clips of one size


def verdicts(
    judge: Judge,
    world: World,
    count: int,
    seed: int = HELD,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    device: str | torch.device = "cpu",
    midway: bool = False,
) -> Tensor:
    """(count, questions) bool: right answers on held-out rendered clips, of every size in turn. midway: clips that
    begin later than their films, though not so late that the motion is over."""
    rows = []
    for begin in range(0, count, AT_ONCE):
        films = [draw_film(world, seed + i, held=True) for i in range(begin, min(begin + AT_ONCE, count))]
        starts = [_later(film, begin + i) if midway else 0 for i, film in enumerate(films)]
        size = sizes[begin // AT_ONCE % len(sizes)]
        told = answers(judge, render(films, FRAMES, *size, first=starts, device=device).frames_BFCYX)
        for film, each in zip(films, told, strict=True):
            rows.append([each[q] == right for q, right in right_answers(film).items()])
    return torch.tensor(rows)


def _later(film: Film, number: int) -> int:
    """A frame to begin at, later than the film's first where that shows the same."""
    if not may_begin_late(film):
        return 0
    starts = [s for s in range(STEP, LATEST + 1, STEP) if seen_moving(film, s)]
    return starts[number % len(starts)]


def on_rendered(judge: Judge, world: World, count: int = 500, seed: int = HELD) -> dict[str, float]:
    """Share of right answers on held-out rendered clips."""
    right = verdicts(judge, world, count, seed, device=device_of(judge))
    return dict(zip(QUESTIONS, right.float().mean(dim=0).tolist(), strict=True))
