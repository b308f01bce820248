"""The world's settings: flat gradients with a few large elements, drawn at twice the size and reduced."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


def backdrop(setting: str, height: int, width: int, rng: Random) -> Image.Image:
    """One RGB picture of a setting, height x width pixels."""
    picture = SETTINGS[setting](2 * height, 2 * width, rng)
    return picture.reduce(2)


def _near(rng: Random, colour: Colour, spread: int = 12) -> Colour:
    r, g, b = (min(255, max(0, v + rng.randint(-spread, spread))) for v in colour)
    return r, g, b


def _gradient(height: int, width: int, top: Colour, bottom: Colour) -> Image.Image:
    ramp = np.linspace(top, bottom, height)[:, None].round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(ramp, (height, width, 3)).copy())


def _land(sky: Image.Image, horizon: int, top: Colour, bottom: Colour) -> ImageDraw.ImageDraw:
    """Paint the ground below the horizon and return a pen on the whole."""
    ground = _gradient(sky.height - horizon, sky.width, top, bottom)
    sky.paste(ground, (0, horizon))
    return ImageDraw.Draw(sky)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
    pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)


def _cloud(pen: ImageDraw.ImageDraw, x: float, y: float, s: float) -> None:
    for dx, dy, r in ((-1.0, 0.0, 0.6), (0.0, -0.25, 0.85), (1.0, 0.0, 0.6)):
        _disc(pen, x + dx * s, y + dy * s, r * s, r * s * 0.75, (250, 251, 255))


def _meadow(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (105, 185, 250)), _near(rng, (200, 230, 255)))
    horizon = int(h * rng.uniform(0.55, 0.7))
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.randint(1, 2)):
        _cloud(pen, rng.uniform(0, w), rng.uniform(0.08, 0.3) * h, h * rng.uniform(0.06, 0.09))
    _disc(pen, rng.uniform(0, w), horizon + h * 0.22, w * 0.6, h * 0.32, _near(rng, (95, 180, 80)))
    pen = _land(picture, horizon, _near(rng, (110, 200, 80)), _near(rng, (60, 150, 50)))
    for _ in range(6):
        x, y = rng.uniform(0, w), rng.uniform(horizon + 0.06 * h, 0.96 * h)
        _disc(pen, x, y, h * 0.014, h * 0.014, rng.choice([(250, 240, 120), (255, 255, 255), (245, 150, 190)]))
    return picture


def _snow(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (165, 197, 230)), _near(rng, (222, 233, 245)))
    horizon = int(h * rng.uniform(0.58, 0.7))
    pen = _land(picture, horizon, _near(rng, (246, 249, 255), 5), _near(rng, (215, 228, 245), 8))
    for _ in range(rng.randint(2, 3)):
        _fir(
            pen,
            rng.uniform(0, w),
            horizon + rng.uniform(0, 0.06) * h,
            rng.uniform(0.2, 0.32) * h,
            _near(rng, (55, 110, 88)),
        )
    return picture


def _fir(pen: ImageDraw.ImageDraw, x: float, foot: float, s: float, colour: Colour) -> None:
    for low, high, half in ((0.0, 0.5, 0.34), (0.3, 0.75, 0.27), (0.55, 1.0, 0.2)):
        pen.polygon([(x, foot - s * high), (x - s * half, foot - s * low), (x + s * half, foot - s * low)], fill=colour)


def _sea(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (60, 170, 225)), _near(rng, (12, 65, 145)))
    floor = int(h * rng.uniform(0.82, 0.9))
    pen = _land(picture, floor, _near(rng, (208, 188, 132)), _near(rng, (172, 148, 98)))
    for _ in range(rng.randint(2, 3)):
        x, tall, phase = rng.uniform(0, w), rng.uniform(0.18, 0.34) * h, rng.uniform(0, 6)
        stem = [(x + 0.03 * h * math.sin(phase + j * 0.9), floor + 4 - tall * j / 8) for j in range(9)]
        pen.line(
            stem, fill=rng.choice([(40, 140, 80), (222, 92, 112), (60, 162, 62)]), width=int(h * 0.045), joint="curve"
        )
    for _ in range(rng.randint(2, 4)):
        x, y, r = rng.uniform(0, w), rng.uniform(0, floor), rng.uniform(0.018, 0.035) * h
        pen.ellipse((x - r, y - r, x + r, y + r), outline=(185, 228, 250), width=3)
    return picture


def _desert(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (120, 190, 235)), _near(rng, (250, 225, 170)))
    horizon = int(h * rng.uniform(0.58, 0.7))
    pen = ImageDraw.Draw(picture)
    _disc(pen, rng.uniform(0.1, 0.9) * w, rng.uniform(0.12, 0.25) * h, h * 0.075, h * 0.075, (255, 240, 150))
    pen = _land(picture, horizon, _near(rng, (236, 196, 120)), _near(rng, (210, 160, 85)))
    _disc(pen, rng.uniform(0, w), horizon + h * 0.16, w * 0.5, h * 0.2, _near(rng, (228, 182, 105)))
    for _ in range(rng.randint(1, 2)):
        _cactus(
            pen,
            rng.uniform(0, w),
            horizon + rng.uniform(0.02, 0.08) * h,
            rng.uniform(0.18, 0.28) * h,
            _near(rng, (50, 135, 70)),
        )
    return picture


def _cactus(pen: ImageDraw.ImageDraw, x: float, foot: float, s: float, colour: Colour) -> None:
    thick = max(4, int(s * 0.24))
    pen.line([(x, foot), (x, foot - s)], fill=colour, width=thick)
    arm = [(x, foot - s * 0.35), (x - s * 0.36, foot - s * 0.45), (x - s * 0.36, foot - s * 0.8)]
    pen.line(arm, fill=colour, width=max(4, int(s * 0.18)), joint="curve")


def _night(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (10, 12, 44), 6), _near(rng, (42, 42, 98), 10))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(14 * w / h)):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h * 0.75), h * rng.uniform(0.007, 0.012)
        _disc(pen, x, y, r, r, (255, 255, 220))
    _disc(pen, rng.uniform(0.12, 0.88) * w, rng.uniform(0.12, 0.28) * h, h * 0.085, h * 0.085, (250, 245, 205))
    _land(picture, int(h * rng.uniform(0.82, 0.9)), _near(rng, (20, 32, 34), 6), _near(rng, (12, 20, 22), 6))
    return picture


def _city(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (150, 185, 215)), _near(rng, (225, 230, 235)))
    horizon = int(h * rng.uniform(0.62, 0.72))
    pen = ImageDraw.Draw(picture)
    x = -rng.uniform(0, 0.1) * h
    while x < w:
        wide, tall = rng.uniform(0.2, 0.32) * h, rng.uniform(0.4, 0.85) * horizon
        _house(pen, x, horizon, wide, tall, _near(rng, rng.choice([(152, 110, 95), (120, 125, 142), (176, 160, 140)])))
        x += wide + 4
    asphalt = _near(rng, (86, 86, 93), 8)
    pen = _land(picture, horizon, asphalt, asphalt)
    pen.rectangle((0, horizon, w, horizon + 0.035 * h), fill=(182, 182, 180))
    line = horizon + (h - horizon) * 0.6
    for dash in np.arange(-rng.uniform(0, 0.3) * h, w, 0.3 * h):
        pen.rectangle((dash, line, dash + 0.16 * h, line + 0.025 * h), fill=(240, 235, 210))
    return picture


def _house(pen: ImageDraw.ImageDraw, x: float, foot: float, wide: float, tall: float, colour: Colour) -> None:
    pen.rectangle((x, foot - tall, x + wide, foot), fill=colour)
    pane = wide * 0.24
    for row in np.arange(foot - tall + pane * 0.7, foot - pane * 1.4, pane * 1.9):
        for left in (x + wide * 0.18, x + wide * 0.58):
            pen.rectangle((left, row, left + pane, row + pane * 1.1), fill=(250, 235, 160))


def _sunset(h: int, w: int, rng: Random) -> Image.Image:
    picture = _gradient(h, w, _near(rng, (92, 52, 122)), _near(rng, (255, 152, 72)))
    horizon = int(h * rng.uniform(0.58, 0.7))
    pen = ImageDraw.Draw(picture)
    _disc(pen, rng.uniform(0.2, 0.8) * w, horizon - 0.03 * h, h * 0.15, h * 0.15, (255, 216, 112))
    pen = _land(picture, horizon, _near(rng, (152, 72, 82)), _near(rng, (62, 32, 72)))
    for _ in range(5):
        x, y = rng.uniform(0, w), rng.uniform(horizon + 0.04 * h, 0.97 * h)
        pen.rectangle((x, y, x + rng.uniform(0.08, 0.2) * h, y + 0.014 * h), fill=(255, 182, 112))
    return picture


SETTINGS: dict[str, Callable[[int, int, Random], Image.Image]] = {
    "meadow": _meadow,
    "snow": _snow,
    "sea": _sea,
    "desert": _desert,
    "night": _night,
    "city": _city,
    "sunset": _sunset,
}
