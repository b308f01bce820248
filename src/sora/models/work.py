"""How much arithmetic painting takes, as a family counts it from the sizes of its networks. Plain numbers: nothing is
loaded, and torch is not imported. ``jobs.forecast`` divides them by the rates of a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TERA, GIGA = 1e12, 1e9


@dataclass(frozen=True)
class Work:
    """What an autoencoder takes for a canvas. operations: TFLOP, where a multiplication with its addition counts as
    two. outputs: 10^9 numbers that its convolutions make, each of which is read, normed and written a few times."""

    operations: float = 0.0
    outputs: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.operations + other.operations, self.outputs + other.outputs)

    def __rmul__(self, count: float) -> Work:
        return Work(count * self.operations, count * self.outputs)


@dataclass(frozen=True)
class CanvasWork:
    """What one canvas takes, in TFLOP (10^12 operations, a multiplication with its addition counting as two), 10^9
    numbers and 10^9 parameters.

    linear, attention, text_attention: TFLOP of one pass of the transformer over one sample, in its linear layers, in
    the attention of tokens to one another, and in that to the text. elements: 10^9 numbers that a pass takes through
    norms, modulation, rotary embedding and residual sums: tokens times width, summed over the blocks. encode, decode:
    of the whole canvas; nothing to encode where nothing is known and the family then encodes nothing. text: TFLOP of
    the text encoder for one text. image: TFLOP of the image encoder. parameters: 10^9 parameters of each network by its
    name, one "transformer" where there are two experts. in_blocks: 10^9 parameters of its blocks, which a memory plan
    may leave in CPU memory. blocks: how many those are. loads_late: whether networks are loaded when they are first
    used.
    """

    linear: float
    attention: float
    text_attention: float
    elements: float
    encode: Work
    decode: Work
    text: float = 0.0
    image: float = 0.0
    parameters: Mapping[str, float] = field(default_factory=dict)
    in_blocks: float = 0.0
    blocks: int = 1
    loads_late: bool = False

    @property
    def one_pass(self) -> float:
        """TFLOP of one pass of the transformer over one sample."""
        return self.linear + self.attention + self.text_attention
