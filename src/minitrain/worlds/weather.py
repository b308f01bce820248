"""Weather: small pictures that fall, rise and sway over everything.

The picture is divided into vertical strips, and each particle stays in its strip, so that no two particles of one pass
overlap and those of a whole clip are pasted at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from minitrain.worlds import paste

STRIP_WIDTH = 16  # 128ths of the short side
DRAWN_SIDE = 256  # pixels of a particle's picture as it is drawn


@dataclass(frozen=True)
class WeatherParams:
    """particles_per_strip: in each strip. side_range: of a particle, in 128ths of the short side. speed_range: 128ths a
    frame, negative for what rises. sway: 128ths to each side. max_rotation: radians a frame. pictures: how many there
    are to choose from."""

    particles_per_strip: int
    side_range: tuple[float, float]
    speed_range: tuple[float, float]
    sway: float = 2.5
    max_rotation: float = 0.0
    pictures: int = 1


WEATHER_PARAMS: dict[str, WeatherParams] = {
    "snow": WeatherParams(particles_per_strip=3, side_range=(3.6, 3.8), speed_range=(3.2, 6.4)),
    "rain": WeatherParams(particles_per_strip=5, side_range=(13.0, 15.0), speed_range=(13.0, 17.0), sway=0.0),
    "leaves": WeatherParams(
        particles_per_strip=2, side_range=(8.0, 11.0), speed_range=(2.2, 4.2), sway=2.0, max_rotation=0.25, pictures=3
    ),
    "bubbles": WeatherParams(particles_per_strip=2, side_range=(5.0, 9.0), speed_range=(-4.5, -2.5), sway=2.0),
    "confetti": WeatherParams(
        particles_per_strip=4, side_range=(4.5, 6.0), speed_range=(3.5, 6.0), sway=3.0, max_rotation=0.5, pictures=6
    ),
}
LEAVES = ((226, 110, 40), (240, 180, 50), (180, 70, 40))
CONFETTI = ((235, 60, 70), (60, 120, 235), (250, 205, 50), (70, 190, 95), (170, 80, 210), (250, 140, 190))


@lru_cache(maxsize=256)
def picture(weather: str, which: int, pixels: int, device: str) -> Tensor:
    """(4, pixels, pixels) uint8, premultiplied RGBA, with a transparent rim."""
    side = DRAWN_SIDE
    sheet = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(sheet)
    if weather == "snow":
        pen.ellipse((10, 10, side - 10, side - 10), fill=(255, 255, 255))
    elif weather == "rain":
        pen.line(((0.56 * side, 0.06 * side), (0.44 * side, 0.94 * side)), fill=(196, 220, 245), width=18)
    elif weather == "leaves":
        pen.chord((0.1 * side, -0.42 * side, 1.38 * side, 0.86 * side), 90, 180, fill=LEAVES[which])
        pen.chord((-0.42 * side, 0.1 * side, 0.86 * side, 1.38 * side), 270, 360, fill=LEAVES[which])
    elif weather == "bubbles":
        pen.ellipse((10, 10, side - 10, side - 10), outline=(222, 243, 255), width=16)
        pen.ellipse((70, 64, 106, 100), fill=(255, 255, 255))
    else:
        pen.rectangle((70, 20, side - 70, side - 20), fill=CONFETTI[which])
    small = np.asarray(sheet.convert("RGBa").resize((pixels, pixels), Image.Resampling.BILINEAR))
    return torch.from_numpy(small.copy()).permute(2, 0, 1).contiguous().to(device)


def add_weather(frames_FCYX: Tensor, weather: str, times: Sequence[int], seed: int) -> None:
    """Draw the weather over the frames of one shot, in place. times: their numbers in the shot."""
    weather_kind, rng, device = WEATHER_PARAMS[weather], Random(seed ^ 0x7EA7), str(frames_FCYX.device)
    frames, height, width = frames_FCYX.shape[0], *frames_FCYX.shape[-2:]
    unit = min(height, width) / 128
    strips = max(1, round(width / unit / STRIP_WIDTH))
    wide = width // strips
    reach = math.ceil(weather_kind.side_range[1] * unit * (math.sqrt(2) if weather_kind.max_rotation else 1)) + 2
    pixels = max(4, math.ceil(weather_kind.side_range[1] * unit))
    t = torch.tensor(times, device=device, dtype=torch.float32)
    for _ in range(weather_kind.particles_per_strip):
        which = rng.randrange(weather_kind.pictures)
        drawn = [[rng.random() for _ in range(6)] for _ in range(strips)]
        start, speed, x, phase, size, turn = torch.tensor(drawn, device=device).T[..., None]
        side = (weather_kind.side_range[0] + (weather_kind.side_range[1] - weather_kind.side_range[0]) * size) * unit
        distance = (
            (weather_kind.speed_range[0] + (weather_kind.speed_range[1] - weather_kind.speed_range[0]) * speed)
            * unit
            * t
        )
        y = (start * (height + reach) + distance) % (height + reach) - reach / 2
        slack = (wide - side).clamp(min=0) / 2
        shift = ((2 * x - 1) * (slack - weather_kind.sway * unit).clamp(min=0)) + weather_kind.sway * unit * torch.sin(
            0.4 * t + 9 * phase
        )
        left = torch.arange(strips, device=device)[:, None] * wide
        angle = (2 * turn - 1) * weather_kind.max_rotation * t + (6.3 * phase if weather_kind.max_rotation else 0)
        pose = torch.stack([left + wide / 2 + shift, y, side.expand_as(y), angle.expand_as(y)], dim=-1)
        box = (min(reach, height), wide)
        corner = paste.box_corners(pose, box, (height, width))
        corner[..., 1] = left
        atlas = picture(weather, which, pixels, device)
        stamps = paste.SpriteBatch(
            atlas_NCAW=atlas.expand(strips, *atlas.shape),
            clip_N=torch.zeros(strips, dtype=torch.long, device=device),
            pose_NFP=pose,
            source_NFP=torch.tensor([0, 0, pixels], device=device).expand(strips, frames, 3),
            flip_N=torch.ones(strips, device=device),
            role_N=torch.zeros(strips, dtype=torch.long, device=device),
        )
        sampled = paste.sample_sprites(stamps, corner, box)
        paste.composite_over(frames_FCYX[None], sampled[:, :, :3], sampled[:, :, 3:], stamps.clip_N, corner)
