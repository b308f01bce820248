"""Upscaling pictures: a picture is doubled, then repainted lightly in tiles of the model's own size, until it is large.

A model that was never trained on larger pictures still adds edges and texture to one, if little noise is added to it
(SDEdit, arXiv 2108.01073). Tiles overlap and are blended, as in MultiDiffusion (arXiv 2302.08113), but in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sora.engine import engine, finite
from sora.engine.canvas import Canvas
from sora.engine.checkpoint import Checkpoints, keep_nothing
from sora.engine.engine import Settings
from sora.engine.progress import Listener, ProgressEvent
from sora.engine.resizing import resize
from sora.engine.seeds import derive_seed
from sora.engine.tiles import Tile, blend_tiles, split_into_tiles
from sora.plan.clip import Clip
from sora.plan.plan import SourceClip

if TYPE_CHECKING:
    from sora.engine.model import Model

TILE_OVERLAP = 0.25  # of a tile's side


def refine(
    model: Model,
    picture_FCYX: Tensor,
    size: tuple[int, int],
    prompt: str,
    settings: Settings,
    strength: float,
    on_event: Listener | None = None,
    checkpoints: Checkpoints = keep_nothing,
) -> Tensor:
    """Upscale a picture, uint8 (1, 3, y, x) of the size that the model paints, to ``size`` = (height, width), and add
    detail of that size. strength: of the noise and of the steps, in (0, 1]; 0.2 to 0.4 keeps the composition.
    checkpoints: of "tile-0000" and so on."""
    tile = (picture_FCYX.shape[2], picture_FCYX.shape[3])
    stages = list(_stage_sizes(tile, size))
    total = tile_count(tile, size)
    report, done = on_event or (lambda _: None), 0

    def on_tile() -> None:
        nonlocal done
        done += 1
        report(ProgressEvent("refine", done, total))

    for stage in stages:
        picture_FCYX = _to_uint8(resize(picture_FCYX.float(), stage))
        numbered_tiles = dict(enumerate(split_into_tiles(stage, tile, TILE_OVERLAP), start=done))
        pixels = _refine_tiles(model, picture_FCYX, numbered_tiles, prompt, settings, strength, on_tile, checkpoints)
        picture_FCYX = _to_uint8(blend_tiles(stage, pixels))
    return _to_uint8(resize(picture_FCYX.float(), size))


def tile_count(tile: tuple[int, int], size: tuple[int, int]) -> int:
    """How many tiles of (height, width) are repainted on the way to a picture of ``size``."""
    return sum(len(split_into_tiles(stage, tile, TILE_OVERLAP)) for stage in _stage_sizes(tile, size))


def _stage_sizes(start: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The (height, width) of each stage: at most twice the one before, and the last is ``size`` itself; no stage where
    it is no larger than ``start``. A side shorter than a tile cannot be tiled, so a size with one has no stage."""
    scale = 2.0
    while max(size[0] / start[0], size[1] / start[1]) > scale:
        yield round(start[0] * scale), round(start[1] * scale)
        scale *= 2
    if size[0] >= start[0] and size[1] >= start[1] and size != start:
        yield size


def _refine_tiles(
    model: Model,
    picture_FCYX: Tensor,
    numbered_tiles: dict[int, Tile],
    prompt: str,
    settings: Settings,
    strength: float,
    on_tile: Callable[[], None],
    checkpoints: Checkpoints,
) -> Iterator[tuple[Tile, Tensor]]:
    """Each tile with its repainted pixels, float (1, 3, height, width) in [0, 255]. numbered_tiles: by their number
    among the tiles of all stages, which chooses the noise."""
    for number, tile in numbered_tiles.items():
        before_FCYX = tile.crop(picture_FCYX)
        canvas = Canvas(before_FCYX.contiguous(), torch.zeros(1, 1, tile.height, tile.width, dtype=torch.bool), 1.0)
        source = SourceClip(Clip(before_FCYX.permute(0, 2, 3, 1).contiguous().numpy(), 1.0), strength)
        tile_settings = replace(settings, seed=derive_seed(settings.seed, tile=number))
        checkpoint = checkpoints(f"tile-{number:04d}")
        latents = engine.paint_latents(model, canvas, prompt, tile_settings, source=source, checkpoint=checkpoint)
        pixels = torch.cat(list(model.decode(latents)))
        finite.check(pixels, f"the decoded pixels of tile {number}")
        pixels = pixels.float().cpu().clamp(-1, 1)
        on_tile()
        yield tile, (pixels + 1) * 127.5


def _to_uint8(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
