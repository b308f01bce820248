"""The sizes a model can paint. Plain arithmetic: importing this costs nothing, so bad sizes are refused at once."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """How a VAE and its transformer divide a canvas.

    time: pixel frames behind each latent frame but the first, so F = 1 + time * k.
    space: pixels behind one latent's side. patch: latents behind one token's side. channels: of a latent.
    """

    time: int
    space: int
    channels: int
    patch: int = 2

    @property
    def multiple(self) -> int:
        """Heights and widths are multiples of this many pixels."""
        return self.space * self.patch

    def fits(self, frames: int, height: int, width: int) -> bool:
        """Whether this canvas is on the grid exactly."""
        return (
            frames >= 1
            and (frames - 1) % self.time == 0
            and min(height, width) > 0
            and height % self.multiple == 0
            and width % self.multiple == 0
        )

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of a canvas that is on the grid."""
        if not self.fits(frames, height, width):
            raise ValueError(f"{frames} frames of {width}x{height} are not on {self}")
        return self.channels, 1 + (frames - 1) // self.time, height // self.space, width // self.space

    def nearest_size(self, aspect: float, area: int) -> tuple[int, int]:
        """(height, width) on the grid, of about ``area`` pixels, with the shape closest to ``aspect`` = width / height.

        Sizes whose area is within a quarter of ``area`` compete; the closest shape wins, then the closest area.
        """
        m = self.multiple
        ideal = max(1.0, math.sqrt(area / aspect) / m)
        rows = range(max(1, math.floor(ideal * 0.7)), math.ceil(ideal * 1.3) + 1)
        columns = {r: max(1, round(r * aspect)) for r in rows}

        def miss(r: int) -> float:
            size = math.log(r * columns[r] * m * m / area)
            shape = math.log(columns[r] / r / aspect)
            return abs(shape) + 0.5 * abs(size) + (4.0 * max(0.0, abs(size) - 0.25))

        best = min(rows, key=miss)
        return best * m, columns[best] * m
