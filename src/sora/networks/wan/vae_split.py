"""Decoding split in time, exactly: processes take turns with the chunks of one clip.

A chunk needs of the one before it nothing but the last frames that each causal layer saw there. With those passed on
from process to process, layer by layer and tile by tile, all of them work at once, each one layer behind the process
before it, and every number is what one process alone computes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from sora.networks.wan.vae import Chunk, Float16Overflow, WanVAE
from sora.networks.wan.vae_layers import FrameCache, Upsample, is_channels_last


def split_chunks(
    vae: WanVAE, latents_BCTHW: Tensor, exchange: FrameExchange, tile: int | None = None, latents_at_once: int = 1
) -> list[Chunk]:
    """The pieces of ``WanVAE.stream``, each of which may be decoded by another process that has the same weights and
    latents, each process its own in their order. An overflow is not raised but gives frames that are not numbers, which
    ``Chunk.check`` finds. Parameters and errors as for ``WanVAE.chunks``."""
    upsamplers = [module for module in vae.decoder.modules() if isinstance(module, Upsample)]
    late = frozenset(module.time_conv for module in upsamplers if module.time_conv is not None)
    position = _Position(0, 0)
    cache = _ExchangedCache(vae.new_cache(), exchange, late, position)
    chunks = vae.chunks(latents_BCTHW, tile, latents_at_once, cache)
    position.count = len(chunks)

    def decode(number: int) -> Tensor:
        position.number, chunk = number, chunks[number]
        try:
            return chunk.decode()
        except Float16Overflow:  # for ``check`` to find, wherever these frames are wanted
            return vae.quant_conv.weight.new_full(chunk.shape, math.nan)

    return [replace(chunk, decode=partial(decode, number)) for number, chunk in enumerate(chunks)]


class FrameExchange(Protocol):
    """Where the frames before a chunk come from, and where its own last ones go to; both in the order of the layers."""

    def receive(self, frames_BTHWC: Tensor) -> None:
        """Fill with what whoever has the chunk before sends next."""
        ...

    def send(self, frames_BTHWC: Tensor) -> None:
        """To whoever has the chunk after. The tensor is contiguous and does not change afterwards."""
        ...


@dataclass
class _Position:
    """number: of the chunk at work, of ``count`` there are."""

    number: int
    count: int


class _ExchangedCache(FrameCache):
    """A cache whose frames come from an exchange. late: layers that the first chunk passes by."""

    def __init__(
        self, like: FrameCache, exchange: FrameExchange, late: frozenset[nn.Module], position: _Position
    ) -> None:
        """like: a cache with the same convolver and activation."""
        super().__init__(like.convolver, like.activation)
        self._exchange, self._late, self._position = exchange, late, position

    def new(self) -> _ExchangedCache:
        return _ExchangedCache(self, self._exchange, self._late, self._position)

    def prepend(self, layer: nn.Module, x_BCTHW: Tensor, frames: int) -> Tensor:
        self._kept.pop(layer, None)
        if not self._is_fresh(layer):
            b, c, _, h, w = x_BCTHW.shape
            before_BTHWC = x_BCTHW.new_empty(b, frames, h, w, c)
            self._exchange.receive(before_BTHWC)
            before = before_BTHWC.permute(0, 4, 1, 2, 3)
            self._kept[layer] = before if is_channels_last(x_BCTHW) else before.contiguous()
        line = super().prepend(layer, x_BCTHW, frames)
        self.overwritten(layer)
        return line

    def frames_of(self, layer: nn.Module, x_BCTHW: Tensor, frames: int) -> tuple[Tensor, bool]:
        self._kept.pop(layer, None)
        kept, _ = super().frames_of(layer, x_BCTHW, frames)
        fresh = self._is_fresh(layer)
        if not fresh:
            self._exchange.receive(kept.permute(0, 2, 3, 4, 1))
        return kept, fresh

    def overwritten(self, layer: nn.Module) -> None:
        kept = self._kept.pop(layer)
        if self._position.number + 1 < self._position.count:
            self._exchange.send(kept.permute(0, 2, 3, 4, 1).contiguous())

    def _is_fresh(self, layer: nn.Module) -> bool:
        return self._position.number == (1 if layer in self._late else 0)
