"""Where a tensor stands in a checkpoint file, and in which number format, known without reading its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

BLOCKS = {
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
}
"""Those of ggml, which no safetensors file has."""

SIZES = {
    **dict.fromkeys(("F64", "I64", "U64"), (1, 8)),
    **dict.fromkeys(("F32", "I32", "U32"), (1, 4)),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), (1, 2)),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), (1, 1)),
    **BLOCKS,
}
"""Format -> (numbers in a block, bytes of a block). Names are those of safetensors and, for blocks, of ggml."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a file: its numbers begin at byte ``start``, in row-major order. format: a key of SIZES.

    scale: what the numbers are to be multiplied by, one number or one a row; None for nothing.
    """

    file: Path
    format: str
    shape: tuple[int, ...]
    start: int
    scale: TensorEntry | None = None

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file, without those of the scale."""
        block, size = SIZES[self.format]
        return self.numbers // block * size


Table = dict[str, TensorEntry]
