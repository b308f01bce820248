"""Which noise belongs to what: every seed of a generator is derived from a person's seed here.

torch's generator on a CPU looks at the low 32 bits of a seed alone, so derived seeds are kept apart in these.
"""

from __future__ import annotations

WINDOW_STRIDE = 1_000_003
"""From one window's seed to the next one's: far from seeds that people count up."""

TILE_STRIDE = 2_654_435_769
"""From one tile's seed to the next one's: 2**32 divided by the golden ratio, whose multiples stay far apart modulo
2**32 (Knuth, The Art of Computer Programming 3, 6.4). Of n tiles no two come nearer than 2**32 / (2.24 n), 30 million
for 64: more than ten windows and any seeds that people count up reach across."""


def derive_seed(seed: int, *, window: int = 0, tile: int | None = None) -> int:
    """The seed in [0, 2**63) of a window's noise, counted from 0, and of a tile of it; None for no tile. The first
    window without tiles has the person's own."""
    return (seed + WINDOW_STRIDE * window + (0 if tile is None else TILE_STRIDE * (tile + 1))) % 2**63


def training_step_seed(seed: int, step: int) -> int:
    """The seed in [0, 2**63) of what a training step draws."""
    return (WINDOW_STRIDE * seed + step) % 2**63
