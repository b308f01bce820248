"""Memory that a Wan autoencoder takes while it runs, beside its weights, in bytes.

Two things count: what its causal layers remember of earlier frames, all of it always there, and the feature maps of
the layer at work. Both are counted from ``networks.wan.vae_layers`` without gradients; ``benchmarks/memory.py`` holds
the counts against the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sora.models.wan.sizes import Autoencoder

REMEMBERED = 2  # frames, by a convolution of three


@dataclass(frozen=True)
class _Scale:
    """Residual blocks at one scale. zoom: places along a latent's side. frames: at once, of a chunk. given, width:
    channels of what goes in, and inside. held: channels of what waits while a block after the first runs. remembered:
    numbers kept at each place. around: places that a tile reads to each side."""

    zoom: int
    frames: int
    given: int
    width: int
    held: int
    remembered: int
    around: int


def decoding(vae: Autoencoder, latents: tuple[int, int, int, int], tile: int | None) -> int:
    """Of decoding (C, T, H, W), a latent at a time; ``tile``: most latents of a tile's side, None for no tiles."""
    root = REMEMBERED * (vae.channels + 4 * vae.decoder[-1])
    return _running(vae, _up(vae, latents[1]), latents, tile, root)


def encoding(vae: Autoencoder, latents: tuple[int, int, int, int], tile: int | None) -> int:
    """Of encoding to (C, T, H, W), as many frames at a time as make one latent."""
    head = REMEMBERED * 5 * vae.encoder[-1]
    return _running(vae, _down(vae, latents[1]), latents, tile, head)


def _running(
    vae: Autoencoder, scales: list[_Scale], latents: tuple[int, int, int, int], tile: int | None, whole: int
) -> int:
    """whole: numbers remembered at each place by the layers that see whole frames."""
    _, length, h, w = latents
    remembered = [s.remembered * _places(s, h, w, tile, all_tiles=not vae.tile_by_tile) for s in scales]
    # After the first chunk all is remembered from the start; a picture is done before.
    kept, most = h * w * whole + (0 if length == 1 else sum(remembered)), 0
    for scale, own in zip(scales, remembered, strict=True):
        kept += own if length == 1 else 0
        most = max(
            most, kept * vae.itemsize + scale.frames * _places(scale, h, w, tile) * _dearest(scale, vae.itemsize)
        )
    pixels = 3 * 3 * max(s.frames for s in scales) * (h * w) * (2 ** len(vae.halve_time) * vae.patch) ** 2
    return most + pixels * vae.itemsize


def _frames(vae: Autoencoder, length: int) -> list[int]:
    """Frames of a chunk at each scale, from the pixels' end."""
    if length == 1:
        return [1] * (len(vae.halve_time) + 1)
    return [2 ** sum(vae.halve_time[i:]) for i in range(len(vae.halve_time) + 1)]


def _up(vae: Autoencoder, length: int) -> list[_Scale]:
    """The decoder's scales, from the latents' end. Behind the last, one more convolution reads a place around."""
    frames, blocks, scales, around = _frames(vae, length), vae.blocks + 1, [], 1
    for i, width in enumerate(vae.decoder):
        last = i + 1 == len(vae.decoder)
        before = width if last else vae.decoder[i + 1]
        given = before if last or vae.residual else before // 2
        around = (around if i == 0 else math.ceil((around + 1) / 2)) + 2 * blocks
        numbers = given + (2 * blocks - 1) * width + (width if i == 0 or vae.halve_time[i - 1] else 0)
        zoom = 2 ** (len(vae.halve_time) - i)
        scales.append(_Scale(zoom, frames[i], given, width, given + width, REMEMBERED * numbers, around))
    return scales[::-1]


def _down(vae: Autoencoder, length: int) -> list[_Scale]:
    """The encoder's scales, from the pixels' end."""
    frames, scales, around = _frames(vae, length), [], 0
    for i in reversed(range(len(vae.encoder))):
        width, given = vae.encoder[i], vae.encoder[max(0, i - 1)]
        halved = i < len(vae.halve_time)
        around = (2 * (around + 1) if halved else 0) + 2 * vae.blocks
        numbers = REMEMBERED * (given + (2 * vae.blocks - 1) * width)
        numbers += REMEMBERED * 3 * vae.patch**2 if i == 0 else 0
        numbers += math.ceil(width / 4) if halved and vae.halve_time[i] else 0  # one frame at half the side
        held = given + width if vae.residual else width
        zoom = 2 ** (len(vae.halve_time) - i)
        scales.append(_Scale(zoom, frames[i], given, width, held, numbers, around))
    return scales[::-1]


def _dearest(scale: _Scale, number: int) -> int:
    """The most bytes at each place of each frame while a residual block runs: at a norm, which makes two float32
    copies where numbers are smaller or not, or at a convolution, which reads its input joined to what is remembered."""
    line = (scale.frames + REMEMBERED) / scale.frames
    a, b = scale.given, scale.width
    first = max(8 * a, number * (a + line * a + b), number * b + 8 * b, number * (3 + line) * b) + number * a
    later = max(number * b + 8 * b, number * (3 + line) * b) + number * scale.held
    return math.ceil(max(first, later))


def _places(scale: _Scale, h: int, w: int, tile: int | None, *, all_tiles: bool = False) -> int:
    """Of a frame at that scale, whole or, with what is read around, of the largest tile or of all tiles together."""
    join = sum if all_tiles else max
    rows, columns = (
        join(
            min(size * scale.zoom, stop * scale.zoom + scale.around) - max(0, start * scale.zoom - scale.around)
            for start, stop in _spans(size, tile)
        )
        for size in (h, w)
    )
    return rows * columns


def _spans(size: int, tile: int | None) -> list[tuple[int, int]]:
    """As ``wan.vae.spans``: about equal pieces of at most ``tile``."""
    count = 1 if tile is None else math.ceil(size / tile)
    return [(i * size // count, (i + 1) * size // count) for i in range(count)]
