"""Subjects as pictures, and as atlases: each picture at several sizes, ready to be sampled on a device.

Glyphs come from the Noto Color Emoji font, which must be installed for training (Debian: fonts-noto-color-emoji); no
glyph is stored in the repository.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from minitrain.worlds.subjects import COLOURS, SUBJECTS, UNSEEN

SPRITE_SIDE = 144  # pixels of a sprite's square picture
FONT = "NotoColorEmoji.ttf"
FONT_SIZE = 109  # the only size of the bitmap font
ATLAS_LEVELS = (128, 96, 64, 48, 32, 24)  # sides of an atlas' pictures, in 128ths of the canvas' short side
ATLAS_COLUMNS = ((128,), (96, 24), (64, 48), (32,))  # how they are stacked, so that a row of columns is nearly filled
ATLAS_GAP = 2  # pixels between them, so that none bleeds into the next


@cache
def sprite(key: str) -> Image.Image:
    """The RGBA picture of a subject, SIDE pixels square. Raises OSError where the emoji font is not installed."""
    subject = SUBJECTS.get(key) or UNSEEN[key]
    return _draw_glyph(subject.glyph) if subject.glyph else _draw_shape(subject.shape, COLOURS[subject.colour])


def bitten_sprite(key: str, bites: int) -> Image.Image:
    """The picture of a subject with that many bites missing, from its right side on."""
    picture = sprite(key).copy()
    eaten = Image.new("L", (2 * SPRITE_SIDE, 2 * SPRITE_SIDE), 255)
    pen = ImageDraw.Draw(eaten)
    for i in range(bites):
        x, y = BITES[i % len(BITES)]
        for dx, dy in ((0.0, 0.0), (-0.06, 0.13), (-0.06, -0.13)):
            r = 0.16 if dx == 0 else 0.12
            box = [2 * SPRITE_SIDE * v for v in (x + dx - r, y + dy - r, x + dx + r, y + dy + r)]
            pen.ellipse(box, fill=0)
    alpha = np.asarray(picture.getchannel("A"), np.uint16) * np.asarray(eaten.reduce(2), np.uint16) // 255
    picture.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return picture


BITES = ((0.84, 0.3), (0.84, 0.68), (0.56, 0.18), (0.55, 0.8))  # centres, as shares of the picture


def _draw_glyph(glyph: str) -> Image.Image:
    font = ImageFont.truetype(FONT, FONT_SIZE)
    sheet = Image.new("RGBA", (176, 176), (0, 0, 0, 0))
    ImageDraw.Draw(sheet).text((12, 16), glyph, font=font, embedded_color=True)
    cut = sheet.crop(sheet.getbbox())
    scale = (SPRITE_SIDE - 4) / max(cut.size)
    cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SPRITE_SIDE, SPRITE_SIDE), (0, 0, 0, 0))
    square.paste(cut, ((SPRITE_SIDE - cut.width) // 2, (SPRITE_SIDE - cut.height) // 2))
    return square


def _draw_shape(shape: str, colour: tuple[int, int, int]) -> Image.Image:
    side = SPRITE_SIDE * 2
    dark: tuple[int, ...] = tuple(int(v * 0.6) for v in colour)
    light: tuple[int, ...] = tuple(int(v + (255 - v) * 0.75) for v in colour)
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    if shape == "ball":
        pen.ellipse((8, 8, side - 8, side - 8), fill=colour, outline=dark, width=12)
        pen.chord((20, 20, side - 20, side - 20), 20, 160, fill=light)
        pen.ellipse((76, 52, 132, 108), fill=light)
    elif shape == "square":
        pen.rounded_rectangle((24, 24, side - 24, side - 24), 28, fill=colour, outline=dark, width=14)
        pen.rectangle((60, 60, 120, 120), fill=light)
    else:
        points = [
            (_star_point if shape == "star" else _heart_point)(i, side) for i in range(10 if shape == "star" else 72)
        ]
        pen.polygon(points, fill=colour)
        pen.line([*points, *points[:2]], fill=dark, width=12, joint="curve")
        if shape == "heart":
            pen.ellipse((72, 76, 116, 120), fill=light)
    return picture.resize((SPRITE_SIDE, SPRITE_SIDE), Image.Resampling.LANCZOS)


def _star_point(i: int, side: int) -> tuple[float, float]:
    radius = side * (0.46 if i % 2 == 0 else 0.2)
    return side / 2 + radius * math.sin(i * math.pi / 5), side / 2 - radius * math.cos(i * math.pi / 5)


def _heart_point(i: int, side: int) -> tuple[float, float]:
    a, s = i * math.pi / 36, side * 0.0275
    y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
    return side / 2 + s * 16 * math.sin(a) ** 3, side * 0.47 - s * y


@dataclass(frozen=True)
class Atlas:
    """pixels: (4, A, W) uint8, premultiplied RGBA. boxes: (x, y, side) in pixels for each of ATLAS_LEVELS."""

    pixels: Tensor
    boxes: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=1024)
def atlas(key: str, short: int, bites: int = 0, device: str = "cpu") -> Atlas:
    """A subject's picture at all ATLAS_LEVELS, for canvases whose short side has ``short`` pixels."""
    places, (high, wide) = atlas_layout(short)
    picture = (bitten_sprite(key, bites) if bites else sprite(key)).convert("RGBa")
    sheet = np.zeros((high, wide, 4), np.uint8)
    for x, y, side in places:
        sheet[y : y + side, x : x + side] = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
    return Atlas(torch.from_numpy(sheet).permute(2, 0, 1).contiguous().to(device), places)


@cache
def atlas_layout(short: int) -> tuple[tuple[tuple[int, int, int], ...], tuple[int, int]]:
    """The box of each of ATLAS_LEVELS in an atlas, and the atlas' (height, width)."""
    found, x, high = {}, 0, 0
    for column in ATLAS_COLUMNS:
        sides = [max(2, round(level * short / 128)) for level in column]
        y = 0
        for level, side in zip(column, sides, strict=True):
            found[level] = (x, y, side)
            y += side + ATLAS_GAP
        x, high = x + max(sides) + ATLAS_GAP, max(high, y)
    return tuple(found[level] for level in ATLAS_LEVELS), (high, x)
