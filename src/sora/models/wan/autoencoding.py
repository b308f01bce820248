"""How a Wan model's autoencoder runs: in tiles and in chunks as memory allows, and on where a number format or the
memory turns out not to be enough."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sora.errors import SoraWarning
from sora.memory import Needs
from sora.memory.manager import MemoryManager
from sora.models.wan import needs, vae_memory
from sora.models.wan.components import Components
from sora.models.wan.parallel_decoding import shared_stream
from sora.networks.wan.vae import Float16Overflow, WanVAE
from sora.weights.finite import NotFinite

if TYPE_CHECKING:
    from sora.runtime.parallel.workers import Workers

SHARE_OF_MEMORY = 0.5
"""Of what is free: the most that is taken for several latents at once. They save a few hundredths of the time, which is
not worth what else a card could be doing, nor memory that is nearly full."""

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Autoencoding:
    """Encodes and decodes with ``components.vae``, in what ``memory`` has for it. workers: decode together with this
    process; None for it alone."""

    components: Components
    memory: MemoryManager
    workers: Workers | None = None

    def encode(self, pixels_BCFYX: Tensor) -> Tensor:
        """latents_BCTHW, as ``WanVAE.encode``. Raises torch.OutOfMemoryError."""
        grid, (_, _, frames, height, width) = self.components.spec.grid, pixels_BCFYX.shape
        shape = grid.latent_shape(frames, height, width)

        def encode() -> Tensor:
            at_once = self._latents_at_once("encode", shape)
            return self._vae().encode(pixels_BCFYX, self._tile, at_once)

        while True:
            try:
                return encode()
            except Float16Overflow:
                self._widen("encode", shape)
            except torch.OutOfMemoryError:
                if not self._take_less():
                    raise

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        """Pixels (B, 3, f, Y, X), as ``WanVAE.stream``. Raises OutOfMemory."""
        done = 0
        stream = self._stream(latents_BCTHW)
        while True:
            try:
                with torch.inference_mode():  # not around the yield: it would apply to the caller
                    chunk = next(stream, None)
            except torch.OutOfMemoryError as error:
                if self._is_shared(latents_BCTHW) or not self._take_less():
                    self.memory.fall_back("decode", error)
                stream = _from_frame(done, self._stream(latents_BCTHW))
                continue
            except Float16Overflow:
                self._widen("decode", _shape_of(latents_BCTHW))
                stream = _from_frame(done, self._stream(latents_BCTHW))
                continue
            if chunk is None:
                return
            done += chunk.shape[2]
            yield chunk

    @property
    def _tile(self) -> int | None:
        """The side of the tiles in which the VAE works; None for whole frames."""
        return self.components.plan.tile

    def _stream(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        vae = self._vae()
        if self.workers is not None and self._is_shared(latents_BCTHW):
            # One latent at a time, so that the chunks divide evenly among the processes.
            yield from shared_stream(self.components, self.workers, latents_BCTHW, self._tile, 1)
        else:
            at_once = self._latents_at_once("decode", _shape_of(latents_BCTHW))
            yield from vae.stream(latents_BCTHW, self._tile, at_once)

    def _is_shared(self, latents_BCTHW: Tensor) -> bool:
        """Whether several processes decode these latents: of a picture there is nothing to divide."""
        return self.workers is not None and latents_BCTHW.shape[2] > 1

    def _latents_at_once(self, phase: str, shape: Shape) -> int:
        """How many latents of (C, T, H, W) go through together: as many as pay and fit."""
        most = min(self.components.most_latents_at_once, shape[1] - 1)
        if most <= 1:
            return 1
        dtype = self.components.vae_dtype
        return self.memory.most_that_fit(phase, most, lambda n: self._needs(shape, dtype, n), SHARE_OF_MEMORY)

    def _vae(self) -> WanVAE:
        """Raises Float16Overflow where the weights themselves are too large for float16, and ModelError."""
        try:
            return self.components.vae
        except NotFinite:
            if self.components.vae_dtype != torch.float16:
                raise
        raise Float16Overflow("the autoencoder's weights overflow float16")

    def _take_less(self) -> bool:
        """One latent at a time from now on; False where that is so already."""
        if self.components.most_latents_at_once <= 1:
            return False
        self.components.most_latents_at_once = 1
        return True

    def _widen(self, phase: str, shape: Shape) -> None:
        """Leave float16: for float32, in tiles if need be, or for bfloat16 where even these do not fit. bfloat16 has
        float32's range but is only some 50 dB from it, where float16 was 68."""
        fits = self.memory.adopt(phase, lambda: self._needs(shape, torch.float32, 1))
        self.components.widen_vae(torch.float32 if fits else torch.bfloat16)
        how = "float32, which takes about twice the time and memory"
        if not fits:
            how = "bfloat16, since float32 does not fit into memory, and loses fine differences in brightness"
        warnings.warn(f"the autoencoder's numbers overflow float16; it goes on in {how}", SoraWarning, stacklevel=2)

    def _needs(self, shape: Shape, dtype: torch.dtype, at_once: int) -> Needs:
        """Those that are known of the workload, with latents (C, T, H, W) in another dtype or so many at once."""
        known = self.memory.needs
        assert known is not None
        sizes = needs.autoencoder_sizes(self.components.meta_module("vae"), self.components.device, dtype)
        encodes = known.encoding_bytes is not None
        return replace(
            known,
            vae=sizes.weights,
            decoding_bytes=lambda tile: vae_memory.decoding(sizes, shape, tile, at_once),
            encoding_bytes=(lambda tile: vae_memory.encoding(sizes, shape, tile, at_once)) if encodes else None,
        )


def _shape_of(latents_BCTHW: Tensor) -> Shape:
    _, c, t, h, w = latents_BCTHW.shape
    return c, t, h, w


def _from_frame(first: int, stream: Iterator[Tensor]) -> Iterator[Tensor]:
    """What a stream gives from this frame on."""
    for chunk in stream:
        if first < chunk.shape[2]:
            yield chunk[:, :, max(0, first) :]
        first -= chunk.shape[2]
