"""Weather: small pictures that fall, rise and sway over everything.

The picture is divided into upright strips, and a strip's particle stays in it, so that no two particles pasted together
ever touch and a whole clip's are pasted at once.
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

STRIP = 16  # 128ths of the short side
DRAWN = 256  # pixels of a particle's picture as it is drawn


@dataclass(frozen=True)
class Weather:
    """passes: particles in each strip. side: of a particle, in 128ths of the short side, at least and at most. falls:
    128ths a frame, at least and at most, below 0 for what rises. sway: 128ths to each side. turns: radians a frame, at
    most. pictures: how many there are to choose from."""

    passes: int
    side: tuple[float, float]
    falls: tuple[float, float]
    sway: float = 2.5
    turns: float = 0.0
    pictures: int = 1


WEATHER: dict[str, Weather] = {
    "snow": Weather(passes=3, side=(3.6, 3.8), falls=(3.2, 6.4)),
    "rain": Weather(passes=5, side=(13.0, 15.0), falls=(13.0, 17.0), sway=0.0),
    "leaves": Weather(passes=2, side=(8.0, 11.0), falls=(2.2, 4.2), sway=2.0, turns=0.25, pictures=3),
    "bubbles": Weather(passes=2, side=(5.0, 9.0), falls=(-4.5, -2.5), sway=2.0),
    "confetti": Weather(passes=4, side=(4.5, 6.0), falls=(3.5, 6.0), sway=3.0, turns=0.5, pictures=6),
}
LEAVES = ((226, 110, 40), (240, 180, 50), (180, 70, 40))
CONFETTI = ((235, 60, 70), (60, 120, 235), (250, 205, 50), (70, 190, 95), (170, 80, 210), (250, 140, 190))


@lru_cache(maxsize=256)
def picture(weather: str, which: int, pixels: int, device: str) -> Tensor:
    """(4, pixels, pixels) uint8, premultiplied RGBA, with a transparent rim."""
    side = DRAWN
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


def fall(frames_FCYX: Tensor, weather: str, times: Sequence[int], seed: int) -> None:
    """Let it fall over the frames of one shot, in place. times: their numbers in the shot."""
    kind, rng, device = WEATHER[weather], Random(seed ^ 0x7EA7), str(frames_FCYX.device)
    frames, height, width = frames_FCYX.shape[0], *frames_FCYX.shape[-2:]
    unit = min(height, width) / 128
    strips = max(1, round(width / unit / STRIP))
    wide = width // strips
    reach = math.ceil(kind.side[1] * unit * (math.sqrt(2) if kind.turns else 1)) + 2
    pixels = max(4, math.ceil(kind.side[1] * unit))
    t = torch.tensor(times, device=device, dtype=torch.float32)
    for _ in range(kind.passes):
        which = rng.randrange(kind.pictures)
        drawn = [[rng.random() for _ in range(6)] for _ in range(strips)]
        start, speed, x, phase, size, turn = torch.tensor(drawn, device=device).T[..., None]
        side = (kind.side[0] + (kind.side[1] - kind.side[0]) * size) * unit
        way = (kind.falls[0] + (kind.falls[1] - kind.falls[0]) * speed) * unit * t
        y = (start * (height + reach) + way) % (height + reach) - reach / 2
        slack = (wide - side).clamp(min=0) / 2
        shift = ((2 * x - 1) * (slack - kind.sway * unit).clamp(min=0)) + kind.sway * unit * torch.sin(
            0.4 * t + 9 * phase
        )
        left = torch.arange(strips, device=device)[:, None] * wide
        angle = (2 * turn - 1) * kind.turns * t + (6.3 * phase if kind.turns else 0)
        pose = torch.stack([left + wide / 2 + shift, y, side.expand_as(y), angle.expand_as(y)], dim=-1)
        box = (min(reach, height), wide)
        corner = paste.corners(pose, box, (height, width))
        corner[..., 1] = left
        atlas = picture(weather, which, pixels, device)
        stamps = paste.Stamps(
            atlas_NCAW=atlas.expand(strips, *atlas.shape),
            clip_N=torch.zeros(strips, dtype=torch.long, device=device),
            pose_NFP=pose,
            place_NFP=torch.tensor([0, 0, pixels], device=device).expand(strips, frames, 3),
            flip_N=torch.ones(strips, device=device),
            role_N=torch.zeros(strips, dtype=torch.long, device=device),
        )
        look = paste.sample(stamps, corner, box)
        paste.over(frames_FCYX[None], look[:, :, :3], look[:, :, 3:], stamps.clip_N, corner)
