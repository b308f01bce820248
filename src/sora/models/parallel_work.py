"""How long a pass and a decoding take where several devices divide them, by plain arithmetic. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
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

    def sampling_seconds(
        self, seconds_of: Callable[[CanvasWork], float], work: CanvasWork, *, steps: float, guided: float, **link: float
    ) -> float:
        """Of all passes of a canvas. seconds_of: one pass of this work on one device. steps: with one pass or two, of
        which ``guided`` have two. link: as for ``pass_seconds``."""
        both = pass_seconds(seconds_of, work, self.guided.ulysses_degree, **link)
        one = pass_seconds(seconds_of, work, self.unguided.ulysses_degree, **link)
        return guided * both * (2 // self.guided.cfg_degree) + (steps - guided) * one


def division(devices: int, heads: int, *, guided: bool) -> Division:
    """Of a model with so many attention heads. Raises ValueError for a number that cannot divide them."""
    both = config_of_canvas(devices, heads, guided=guided)
    one = config_of_canvas(devices, heads, guided=False)
    if both is None or one is None:
        raise ValueError(
            f"{devices} devices cannot divide {heads} heads; expected what models.parallel.check lets pass"
        )
    return Division(devices, both, one)


def pass_seconds(
    seconds_of: Callable[[CanvasWork], float], work: CanvasWork, degree: int, *, itemsize: float, rate: float
) -> float:
    """Of one pass of the transformer whose tokens ``degree`` devices share. seconds_of: of a pass of this work on one
    device. itemsize: bytes of a number. rate: 10^9 bytes a second that a device sends to the others; between cards
    without a link of their own that is the rate of copies from pinned memory, since both go over PCIe."""
    return seconds_of(share_of(work, degree)) + gigabytes_sent(work, degree, itemsize) / rate


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
