"""How long a pass and a decoding take where several devices divide them, by plain arithmetic. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sora.errors import UsageError
from sora.models.work import CanvasWork
from sora.runtime.parallel.config import ParallelConfig, config_of_canvas

EXCHANGED = 4
"""Tensors of all tokens that Ulysses exchanges in a block: queries, keys, values, and what attention made of them."""


Terms = Mapping[str, float]


@dataclass(frozen=True)
class Division:
    """How devices divide one canvas. devices: how many there are. guided: steps with guidance, whose two passes may be
    computed at the same time. unguided: steps without it, of any canvas."""

    devices: int
    guided: ParallelConfig
    unguided: ParallelConfig

    def sampling(
        self,
        pass_of: Callable[[CanvasWork], Terms],
        work: CanvasWork,
        *,
        steps: float,
        guided: float,
        itemsize: float,
        rate: float,
    ) -> dict[str, float]:
        """Seconds of all passes of a canvas, by term. pass_of: of one pass of this work on one device. steps: with one
        pass or two, of which ``guided`` have two. itemsize: bytes of a number. rate: 10^9 bytes a second that a device
        sends to the others; between cards without a link of their own that is the rate of copies from pinned memory,
        since both go over PCIe."""
        found: dict[str, float] = {}
        times = ((self.guided, guided * (2 // self.guided.cfg_degree)), (self.unguided, steps - guided))
        for config, count in times:
            terms = dict(pass_of(share_of(work, config.ulysses_degree)))
            terms["exchange"] = gigabytes_sent(work, config.ulysses_degree, itemsize) / rate
            for name, seconds in terms.items():
                found[name] = found.get(name, 0.0) + count * seconds
        return found


def division(devices: int, heads: int, *, guided: bool) -> Division:
    """Of a model with so many attention heads. Raises UsageError for a number that cannot divide them."""
    both = config_of_canvas(devices, heads, guided=guided)
    one = config_of_canvas(devices, heads, guided=False)
    if both is None or one is None:
        raise UsageError(f"{devices} devices cannot divide {heads} attention heads; expected a divisor of them")
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
