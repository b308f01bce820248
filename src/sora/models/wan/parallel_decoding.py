"""A clip decoded by all processes that painted it: each takes chunks in turn (``runtime.parallel_vae``)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sora.memory import MemoryPlan
from sora.models.wan.components import Components
from sora.networks.wan.vae import Float16Overflow
from sora.networks.wan.vae_split import split_chunks

if TYPE_CHECKING:
    from sora.runtime.parallel.ranks import Ranks
    from sora.runtime.parallel.workers import Workers


@dataclass(frozen=True)
class Decode:
    """Latents to decode together. tile, latents_at_once: as in ``WanVAE.stream``. plan, wide_vae: as rank 0's
    ``Components`` have them."""

    latents_BCTHW: Tensor
    tile: int | None
    latents_at_once: int
    plan: MemoryPlan
    wide_vae: torch.dtype | None


def shared_stream(
    components: Components, workers: Workers, latents_BCTHW: Tensor, tile: int | None, latents_at_once: int
) -> Iterator[Tensor]:
    """As ``WanVAE.stream``, on rank 0. Raises Float16Overflow once all processes are done, and what else goes wrong in
    any process as ``Workers.guarded`` does."""
    workers.recover()
    message = Decode(latents_BCTHW, tile, latents_at_once, components.plan, components.wide_vae)
    with workers.guarded():
        assert workers.ranks is not None
        workers.send(message)
        stream = _stream(components, workers.ranks, message)
    chunk: Tensor | None = latents_BCTHW
    try:
        while True:
            overflow: Float16Overflow | None = None
            with workers.guarded():
                try:
                    chunk = next(stream, None)
                except Float16Overflow as error:  # which no process is lost by
                    chunk, overflow = None, error
            if overflow is not None:
                raise overflow
            if chunk is None:
                return
            yield chunk
    finally:
        if chunk is not None and workers.failure is None:  # whoever reads this stopped early; the others go on
            with workers.guarded():
                stream.close()


def decode_share(components: Components, ranks: Ranks, message: Decode) -> None:
    """What another process does about a message."""
    if components.wide_vae != message.wide_vae and message.wide_vae is not None:
        components.widen_vae(message.wide_vae)
    for _ in _stream(components, ranks, message):
        pass


def _stream(components: Components, ranks: Ranks, message: Decode) -> Generator[Tensor, None, None]:
    ring, latents_BCTHW = ranks.ring, message.latents_BCTHW
    yield from ring.stream(split_chunks(components.vae, latents_BCTHW, ring, message.tile, message.latents_at_once))
