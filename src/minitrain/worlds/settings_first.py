"""The settings of the first worlds: meadow, snow, sea, desert, night, city, sunset, beach, forest, space."""

from __future__ import annotations

import math
from random import Random

from minitrain.worlds.drawing import FAR, MIDDLE, NEAR, Colour, Drawing, vary_colour


def meadow(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (105, 185, 250)), vary_colour(rng, (200, 230, 255)), rng)
    horizon = h * rng.uniform(0.55, 0.7)
    for _ in range(rng.randint(1, 2)):
        s.cloud(FAR, rng.uniform(0, w), rng.uniform(0.08, 0.3) * h, u * rng.uniform(0.06, 0.09))
    s.disc(MIDDLE, rng.uniform(0, w), horizon + u * 0.22, w * 0.6, u * 0.32, vary_colour(rng, (95, 180, 80)))
    s.land(NEAR, horizon, vary_colour(rng, (110, 200, 80)), vary_colour(rng, (60, 150, 50)))
    for _ in range(round(6 * w / u)):
        x, y = rng.uniform(0, w), rng.uniform(horizon + 0.06 * h, 0.96 * h)
        s.disc(NEAR, x, y, u * 0.014, u * 0.014, rng.choice([(250, 240, 120), (255, 255, 255), (245, 150, 190)]))


def snow(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (165, 197, 230)), vary_colour(rng, (222, 233, 245)), rng)
    horizon = h * rng.uniform(0.58, 0.7)
    s.land(MIDDLE, horizon, vary_colour(rng, (246, 249, 255), 5), vary_colour(rng, (215, 228, 245), 8))
    for _ in range(rng.randint(2, 3)):
        x, foot = rng.uniform(0, w), horizon + rng.uniform(0, 0.06) * h
        s.fir(NEAR, x, foot, rng.uniform(0.2, 0.32) * u, vary_colour(rng, (55, 110, 88)))
    if s.pictures[NEAR] is not s.pictures[MIDDLE]:  # a bank of snow under the trees' feet, the same white
        s.land(NEAR, horizon + 0.1 * h, (240, 245, 253), (214, 227, 244))


def sea(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    top, bottom = vary_colour(rng, (60, 170, 225)), vary_colour(rng, (12, 65, 145))
    s.gradient(FAR, (0, 0, w, h), s.tint(top), s.tint(bottom))
    floor = h * rng.uniform(0.82, 0.9)
    for _ in range(rng.randint(2, 3)):
        x, tall, phase = rng.uniform(0, w), rng.uniform(0.18, 0.34) * u, rng.uniform(0, 6)
        s.weed(MIDDLE, x, floor, tall, phase, rng.choice([(40, 140, 80), (222, 92, 112), (60, 162, 62)]), u * 0.045)
    s.land(NEAR, floor, vary_colour(rng, (208, 188, 132)), vary_colour(rng, (172, 148, 98)))
    for _ in range(rng.randint(2, 4)):
        x, y, r = rng.uniform(0, w), rng.uniform(0, floor), rng.uniform(0.018, 0.035) * u
        s.ring(MIDDLE, x, y, r, (185, 228, 250), max(2, round(u * 0.012)))


def desert(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (120, 190, 235)), vary_colour(rng, (250, 225, 170)), rng)
    horizon = h * rng.uniform(0.58, 0.7)
    x, y = rng.uniform(0.1, 0.9) * w, rng.uniform(0.12, 0.25) * h
    if s.hour != "night":
        s.disc(FAR, x, y, u * 0.075, u * 0.075, (255, 240, 150), glows=True)
    s.disc(MIDDLE, rng.uniform(0, w), horizon + u * 0.16, w * 0.5, u * 0.2, vary_colour(rng, (228, 182, 105)))
    s.land(NEAR, horizon, vary_colour(rng, (236, 196, 120)), vary_colour(rng, (210, 160, 85)))
    s.disc(NEAR, rng.uniform(0, w), horizon + u * 0.2, w * 0.5, u * 0.2, vary_colour(rng, (228, 182, 105)))
    for _ in range(rng.randint(1, 2)):
        x, foot = rng.uniform(0, w), horizon + rng.uniform(0.02, 0.08) * h
        _cactus(s, x, foot, rng.uniform(0.18, 0.28) * u, vary_colour(rng, (50, 135, 70)))


def _cactus(stage: Drawing, x: float, foot: float, s: float, colour: Colour) -> None:
    stage.line(NEAR, [(x, foot), (x, foot - s)], colour, s * 0.24)
    arm = [(x, foot - s * 0.35), (x - s * 0.36, foot - s * 0.45), (x - s * 0.36, foot - s * 0.8)]
    stage.line(NEAR, arm, colour, s * 0.18)


def night(s: Drawing, rng: Random) -> None:
    w, h = s.width, s.height
    s.gradient(FAR, (0, 0, w, h), vary_colour(rng, (10, 12, 44), 6), vary_colour(rng, (42, 42, 98), 10))
    s.stars(rng, 14, 0.75)
    s.moon(rng, MIDDLE)
    ground = h * rng.uniform(0.82, 0.9)
    s.gradient(NEAR, (0, ground, w, h), vary_colour(rng, (20, 32, 34), 6), vary_colour(rng, (12, 20, 22), 6))


def city(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (150, 185, 215)), vary_colour(rng, (225, 230, 235)), rng)
    horizon = h * rng.uniform(0.62, 0.72)
    x = -rng.uniform(0, 0.1) * u
    while x < w:
        wide, tall = rng.uniform(0.2, 0.32) * u, rng.uniform(0.4, 0.85) * horizon
        colour = vary_colour(rng, rng.choice([(152, 110, 95), (120, 125, 142), (176, 160, 140)]))
        s.box(MIDDLE, x, horizon - tall, x + wide, horizon, colour)
        s.windows(MIDDLE, x, horizon - tall, wide, tall, wide * 0.24, Random(x))
        x += wide + 0.016 * u
    asphalt = vary_colour(rng, (86, 86, 93), 8)
    s.land(NEAR, horizon, asphalt, asphalt)
    s.box(NEAR, 0, horizon, w, horizon + 0.035 * h, (182, 182, 180))
    line, dash = horizon + (h - horizon) * 0.6, -rng.uniform(0, 0.3) * u
    while dash < w:
        s.box(NEAR, dash, line, dash + 0.16 * u, line + 0.025 * u, (240, 235, 210))
        dash += 0.3 * u


def sunset(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.gradient(FAR, (0, 0, w, h), vary_colour(rng, (92, 52, 122)), vary_colour(rng, (255, 152, 72)))
    horizon = h * rng.uniform(0.58, 0.7)
    s.disc(FAR, rng.uniform(0.2, 0.8) * w, horizon - 0.03 * h, u * 0.15, u * 0.15, (255, 216, 112), glows=True)
    s.gradient(MIDDLE, (0, horizon, w, h), vary_colour(rng, (152, 72, 82)), vary_colour(rng, (62, 32, 72)))
    for _ in range(round(5 * w / u)):
        x, y = rng.uniform(0, w), rng.uniform(horizon + 0.04 * h, 0.97 * h)
        s.box(NEAR, x, y, x + rng.uniform(0.08, 0.2) * u, y + 0.014 * u, (255, 182, 112), glows=True)


def wave(width: float, base: float, rise: float, length: float, phase: float) -> list[tuple[float, float]]:
    """Points of a wavy line from left to right, for the outline of hills and waves."""
    count = 24
    return [(width * i / count, base - rise * math.sin(phase + width * i / count / length)) for i in range(count + 1)]


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
