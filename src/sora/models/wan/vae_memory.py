"""Activation memory of a Wan VAE: what it takes besides its weights, in bytes.

Two things count: the feature caches in which causal layers keep earlier frames, all of them alive all the time, and the
feature maps of the layer that runs. Both are counted from ``networks.wan.vae_layers`` without gradients;
``benchmarks/memory.py`` compares the counts with the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sora.models.wan.sizes import Autoencoder

CACHED_FRAMES = 2  # by a causal convolution over three
FLOAT32 = 4


@dataclass(frozen=True)
class _Scale:
    """The residual blocks at one scale. zoom: how many positions lie along a latent's side. frames: of a chunk.
    in_channels, width: channels of the input, and inside. waiting: channels that wait while a block after the first
    runs. cached: numbers in the feature caches at each position. halo: positions that a tile reads beyond each of its
    sides."""

    zoom: int
    frames: int
    in_channels: int
    width: int
    waiting: int
    cached: int
    halo: int


Latents = tuple[int, int, int, int]


def decoding(vae: Autoencoder, latents: Latents, tile: int | None, latents_at_once: int = 1) -> int:
    """Of decoding latents (C, T, H, W), so many latent frames at a time. tile: latents along a tile's side, at most;
    None for no tiles."""
    root = CACHED_FRAMES * (vae.channels + 4 * vae.decoder[-1])
    frames = _frames(vae, latents[1], latents_at_once)
    return _peak(vae, _decoder_scales(vae, frames), latents, tile, root)


def encoding(vae: Autoencoder, latents: Latents, tile: int | None, latents_at_once: int = 1) -> int:
    """Of encoding to latents (C, T, H, W), as many frames at a time as make so many latent frames. tile: as for
    ``decoding``."""
    head = CACHED_FRAMES * 5 * vae.encoder[-1]
    frames = _frames(vae, latents[1], latents_at_once)
    return _peak(vae, _encoder_scales(vae, frames), latents, tile, head)


def _peak(vae: Autoencoder, scales: list[_Scale], latents: Latents, tile: int | None, untiled: int) -> int:
    """untiled: numbers in the feature caches at each position, of the layers that always see whole frames."""
    _, length, h, w = latents
    cached = [s.cached * _positions(s, h, w, tile, all_tiles=not vae.tile_by_tile) for s in scales]
    # From the second chunk on all caches are full; a still picture has only one chunk.
    cache, peak = h * w * untiled + (0 if length == 1 else sum(cached)), 0
    for scale, of_scale in zip(scales, cached, strict=True):
        cache += of_scale if length == 1 else 0
        maps = scale.frames * _positions(scale, h, w, tile) * _peak_of_block(scale, vae)
        peak = max(peak, cache * vae.itemsize + maps)
    pixels = 3 * 3 * max(s.frames for s in scales) * (h * w) * (2 ** len(vae.halve_time) * vae.patch) ** 2
    return peak + pixels * vae.itemsize


def _frames(vae: Autoencoder, length: int, latents_at_once: int) -> list[int]:
    """Frames of a chunk at each scale, from pixels to latents."""
    if length == 1:
        return [1] * (len(vae.halve_time) + 1)
    count = min(latents_at_once, length - 1)
    return [count * 2 ** sum(vae.halve_time[i:]) for i in range(len(vae.halve_time) + 1)]


def _decoder_scales(vae: Autoencoder, frames: list[int]) -> list[_Scale]:
    """The decoder's scales, from latents to pixels. One more convolution after the last reads a position on each
    side."""
    blocks, scales, halo = vae.blocks + 1, [], 1
    for i, width in enumerate(vae.decoder):
        last = i + 1 == len(vae.decoder)
        before = width if last else vae.decoder[i + 1]
        in_channels = before if last or vae.residual else before // 2
        halo = (halo if i == 0 else math.ceil((halo + 1) / 2)) + 2 * blocks
        doubles = i > 0 and vae.halve_time[i - 1] and max(frames) > 1  # a still picture passes by what doubles frames
        numbers = in_channels + (2 * blocks - 1) * width + (width if i == 0 or doubles else 0)
        zoom = 2 ** (len(vae.halve_time) - i)
        scales.append(_Scale(zoom, frames[i], in_channels, width, in_channels + width, CACHED_FRAMES * numbers, halo))
    return scales[::-1]


def _encoder_scales(vae: Autoencoder, frames: list[int]) -> list[_Scale]:
    """The encoder's scales, from pixels to latents."""
    scales, halo = [], 0
    for i in reversed(range(len(vae.encoder))):
        width, in_channels = vae.encoder[i], vae.encoder[max(0, i - 1)]
        halved = i < len(vae.halve_time)
        halo = (2 * (halo + 1) if halved else 0) + 2 * vae.blocks
        numbers = CACHED_FRAMES * (in_channels + (2 * vae.blocks - 1) * width)
        numbers += CACHED_FRAMES * 3 * vae.patch**2 if i == 0 else 0
        numbers += math.ceil(width / 4) if halved and vae.halve_time[i] else 0  # one frame at half the side
        waiting = in_channels + width if vae.residual else width
        zoom = 2 ** (len(vae.halve_time) - i)
        scales.append(_Scale(zoom, frames[i], in_channels, width, waiting, numbers, halo))
    return scales[::-1]


def _peak_of_block(scale: _Scale, vae: Autoencoder) -> int:
    """The most bytes at each position of each frame while a residual block runs: in a norm, which works in float32
    unless it is fused, or in a convolution, whose input is concatenated with its cache."""
    with_cache = (scale.frames + CACHED_FRAMES) / scale.frames
    a, b, n = scale.in_channels, scale.width, vae.itemsize
    norm = 0 if vae.fused else FLOAT32 + (n if n < FLOAT32 else 0)
    joined = with_cache * n if vae.fused else (1 + with_cache) * n
    copies = n if vae.copies else 0
    shortcut = n * b if a != b else 0
    one = max(norm * a, joined * a, (n + copies) * (with_cache * a + b))
    two = n * b + max(norm * b, joined * b, (n + copies) * (with_cache + 1) * b)
    return math.ceil(max(n * a + max(one, shortcut + two), n * scale.waiting + two))


def _positions(scale: _Scale, h: int, w: int, tile: int | None, *, all_tiles: bool = False) -> int:
    """Positions of a frame at a scale: of the whole frame, or of the largest tile with its halo, or of all tiles
    together."""
    total = sum if all_tiles else max
    rows, columns = (
        total(
            min(size * scale.zoom, stop * scale.zoom + scale.halo) - max(0, start * scale.zoom - scale.halo)
            for start, stop in _spans(size, tile)
        )
        for size in (h, w)
    )
    return rows * columns


def _spans(size: int, tile: int | None) -> list[tuple[int, int]]:
    """The same as ``wan.vae.spans``: tiles of about equal size, at most ``tile`` each."""
    count = 1 if tile is None else math.ceil(size / tile)
    return [(i * size // count, (i + 1) * size // count) for i in range(count)]
