"""Outdoor settings of the larger worlds: beach, forest, space."""

from __future__ import annotations

from random import Random

from minitrain.worlds.drawing import FAR, MIDDLE, NEAR, Drawing, vary_colour
from minitrain.worlds.settings_first import wave


def beach(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (95, 190, 245)), vary_colour(rng, (205, 238, 250)), rng)
    sea, sand = h * rng.uniform(0.42, 0.5), h * rng.uniform(0.62, 0.7)
    if s.hour == "day":
        s.disc(FAR, rng.uniform(0.1, 0.9) * w, rng.uniform(0.1, 0.2) * h, u * 0.07, u * 0.07, (255, 236, 120))
    s.land(MIDDLE, sea, vary_colour(rng, (40, 165, 205)), vary_colour(rng, (90, 215, 220)))
    edge = wave(w, sand, 0.018 * h, 0.12 * u, rng.uniform(0, 6))
    s.shape(NEAR, [*((x, y - 0.02 * h) for x, y in edge), (w, h), (0, h)], (240, 250, 252))
    s.shape(NEAR, [*edge, (w, h), (0, h)], vary_colour(rng, (244, 220, 160)))
    for _ in range(rng.randint(1, 2)):
        x, foot, tall = rng.uniform(0, w), sand + rng.uniform(0.04, 0.1) * h, rng.uniform(0.32, 0.45) * u
        _palm(s, x, foot, tall, rng.choice((-1, 1)))
    x, y = rng.uniform(0, w), rng.uniform(0.86, 0.94) * h
    s.disc(NEAR, x, y, 0.03 * u, 0.02 * u, (240, 140, 120))


def _palm(stage: Drawing, x: float, foot: float, s: float, lean: int) -> None:
    top = (x + lean * 0.18 * s, foot - s)
    stage.line(NEAR, [(x, foot), (x + lean * 0.05 * s, foot - 0.5 * s), top], (150, 105, 65), 0.07 * s)
    for dx, dy in ((-0.42, 0.12), (-0.3, -0.14), (0.05, -0.26), (0.34, -0.1), (0.42, 0.16)):
        bend = (top[0] + dx * s * 0.55, top[1] + dy * s * 0.3 - 0.1 * s)
        stage.line(NEAR, [top, bend, (top[0] + dx * s, top[1] + dy * s)], (52, 150, 72), 0.085 * s)


def forest(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (170, 220, 215)), vary_colour(rng, (215, 240, 205)), rng)
    ground = h * rng.uniform(0.72, 0.8)
    x = -0.05 * u
    while x < w + 0.1 * u:
        s.tree(FAR, x, ground + 0.02 * h, rng.uniform(0.5, 0.68) * u, vary_colour(rng, (120, 180, 130)))
        x += rng.uniform(0.2, 0.3) * u
    s.land(MIDDLE, ground, vary_colour(rng, (84, 138, 70)), vary_colour(rng, (50, 98, 52)))
    x = rng.uniform(-0.2, 0.1) * u
    while x < w + 0.1 * u:
        s.tree(MIDDLE, x, ground + 0.05 * h, rng.uniform(0.6, 0.85) * u, vary_colour(rng, (52, 128, 66)))
        x += rng.uniform(0.4, 0.6) * u
    for _ in range(round(5 * w / u)):
        x, y = rng.uniform(0, w), rng.uniform(0.9, 1.02) * h
        s.disc(NEAR, x, y, rng.uniform(0.06, 0.1) * u, 0.06 * u, vary_colour(rng, (60, 120, 56)))


def space(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.gradient(FAR, (0, 0, w, h), vary_colour(rng, (14, 8, 34), 5), vary_colour(rng, (44, 18, 74), 8))
    s.stars(rng, 34, 1.0)
    x, y, r = rng.uniform(0.1, 0.9) * w, rng.uniform(0.15, 0.85) * h, rng.uniform(0.12, 0.18) * u
    colour = vary_colour(rng, rng.choice([(226, 140, 84), (96, 160, 214), (170, 110, 200)]))
    dark = (int(colour[0] * 0.75), int(colour[1] * 0.75), int(colour[2] * 0.75))
    s.disc(MIDDLE, x, y, r, r, colour, glows=True)
    s.pens[MIDDLE].chord((x - r, y - r, x + r, y + r), 10, 130, fill=dark)
    if rng.random() < 0.6:
        s.pens[MIDDLE].arc(
            (x - 1.7 * r, y - 0.45 * r, x + 1.7 * r, y + 0.45 * r), -15, 195, (235, 215, 170), round(0.02 * u)
        )
    x, y, r = rng.uniform(0, w), rng.uniform(0.1, 0.9) * h, rng.uniform(0.04, 0.06) * u
    s.disc(NEAR, x, y, r, r, vary_colour(rng, (190, 190, 200)), glows=True)
    s.disc(NEAR, x - 0.3 * r, y - 0.2 * r, 0.3 * r, 0.3 * r, (150, 150, 165), glows=True)
