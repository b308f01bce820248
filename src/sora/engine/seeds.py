"""Seeds: every random generator of the program takes a seed that is derived here from the person's.

A CPU generator of torch uses the low 32 bits of its seed alone, so derived seeds differ in these. Seeds go up to
2**64 - 1; of those from 2**63 on, the bits that are kept hold the low 32, and with them the noise.
"""

from __future__ import annotations

WINDOW_STRIDE = 1_000_003
"""Between the seeds of two windows that follow each other: large, since people count seeds up from one clip to the
next."""

TILE_STRIDE = 2_654_435_769
"""Between the seeds of two tiles that follow each other: 2**32 divided by the golden ratio, whose multiples stay far
apart modulo 2**32 (Knuth, The Art of Computer Programming 3, 6.4). Of n tiles no two seeds are closer than
2**32 / (2.24 n), 30 million for 64: more than ten windows, or any seeds that people count up, can bridge."""


STEP_STRIDE = 1_779_033_703
"""Between the seeds of two steps that follow each other: 2**32 multiplied by the square root of 2 less 1, whose
multiples stay far apart modulo 2**32, too, and apart from those of the golden ratio."""


def derive_seed(seed: int, *, window: int = 0, tile: int | None = None, step: int = 0) -> int:
    """The seed in [0, 2**63) for the noise of a window, of one tile of a picture, and of a step that adds some. window,
    tile, step: counted from 0; tile is None where the noise is not of a tile. Step 0 is where a run begins. The first
    window's seed is the person's own."""
    of_tile = 0 if tile is None else TILE_STRIDE * (tile + 1)
    return (seed + WINDOW_STRIDE * window + of_tile + STEP_STRIDE * step) % 2**63


def training_step_seed(seed: int, step: int) -> int:
    """The seed in [0, 2**63) for the random numbers of a training step."""
    return (WINDOW_STRIDE * seed + step) % 2**63
