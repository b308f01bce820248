"""The part of the frame that a model looks at when only a region is painted: the region and what lies around it.

A model paints its subjects at the size it has learnt, so a small region of a whole frame would show a corner of one.
Cropped and enlarged, the region is most of what the model sees, and the subject fits into it. Plain arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEARLY_ALL = 0.8  # of a frame's pixels: a crop that would hold more is not worth the resampling


@dataclass(frozen=True)
class Crop:
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns)."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def crop_around(region_FYX: np.ndarray, share: float) -> Crop | None:
    """A crop in which the pixels to paint, bool, take up about ``share`` of each side; None where share is 0, nothing
    is painted, or the crop would hold nearly the whole frame.

    The crop is square where the frame has room for it, since a region's own shape may be longer than models paint.
    """
    _, height, width = region_FYX.shape
    rows, columns = (np.flatnonzero(region_FYX.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not share or not len(rows):
        return None
    side = round(max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]) / share)
    tall, wide = min(side, height), min(side, width)
    if tall * wide > NEARLY_ALL * height * width:
        return None
    top, left = _begin(rows, tall, height), _begin(columns, wide, width)
    return Crop(top, left, tall, wide)


def _begin(selected: np.ndarray, length: int, whole: int) -> int:
    """Where a stretch of that length begins that has what is held in its middle and stays inside the whole."""
    middle = (int(selected[0]) + int(selected[-1]) + 1) / 2
    return min(max(0, round(middle - length / 2)), whole - length)
