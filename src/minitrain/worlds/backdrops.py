"""Backdrops as tensors on a device: drawn once by Pillow, cached, and sampled by a moving camera.

Drawing costs more than everything else, so each setting at each hour has VARIATIONS pictures; a shot's seed chooses
one, mirrors it or not, and shifts its colours a little. A shot looks the same wherever and whenever it is rendered.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain.scene import Shot
from minitrain.worlds.camera import View
from minitrain.worlds.settings import backdrop

VARIATIONS = 32  # of each setting at each hour; mirrored and in slightly other colours they are more
MOVING_CAMERA_SCALE = 1.5  # how much larger than the canvas a moving camera's pictures are
MAX_COLOUR_SHIFT = 4  # of the colours, at most, out of 255
CACHE_SIZE = 2048  # pictures or triples of them, the most recently used


@lru_cache(maxsize=CACHE_SIZE)
def layers(
    setting: str, hour: str, variation: int, height: int, width: int, short: int, layered: bool, device: str
) -> Tensor:
    """(layers, 4, height, width) uint8, premultiplied RGBA, far to near."""
    pictures = backdrop(setting, hour, variation, height, width, short, layered=layered)
    stacked = torch.from_numpy(np.stack([np.asarray(p) for p in pictures]))
    return stacked.permute(0, 3, 1, 2).contiguous().to(device)


def backdrop_variant(shot: Shot) -> tuple[int, bool, tuple[int, int, int]]:
    """Which variation a shot shows, whether it is mirrored, and the shift of its colours."""
    rng = Random(shot.seed ^ 0x5EED)
    shift = (
        rng.randint(-MAX_COLOUR_SHIFT, MAX_COLOUR_SHIFT),
        rng.randint(-MAX_COLOUR_SHIFT, MAX_COLOUR_SHIFT),
        rng.randint(-MAX_COLOUR_SHIFT, MAX_COLOUR_SHIFT),
    )
    return rng.randrange(VARIATIONS), rng.random() < 0.5, shift


def static_backdrop(shot: Shot, height: int, width: int, device: str) -> Tensor:
    """(3, height, width) uint8: the view of a camera that does not move."""
    variation, mirror, shift = backdrop_variant(shot)
    short = min(height, width)
    picture = layers(shot.setting, shot.hour, variation, height, width, short, False, device)[0, :3]
    picture = picture.flip(-1) if mirror else picture
    return _shift_colours(picture.float(), shift)


def film_backdrop(
    shot: Shot, views: list[list[View]], height: int, width: int, device: str, *, layered: bool
) -> Tensor:
    """(F, 3, height, width) uint8: the view of a moving camera. views: for each layer, one view a frame; beyond its
    edge a picture is continued by its mirror image."""
    variation, mirror, shift = backdrop_variant(shot)
    short = min(height, width)
    tall = round(height * MOVING_CAMERA_SCALE) if layered else height
    stack = layers(shot.setting, shot.hour, variation, tall, round(width * MOVING_CAMERA_SCALE), short, layered, device)
    stack = (stack.flip(-1) if mirror else stack).float()
    composite = None
    for layer, layer_views in zip(stack, views, strict=True):
        sampled = _sample_layer(layer, layer_views, height, width)
        composite = sampled[:, :3] if composite is None else sampled[:, :3] + composite * (1 - sampled[:, 3:] / 255)
    assert composite is not None
    return _shift_colours(composite, shift)


def _sample_layer(layer_CYX: Tensor, views: list[View], height: int, width: int) -> Tensor:
    """(F, C, height, width): a layer through the views."""
    device, (tall, wide) = layer_CYX.device, layer_CYX.shape[-2:]
    unit = min(height, width) / 128
    x, y, zoom = torch.tensor([(v.x * unit, v.y * unit, v.zoom) for v in views], device=device).T[..., None]
    columns = (torch.arange(width, device=device) + 0.5 - width / 2) / zoom + x + wide / 2
    rows = (torch.arange(height, device=device) + 0.5 - height / 2) / zoom + y + tall / 2
    frames = len(views)
    grid_x = (columns * (2 / wide) - 1)[:, None, :].expand(frames, height, width)
    grid_y = (rows * (2 / tall) - 1)[:, :, None].expand(frames, height, width)
    grid = torch.stack([grid_x, grid_y], dim=-1).reshape(1, frames * height, width, 2)
    found = F.grid_sample(layer_CYX[None], grid, padding_mode="reflection", align_corners=False)
    return found[0].unflatten(1, (frames, height)).transpose(0, 1)


def _shift_colours(picture: Tensor, shift: tuple[int, int, int]) -> Tensor:
    moved = picture + torch.tensor(shift, device=picture.device, dtype=picture.dtype)[:, None, None]
    return moved.round_().clamp_(0, 255).to(torch.uint8)
