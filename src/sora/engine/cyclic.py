"""Cyclic video: clips without a first and a last frame, for endless loops generated from text alone.

A cycle is T latents. Each of them covers ``time`` frames, the first one too, and the last is followed by the first:
time * T frames in all. After Mobius (Bi et al., arXiv 2502.20307).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import gcd

import torch
from torch import Tensor

from sora.engine.velocity import StatefulVelocity, Velocity, restore_state, state_of

_CALLS = "calls of the rolled velocity"  # in its state
GOLDEN_SECTION = (5**0.5 - 1) / 2  # strides of this share of a cycle fill its widest gaps first


def temporal_roll(velocity: Velocity, lead: int = 0, fixed: int = 0) -> Velocity:
    """A velocity over a cycle (B, C, T, H, W) without a fixed seam: every call rolls the cycle by another offset in
    time, evaluates ``velocity``, and rolls the result back. Any T calls in a row use each offset once.

    lead: how many latents of the rolled cycle's end are repeated before its beginning; what is predicted for them is
    dropped. ``velocity`` then sees T + lead latents and must be bound to a canvas that long. With 1, no latent of the
    cycle is ever the first of what the model sees, which covers one frame where the others cover ``time``.
    fixed: how many latents stand before the cycle, those of references, which are not rolled.
    The offsets run on from call to call: wrap the velocity anew for each run. It must be bound to a canvas of which
    nothing is known, since known latents are not rolled along. Raises ValueError.
    """
    if lead < 0:
        raise ValueError(f"a lead is 0 latents or more, not {lead}")
    calls = 0

    def rolled_velocity(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        before, cycle = x[:, :, :fixed], x[:, :, fixed:]
        length = cycle.shape[2]
        offset = calls * stride(length) % length
        calls += 1
        flow = velocity(torch.cat([before, _unroll(cycle, offset, lead)], dim=2), t)
        return torch.cat([flow[:, :, :fixed], torch.roll(flow[:, :, fixed + lead :], offset, dims=2)], dim=2)

    def state() -> dict[str, Tensor]:
        return state_of(velocity) | {_CALLS: torch.tensor(calls)}

    def restore(state: Mapping[str, Tensor]) -> None:
        nonlocal calls
        calls = int(state[_CALLS])
        restore_state(velocity, {name: each for name, each in state.items() if name != _CALLS})

    return StatefulVelocity(rolled_velocity, state, restore)


def stride(length: int) -> int:
    """How many latents the offset advances between calls, for a cycle of ``length`` >= 1: coprime with the length, so
    that every offset is used, and close to the golden section of it, so that even a few calls are spread evenly."""
    coprime = (step for step in range(1, length + 1) if gcd(step, length) == 1)
    return min(coprime, key=lambda step: abs(step - GOLDEN_SECTION * length))


def decode_cyclic(
    decode: Callable[[Tensor], Iterator[Tensor]], latents_BCTHW: Tensor, time: int, lead: int
) -> Iterator[Tensor]:
    """Decode a cycle of latents to time * T frames, as chunks (F, 3, Y, X) streamed in order.

    decode: gives 1 frame for its first latent and ``time`` for each that follows. lead: how many latents of the cycle's
    end ``decode`` sees first, at least 1 (the cycle is repeated where it is shorter); the loop closes exactly where the
    decoder looks back no further than that. After the end ``decode`` sees one latent of the beginning, since a decoder
    may change its last frames once it knows the next ones. Raises ValueError.
    """
    if lead < 1:
        raise ValueError(f"a cycle is decoded with a lead of at least 1 latent, not {lead}")
    frames = _skip_frames(decode(_unroll(latents_BCTHW, 0, lead, 1)), 1 + time * (lead - 1))
    return _take_frames(frames, time * latents_BCTHW.shape[2])


def _unroll(latents_BCTHW: Tensor, offset: int, lead: int, trail: int = 0) -> Tensor:
    """The cycle as a sequence that begins at latent ``offset``, preceded by the ``lead`` latents that come before it
    and followed by the ``trail`` that come after: (B, C, lead + T + trail, H, W)."""
    length = latents_BCTHW.shape[2]
    order = torch.arange(offset - lead, offset + length + trail, device=latents_BCTHW.device) % length
    return latents_BCTHW.index_select(2, order)


def _skip_frames(chunks: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """The stream without its first ``count`` frames; no chunk is empty."""
    for chunk in chunks:
        if len(chunk) > count:
            yield chunk[count:]
        count = max(0, count - len(chunk))


def _take_frames(chunks: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """At most the first ``count`` frames of the stream."""
    for chunk in chunks:
        if count > 0:
            yield chunk[:count]
        count -= len(chunk)
