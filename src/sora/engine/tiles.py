"""Tiles: cutting a large picture into overlapping tiles of one size, and blending the tiles into one picture again.

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
    """A rectangle of a picture, in pixels. y, x: its first row and column."""

    y: int
    x: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def crop(self, picture: Tensor) -> Tensor:
        """A view of the tile's pixels in a picture (..., Y, X): (..., height, width)."""
        return picture[..., self.y : self.y + self.height, self.x : self.x + self.width]


def split_into_tiles(size: tuple[int, int], tile: tuple[int, int], overlap: float) -> list[Tile]:
    """Tiles of one size that together cover every pixel, row by row, evenly spaced, as few as the overlap allows.

    size, tile: (height, width) in pixels. overlap: in [0, 1), the least share of a tile's height or width that it has
    in common with the next; rounded up to whole pixels. Raises ValueError when the tile is larger than the picture, or
    when the overlap leaves no pixel between the starts of two tiles.
    """
    rows, columns = (_starts(length, tile_length, overlap) for length, tile_length in zip(size, tile, strict=True))
    return [Tile(y, x, *tile) for y in rows for x in columns]


def _starts(length: int, tile_length: int, overlap: float) -> list[int]:
    """Where the tiles of one axis begin: 0 first, length - tile_length last."""
    if not 0 < tile_length <= length:
        raise ValueError(f"a tile of {tile_length} pixels does not lie in a picture of {length}")
    if not 0 <= overlap < 1:
        raise ValueError(f"an overlap is a share in [0, 1), not {overlap}")
    span, max_stride = length - tile_length, tile_length - math.ceil(tile_length * overlap)
    if span == 0:
        return [0]
    if max_stride < 1:
        raise ValueError(f"tiles of {tile_length} pixels that overlap by {overlap} cannot move on")
    count = math.ceil(span / max_stride)
    return [i * span // count for i in range(count + 1)]  # whole pixels: no stride exceeds max_stride


def blend_tiles(size: tuple[int, int], tiles: Iterable[tuple[Tile, Tensor]]) -> Tensor:
    """Blend overlapping tiles (F, C, height, width) into one picture (F, C, Y, X), float32, on the first tile's device.

    size: (height, width) of the picture in pixels. tiles: each with its pixels, all of one F and C, in any order and
    any float dtype; they are read one at a time. Each pixel is the mean of the tiles that cover it, weighted by
    ``feather``. Raises ValueError when pixels are not of their tile's size, or when no tile covers a pixel.
    """
    total, weights = torch.zeros(()), torch.zeros(size)
    for tile, pixels_FCYX in tiles:
        if pixels_FCYX.shape[-2:] != tile.size:
            raise ValueError(f"pixels of {tuple(pixels_FCYX.shape)} do not fill {tile}")
        if total.ndim == 0:
            total = torch.zeros(*pixels_FCYX.shape[:2], *size, device=pixels_FCYX.device)
            weights = weights.to(pixels_FCYX.device)
        weight = feather(tile.size).to(total.device)
        tile.crop(total).add_(weight * pixels_FCYX)
        tile.crop(weights).add_(weight)
    if bool((weights == 0).any()):
        raise ValueError(f"{int((weights == 0).sum())} pixels of {size} are covered by no tile")
    return total.div_(weights)


def feather(size: tuple[int, int]) -> Tensor:
    """The weight of each pixel of a tile, (height, width) float32 in (0, 1]: a raised cosine along each axis, highest
    in the middle and never 0, so that a pixel which one tile alone covers keeps its value."""
    rows, columns = (torch.sin(torch.pi * (torch.arange(n) + 0.5) / n).square() for n in size)
    return rows[:, None] * columns
