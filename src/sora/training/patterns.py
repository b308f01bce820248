"""Which pixels of a training clip are known: every way a verb will ask for."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

PREFIXES = (1, 1, 1, 5, 9)  # first frames that a film may start from
ENDS = ((1, 1), (1, 4), (5, 4), (5, 4), (5, 8))  # frames known at the beginning and at the end


def nothing(frames: int, height: int, width: int) -> Tensor:
    """(1, F, Y, X) bool, nowhere known."""
    return torch.zeros(1, frames, height, width, dtype=torch.bool)


def prefix(frames: int, height: int, width: int, rng: Random) -> Tensor:
    """The first frame or frames are known. The rest cannot reach back into their latents: the encoder is causal."""
    known = nothing(frames, height, width)
    known[:, : min(rng.choice(PREFIXES), max(1, frames - 4))] = True
    return known


def entangled(frames: int, height: int, width: int, rng: Random) -> Tensor:
    """Known parts whose latents unknown pixels touch: last frames, both ends, all but a stretch, all but a region."""
    known = nothing(frames, height, width)
    kinds = (_last, _both_ends, _all_but_stretch, _all_but_region) if frames > 1 else (_all_but_region,)
    rng.choice(kinds)(known, rng)
    return known


def _last(known: Tensor, rng: Random) -> None:
    known[:, -rng.choice((1, 4, 8)) :] = True


def _both_ends(known: Tensor, rng: Random) -> None:
    first, last = rng.choice(ENDS if known.shape[1] > 9 else ENDS[:2])
    known[:, :first] = True
    known[:, -last:] = True


def both_ends(frames: int, height: int, width: int, rng: Random) -> Tensor:
    """Some frames at the beginning and some at the end are known: a loop's or a bridge's."""
    known = nothing(frames, height, width)
    _both_ends(known, rng)
    return known


def _all_but_stretch(known: Tensor, rng: Random) -> None:
    frames = known.shape[1]
    start = rng.randint(1, frames - 5)
    known[:] = True
    known[:, start : start + rng.randint(3, 10)] = False


def _all_but_region(known: Tensor, rng: Random) -> None:
    height, width = known.shape[-2:]
    tall, wide = int(height * rng.uniform(0.3, 0.8)), int(width * rng.uniform(0.3, 0.8))
    y, x = rng.randint(0, height - tall), rng.randint(0, width - wide)
    known[:] = True
    known[:, :, y : y + tall, x : x + wide] = False
