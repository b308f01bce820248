"""Tiles: a large picture as overlapping pieces of one size, and the pieces as one picture again.

Axis letters: F frames, C channels, Y X pixels in height and width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture, in pixels. y, x: of its first row and column."""

    y: int
    x: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def crop(self, picture: Tensor) -> Tensor:
        """A view of this part of a picture (..., Y, X): (..., height, width)."""
        return picture[..., self.y : self.y + self.height, self.x : self.x + self.width]


def split_into_tiles(size: tuple[int, int], tile: tuple[int, int], overlap: float) -> list[Tile]:
    """Tiles of one size that together cover every pixel, row by row, evenly spread, with as few as the overlap allows.

    size, tile: (height, width) in pixels. overlap: in [0, 1), the share of a tile's height or width that it has in
    common with the next, at least; rounded up to whole pixels. Raises ValueError when the tile is larger than the
    picture, or when the overlap leaves it no pixel to move on.
    """
    rows, columns = (_starts(whole, part, overlap) for whole, part in zip(size, tile, strict=True))
    return [Tile(y, x, *tile) for y in rows for x in columns]


def _starts(whole: int, part: int, overlap: float) -> list[int]:
    """Where the pieces of one axis begin: 0 first, whole - part last."""
    if not 0 < part <= whole:
        raise ValueError(f"a tile of {part} pixels does not lie in a picture of {whole}")
    if not 0 <= overlap < 1:
        raise ValueError(f"an overlap is a share in [0, 1), not {overlap}")
    span, farthest = whole - part, part - math.ceil(part * overlap)
    if span == 0:
        return [0]
    if farthest < 1:
        raise ValueError(f"tiles of {part} pixels that overlap by {overlap} cannot move on")
    moves = math.ceil(span / farthest)
    return [i * span // moves for i in range(moves + 1)]  # whole pixels: no move is longer than ``farthest``


def blend_tiles(size: tuple[int, int], parts: Iterable[tuple[Tile, Tensor]]) -> Tensor:
    """One picture (F, C, Y, X) out of overlapping parts (F, C, height, width), float32, on the first part's device.

    size: (height, width) of the picture in pixels. parts: all of one F and C, in any order and any float; read one at a
    time. Each pixel is the mean of the parts that cover it, weighted by ``window``. Raises ValueError when a part is
    not of its tile's size, or a pixel has no part.
    """
    total, weights = torch.zeros(()), torch.zeros(size)
    for tile, part_FCYX in parts:
        if part_FCYX.shape[-2:] != tile.size:
            raise ValueError(f"a part of {tuple(part_FCYX.shape)} does not fill {tile}")
        if total.ndim == 0:
            total = torch.zeros(*part_FCYX.shape[:2], *size, device=part_FCYX.device)
            weights = weights.to(part_FCYX.device)
        weight = feather(tile.size).to(total.device)
        tile.crop(total).add_(weight * part_FCYX)
        tile.crop(weights).add_(weight)
    if bool((weights == 0).any()):
        raise ValueError(f"{int((weights == 0).sum())} pixels of {size} are covered by no part")
    return total.div_(weights)


def feather(size: tuple[int, int]) -> Tensor:
    """A raised cosine in each axis, (height, width) float32 in (0, 1]: highest in the middle, never 0, so that a pixel
    which one tile alone covers keeps its value."""
    rows, columns = (torch.sin(torch.pi * (torch.arange(n) + 0.5) / n).square() for n in size)
    return rows[:, None] * columns
