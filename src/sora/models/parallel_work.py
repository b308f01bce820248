"""What each of several devices does of a pass and of a decoding, by plain arithmetic. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sora.models.work import CanvasWork
from sora.runtime.parallel.config import ParallelConfig, config_of_canvas

EXCHANGED = 4
"""Tensors of all tokens that Ulysses exchanges in a block: queries, keys, values, and what attention made of them."""


@dataclass(frozen=True)
class Division:
    """How devices divide one canvas. devices: how many there are. guided: with guidance. unguided: a step without it,
    of any canvas."""

    devices: int
    guided: ParallelConfig
    unguided: ParallelConfig


def division(devices: int, heads: int, *, guided: bool) -> Division:
    """Of a model with so many attention heads. Raises ValueError for a number that cannot divide them."""
    both = config_of_canvas(devices, heads, guided=guided)
    one = config_of_canvas(devices, heads, guided=False)
    if both is None or one is None:
        raise ValueError(
            f"{devices} devices cannot divide {heads} heads; expected what models.parallel.check lets pass"
        )
    return Division(devices, both, one)


def share_of(work: CanvasWork, degree: int) -> CanvasWork:
    """What one of so many devices computes of a pass: its tokens in linear layers, its heads in attention."""
    return replace(
        work,
        linear=work.linear / degree,
        attention=work.attention / degree,
        text_attention=work.text_attention / degree,
        elements=work.elements / degree,
    )


def gigabytes_sent(work: CanvasWork, degree: int, itemsize: float) -> float:
    """10^9 bytes that each device sends in one pass: of its tokens all but its own share of the heads."""
    return EXCHANGED * work.elements / degree * (degree - 1) / degree * itemsize


def decoding_share(chunks: int, devices: int) -> float:
    """The share of a decoding's time that is left where devices take its chunks in turn."""
    return -(-chunks // devices) / chunks if chunks else 1.0
