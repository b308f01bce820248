"""Which pixels of a training clip are known: the masks of every command, each given as the hole that is left to
generate.

A hole is a box in time, height and width: (first frame, end, top, bottom, left, right), ends excluded. Everything
outside it is known. The six numbers of each clip are drawn on the CPU; masks of whole batches are made from them on the
device.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from sora.networks.mini_vae import TEMPORAL_COMPRESSION

Hole = tuple[int, int, int, int, int, int]

PREFIX_LENGTHS = (1, 1, 1, 5, 9)  # first frames that a film may start from
END_LENGTHS = ((1, 1), (1, 4), (5, 4), (5, 4), (5, 8))  # frames known at the beginning and at the end


def all_unknown(frames: int, height: int, width: int) -> Hole:
    """A hole as large as the clip: nothing is known."""
    return 0, frames, 0, height, 0, width


def inpainting_hole(frames: int, height: int, width: int, rng: Random) -> Hole:
    """A hole whose unknown pixels affect the latents of known ones: before known last frames, between known ends, a
    stretch of frames, or a region."""
    kinds = (_known_suffix, known_ends, _time_hole, _space_hole) if frames > 1 else (_space_hole,)
    return rng.choice(kinds)(frames, height, width, rng)


def known_ends(frames: int, height: int, width: int, rng: Random) -> Hole:
    """Some frames at the beginning and some at the end are known, as for a loop or a bridge."""
    first, last = rng.choice(END_LENGTHS if frames > 9 else END_LENGTHS[:2])
    return first, frames - last, 0, height, 0, width


def _known_suffix(frames: int, height: int, width: int, rng: Random) -> Hole:
    return 0, frames - rng.choice((1, 4, 8)), 0, height, 0, width


def _time_hole(frames: int, height: int, width: int, rng: Random) -> Hole:
    start = rng.randint(1, frames - 5)
    return start, min(frames, start + rng.randint(3, 10)), 0, height, 0, width


def _space_hole(frames: int, height: int, width: int, rng: Random) -> Hole:
    tall, wide = int(height * rng.uniform(0.3, 0.8)), int(width * rng.uniform(0.3, 0.8))
    y, x = rng.randint(0, height - tall), rng.randint(0, width - wide)
    return 0, frames, y, y + tall, x, x + wide


def hole_tensor(holes: Sequence[Hole], device: torch.device | str = "cpu") -> Tensor:
    """(B, 6) integers on the device."""
    return torch.tensor(holes, device=device)


def known_pixels(holes_B6: Tensor, frames: int, height: int, width: int) -> Tensor:
    """(B, 1, F, Y, X) bool, True outside the holes."""
    axes = [_inside(holes_B6, axis, 1, size) for axis, size in enumerate((frames, height, width))]
    return ~_box(*axes)[:, None]


def known_cells(holes_B6: Tensor, frames: int, height: int, width: int, space: int) -> Tensor:
    """(B, TIME, T, H, W) bool: for each latent cell of ``space`` pixels, which of its frames are known in every pixel.
    The first latent frame represents the first frame alone."""
    f = _inside(holes_B6, 0, 1, frames)
    f = (
        torch.cat([f[:, :1].expand(-1, TEMPORAL_COMPRESSION - 1), f], dim=1)
        .unflatten(1, (-1, TEMPORAL_COMPRESSION))
        .transpose(1, 2)
    )
    y, x = (_inside(holes_B6, axis, space, size // space) for axis, size in ((1, height), (2, width)))
    return ~(f[:, :, :, None, None] & _box(None, y, x)[:, None])


def _inside(holes_B6: Tensor, axis: int, cell: int, cells: int) -> Tensor:
    """(B, cells) bool: whether a cell of that many pixels touches the hole along one axis."""
    start, end = holes_B6[:, 2 * axis, None], holes_B6[:, 2 * axis + 1, None]
    at = cell * torch.arange(cells, device=holes_B6.device)
    return (at + cell > start) & (at < end)


def _box(f: Tensor | None, y: Tensor, x: Tensor) -> Tensor:
    plane = y[:, None, :, None] & x[:, None, None, :]
    return plane if f is None else f[:, :, None, None] & plane
