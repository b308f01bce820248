"""A circle of time: films without a first and a last frame, for endless loops painted from words.

A cycle is T latents of which each, the first too, stands for ``time`` frames, and the last is followed by the first:
time * T frames in all. After Mobius (Bi et al., arXiv 2502.20307).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import gcd

import torch
from torch import Tensor

from sora.engine.sampler import Velocity

GOLDEN_SECTION = (5**0.5 - 1) / 2  # strides of this share of a circle fill its widest gaps first


def temporal_roll(velocity: Velocity, lead: int = 0) -> Velocity:
    """A field over a cycle (B, C, T, H, W), whose seam no state remembers: every call opens the circle at another
    place, asks the field, and closes it again. Any T calls in a row open it once at each latent.

    lead: latents from the end of the opened circle that stand before its beginning as well, and whose answer is
    dropped. The field is then asked about T + lead latents and must be bound to a canvas that long. With 1, no latent
    of the cycle is ever the film's first, which holds one frame where the others hold ``time``.
    The places run on from call to call: wrap the field anew for each run. The field must know no cells, since they do
    not turn with the circle. Raises ValueError.
    """
    if lead < 0:
        raise ValueError(f"a lead is 0 latents or more, not {lead}")
    calls = 0

    def field(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        length = x.shape[2]
        place = calls * stride(length) % length
        calls += 1
        return torch.roll(velocity(_opened(x, place, lead), t)[:, :, lead:], place, dims=2)

    return field


def stride(length: int) -> int:
    """How far round a circle of ``length`` >= 1 latents the opening moves between calls: coprime with the length, so
    that it comes everywhere, and near the golden section, so that even a few calls are spread well."""
    coprime = (step for step in range(1, length + 1) if gcd(step, length) == 1)
    return min(coprime, key=lambda step: abs(step - GOLDEN_SECTION * length))


def decode_cyclic(
    decode: Callable[[Tensor], Iterator[Tensor]], latents_BCTHW: Tensor, time: int, lead: int
) -> Iterator[Tensor]:
    """The frames of a closed cycle, as chunks (F, 3, Y, X), time * T of them in all, streamed in order.

    decode: gives 1 frame for its first latent and ``time`` for each that follows. lead: how many latents of the cycle's
    end it is shown first, at least 1; the loop closes exactly where it looks back no further than that, and the cycle
    is gone through as often as needed. After the end it is shown one latent of the beginning, for what it does to the
    last frames in sight of the next ones. Raises ValueError.
    """
    if lead < 1:
        raise ValueError(f"a cycle is decoded with a lead of at least 1 latent, not {lead}")
    frames = _without(decode(_opened(latents_BCTHW, 0, lead, 1)), 1 + time * (lead - 1))
    return _first(frames, time * latents_BCTHW.shape[2])


def _opened(cycle_BCTHW: Tensor, place: int, lead: int, trail: int = 0) -> Tensor:
    """The circle from the latent at ``place`` once round, with the ``lead`` latents that come before and the ``trail``
    that come after: (.., lead + T + trail, ..)."""
    length = cycle_BCTHW.shape[2]
    order = torch.arange(place - lead, place + length + trail, device=cycle_BCTHW.device) % length
    return cycle_BCTHW.index_select(2, order)


def _without(chunks: Iterator[Tensor], first: int) -> Iterator[Tensor]:
    """A stream of frames without the ``first`` few; no chunk is empty."""
    for chunk in chunks:
        if len(chunk) > first:
            yield chunk[first:]
        first = max(0, first - len(chunk))


def _first(chunks: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """No more than the first ``count`` frames of a stream."""
    for chunk in chunks:
        if count > 0:
            yield chunk[:count]
        count -= len(chunk)
