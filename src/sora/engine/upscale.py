"""Large pictures: enlarged by doubling, and after each doubling painted over lightly in tiles of the model's own size.

A model that never saw a picture larger than its own adds edges and texture to one that is already there, if little
noise is mixed in (SDEdit, arXiv 2108.01073). Tiles overlap and are blended, as in MultiDiffusion (arXiv 2302.08113),
here in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sora.engine import engine
from sora.engine.canvas import Canvas
from sora.engine.engine import Settings, resize
from sora.engine.progress import Listener, ProgressEvent
from sora.engine.seeds import derive_seed
from sora.engine.tiles import Tile, blend_tiles, split_into_tiles
from sora.plan.clip import Clip
from sora.plan.plan import Start

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
) -> Tensor:
    """The picture, uint8 (1, 3, y, x) as large as the model painted it, at (height, width) = size with detail of that
    size. strength: share of the noise and of the steps, in (0, 1]; 0.2 to 0.4 keeps the composition."""
    tile = (picture_FCYX.shape[2], picture_FCYX.shape[3])
    stages = list(_stages(tile, size))
    total = sum(len(split_into_tiles(stage, tile, TILE_OVERLAP)) for stage in stages)
    tell, done = on_event or (lambda _: None), 0

    def hear() -> None:
        nonlocal done
        done += 1
        tell(ProgressEvent("refine", done, total))

    for stage in stages:
        picture_FCYX = _rounded(resize(picture_FCYX.float(), stage))
        places = dict(enumerate(split_into_tiles(stage, tile, TILE_OVERLAP), start=done))
        parts = _painted(model, picture_FCYX, places, prompt, settings, strength, hear)
        picture_FCYX = _rounded(blend_tiles(stage, parts))
    return _rounded(resize(picture_FCYX.float(), size))


def _stages(start: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Sizes on the way up, each at most twice the one before and the last the wish itself; none when it is no larger
    than the start. A side that is shorter than a tile is not tiled, so such a wish is cut to the tile's own shape."""
    scale = 2.0
    while max(size[0] / start[0], size[1] / start[1]) > scale:
        yield round(start[0] * scale), round(start[1] * scale)
        scale *= 2
    if size[0] >= start[0] and size[1] >= start[1] and size != start:
        yield size


def _painted(
    model: Model,
    picture_FCYX: Tensor,
    places: dict[int, Tile],
    prompt: str,
    settings: Settings,
    strength: float,
    done: Callable[[], None],
) -> Iterator[tuple[Tile, Tensor]]:
    """Each tile with its pixels painted over. places: by number among the tiles of all stages, which says the noise."""
    for number, tile in places.items():
        box = tile.crop(picture_FCYX)
        canvas = Canvas(box.contiguous(), torch.zeros(1, 1, tile.height, tile.width, dtype=torch.bool), 1.0)
        start = Start(Clip(box.permute(0, 2, 3, 1).contiguous().numpy(), 1.0), strength)
        drawn = replace(settings, seed=derive_seed(settings.seed, tile=number))
        latents = engine.paint_latents(model, canvas, prompt, drawn, source=start)
        pixels = torch.cat(list(model.decode(latents))).float().cpu().clamp(-1, 1)
        done()
        yield tile, (pixels + 1) * 127.5


def _rounded(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
