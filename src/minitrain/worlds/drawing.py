"""Draws a setting on three layers, far, middle and near, tinted for the hour of the day.

Everything is drawn at twice the size and reduced. For a camera that does not move the three layers are one picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
FAR, MIDDLE, NEAR = range(3)
SUPERSAMPLING = 2  # drawn pixels for one of the picture's, along each side
TINTS = {"day": (1.0, 1.0, 1.0), "dusk": (0.86, 0.66, 0.68), "night": (0.34, 0.4, 0.6)}
DUSK_SKY: tuple[Colour, Colour] = ((112, 78, 150), (255, 176, 120))
NIGHT_SKY: tuple[Colour, Colour] = ((12, 14, 48), (48, 52, 112))


def vary_colour(rng: Random, colour: Colour, spread: int = 12) -> Colour:
    """A random colour at most ``spread`` away in each channel."""
    r, g, b = (min(255, max(0, v + rng.randint(-spread, spread))) for v in colour)
    return r, g, b


class Drawing:
    """height, width: of the picture, in drawn pixels. unit: drawn pixels of the canvas' short side; sizes of things are
    shares of it. layered: whether far, middle and near are separate pictures."""

    def __init__(self, height: int, width: int, short: int, hour: str, *, layered: bool) -> None:
        self.height, self.width, self.unit, self.hour = (
            height * SUPERSAMPLING,
            width * SUPERSAMPLING,
            short * SUPERSAMPLING,
            hour,
        )
        size = (self.width, self.height)
        far = Image.new("RGBA", size, (0, 0, 0, 255))
        self.pictures = [far, *(Image.new("RGBA", size, (0, 0, 0, 0)) if layered else far for _ in range(2))]
        self.pens = [ImageDraw.Draw(picture) for picture in self.pictures]

    def layers(self) -> list[Image.Image]:
        """The finished pictures, far to near, premultiplied RGBA: one if the drawing is not layered."""
        kept = self.pictures if self.pictures[1] is not self.pictures[0] else self.pictures[:1]
        return [picture.reduce(SUPERSAMPLING) for picture in kept]

    def tint(self, colour: Colour) -> Colour:
        """The colour at this hour."""
        r, g, b = (round(v * share) for v, share in zip(colour, TINTS[self.hour], strict=True))
        return r, g, b

    def gradient(self, layer: int, box: tuple[float, float, float, float], top: Colour, bottom: Colour) -> None:
        """box: left, top, right, bottom, in drawn pixels; colours as they are, untinted."""
        left, upper, right, lower = (round(v) for v in box)
        if lower <= upper or right <= left:
            return
        ramp = np.linspace(top, bottom, lower - upper)[:, None].round().astype(np.uint8)
        strip = Image.fromarray(np.ascontiguousarray(ramp)).resize(
            (right - left, lower - upper), Image.Resampling.NEAREST
        )
        self.pictures[layer].paste(strip, (left, upper))

    def sky(self, top: Colour, bottom: Colour, rng: Random, *, until: float = 1.0) -> None:
        """The sky down to a share of the height: as given by day, glowing at dusk, with stars and a moon at night."""
        whole = (0, 0, self.width, self.height * until)
        if self.hour == "day":
            self.gradient(FAR, whole, top, bottom)
            return
        upper, lower = DUSK_SKY if self.hour == "dusk" else NIGHT_SKY
        self.gradient(FAR, whole, vary_colour(rng, upper), vary_colour(rng, lower))
        if self.hour == "night":
            self.stars(rng, 14, until * 0.8)
            self.moon(rng)

    def stars(self, rng: Random, count: int, until: float) -> None:
        for _ in range(int(count * self.width * self.height / self.unit**2)):
            x, y, r = rng.uniform(0, self.width), rng.uniform(0, self.height * until), rng.uniform(0.007, 0.012)
            self.disc(FAR, x, y, r * self.unit, r * self.unit, (255, 255, 220), glows=True)

    def moon(self, rng: Random, layer: int = FAR) -> None:
        x, y, r = rng.uniform(0.12, 0.88) * self.width, rng.uniform(0.12, 0.28) * self.height, 0.085 * self.unit
        self.disc(layer, x, y, r, r, (250, 245, 205), glows=True)

    def land(self, layer: int, horizon: float, top: Colour, bottom: Colour) -> None:
        """The ground below the horizon, in drawn pixels from above."""
        self.gradient(layer, (0, horizon, self.width, self.height), self.tint(top), self.tint(bottom))

    def disc(
        self, layer: int, x: float, y: float, rx: float, ry: float, colour: Colour, *, glows: bool = False
    ) -> None:
        self.pens[layer].ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour if glows else self.tint(colour))

    def ring(self, layer: int, x: float, y: float, r: float, colour: Colour, width: int) -> None:
        self.pens[layer].ellipse((x - r, y - r, x + r, y + r), outline=self.tint(colour), width=width)

    def box(
        self, layer: int, x: float, y: float, right: float, low: float, colour: Colour, *, glows: bool = False
    ) -> None:
        if right >= x and low >= y:
            self.pens[layer].rectangle((x, y, right, low), fill=colour if glows else self.tint(colour))

    def shape(self, layer: int, points: Points, colour: Colour, *, glows: bool = False) -> None:
        self.pens[layer].polygon(list(points), fill=colour if glows else self.tint(colour))

    def line(self, layer: int, points: Points, colour: Colour, width: float) -> None:
        self.pens[layer].line(list(points), fill=self.tint(colour), width=max(2, round(width)), joint="curve")

    def cloud(self, layer: int, x: float, y: float, s: float) -> None:
        for dx, dy, r in ((-1.0, 0.0, 0.6), (0.0, -0.25, 0.85), (1.0, 0.0, 0.6)):
            self.disc(layer, x + dx * s, y + dy * s, r * s, r * s * 0.75, (250, 251, 255))

    def fir(self, layer: int, x: float, foot: float, s: float, colour: Colour) -> None:
        for low, high, half in ((0.0, 0.5, 0.34), (0.3, 0.75, 0.27), (0.55, 1.0, 0.2)):
            self.shape(
                layer, [(x, foot - s * high), (x - s * half, foot - s * low), (x + s * half, foot - s * low)], colour
            )

    def tree(self, layer: int, x: float, foot: float, s: float, crown: Colour) -> None:
        self.box(layer, x - s * 0.07, foot - s * 0.5, x + s * 0.07, foot, (120, 82, 52))
        for dx, dy, r in ((-0.22, 0.6, 0.24), (0.22, 0.6, 0.24), (0.0, 0.78, 0.28)):
            self.disc(layer, x + dx * s, foot - dy * s, r * s, r * s, crown)

    def weed(self, layer: int, x: float, foot: float, tall: float, phase: float, colour: Colour, width: float) -> None:
        """A stem that waves as under water."""
        stem = [(x + 0.03 * self.unit * math.sin(phase + j * 0.9), foot + 4 - tall * j / 8) for j in range(9)]
        self.line(layer, stem, colour, width)

    def windows(self, layer: int, x: float, top: float, wide: float, tall: float, pane: float, lit: Random) -> None:
        """Two columns of panes, all bright by day, some of them lit at night."""
        row = top + pane * 0.7
        while row < top + tall - pane * 1.4:
            for left in (x + wide * 0.18, x + wide * 0.58):
                on = self.hour == "day" or lit.random() < 0.7
                colour = (250, 235, 160) if on else (70, 74, 100)
                self.box(layer, left, row, left + pane, row + pane * 1.1, colour, glows=True)
            row += pane * 1.9
