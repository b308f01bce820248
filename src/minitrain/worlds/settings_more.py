"""Further settings of the larger worlds: mountains, farm, village, jungle, lake, moon, cave, kitchen, playground,
harbour, reef."""

from __future__ import annotations

from random import Random

from minitrain.worlds.drawing import FAR, MIDDLE, NEAR, Colour, Drawing, vary_colour
from minitrain.worlds.settings_first import wave


def _hills(s: Drawing, layer: int, base: float, rise: float, colour: Colour, rng: Random) -> None:
    line = wave(s.width, base, rise * s.unit, rng.uniform(0.16, 0.26) * s.unit, rng.uniform(0, 6))
    s.shape(layer, [*line, (s.width, s.height), (0, s.height)], colour)


def mountains(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (130, 190, 240)), vary_colour(rng, (225, 238, 250)), rng)
    foot, x = h * rng.uniform(0.66, 0.74), -rng.uniform(0.1, 0.3) * u
    rock = vary_colour(rng, (112, 122, 148))
    while x < w + 0.2 * u:
        tall, half = rng.uniform(0.38, 0.6) * u, rng.uniform(0.3, 0.42) * u
        s.shape(FAR, [(x - half, foot), (x, foot - tall), (x + half, foot)], rock)
        cap = [(x - half * 0.36, foot - tall * 0.64), (x, foot - tall), (x + half * 0.36, foot - tall * 0.64)]
        s.shape(
            FAR, [*cap, (x + half * 0.12, foot - tall * 0.72), (x - half * 0.1, foot - tall * 0.6)], (246, 249, 255)
        )
        x += rng.uniform(0.34, 0.5) * u
    _hills(s, MIDDLE, foot + 0.01 * h, 0.03, vary_colour(rng, (88, 140, 96)), rng)
    s.land(NEAR, foot + 0.1 * h, vary_colour(rng, (120, 172, 92)), vary_colour(rng, (76, 128, 66)))
    for _ in range(round(4 * w / u)):
        x, y, r = rng.uniform(0, w), rng.uniform(foot + 0.14 * h, 0.97 * h), rng.uniform(0.02, 0.04) * u
        s.disc(NEAR, x, y, r, 0.6 * r, (150, 150, 156))


def farm(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (120, 195, 245)), vary_colour(rng, (235, 240, 225)), rng)
    ground = h * rng.uniform(0.6, 0.68)
    s.cloud(FAR, rng.uniform(0, w), rng.uniform(0.1, 0.25) * h, u * 0.07)
    _hills(s, FAR, ground, 0.04, vary_colour(rng, (150, 195, 110)), rng)
    x, wide, tall = rng.uniform(0.08, 0.62) * w, 0.34 * u, 0.22 * u
    _barn(s, x, ground + 0.03 * h, wide, tall)
    s.land(NEAR, ground + 0.03 * h, vary_colour(rng, (226, 196, 96)), vary_colour(rng, (190, 148, 62)))
    for i in range(5):
        y = ground + 0.03 * h + (h - ground) * (0.12 + 0.2 * i)
        s.box(NEAR, 0, y, w, y + 0.014 * u, (172, 130, 60))
    rail = ground + 0.05 * h
    s.box(NEAR, 0, rail - 0.05 * u, w, rail - 0.035 * u, (245, 240, 230))
    x = rng.uniform(0, 0.12) * u
    while x < w:
        s.box(NEAR, x, rail - 0.08 * u, x + 0.02 * u, rail + 0.02 * u, (245, 240, 230))
        x += 0.14 * u


def _barn(s: Drawing, x: float, foot: float, wide: float, tall: float) -> None:
    s.box(MIDDLE, x, foot - tall, x + wide, foot, (190, 56, 48))
    roof = [(x - 0.08 * wide, foot - tall), (x + 0.2 * wide, foot - 1.5 * tall), (x + 0.5 * wide, foot - 1.75 * tall)]
    s.shape(MIDDLE, [*roof, (x + 0.8 * wide, foot - 1.5 * tall), (x + 1.08 * wide, foot - tall)], (120, 44, 44))
    s.box(MIDDLE, x + 0.32 * wide, foot - 0.62 * tall, x + 0.68 * wide, foot, (240, 232, 220))
    s.box(MIDDLE, x + 0.36 * wide, foot - 0.56 * tall, x + 0.64 * wide, foot, (150, 44, 40))


def village(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (140, 200, 245)), vary_colour(rng, (240, 240, 230)), rng)
    ground = h * rng.uniform(0.64, 0.7)
    _hills(s, FAR, ground - 0.06 * h, 0.04, vary_colour(rng, (128, 186, 120)), rng)
    x = -rng.uniform(0, 0.15) * u
    while x < w:
        wide, tall = rng.uniform(0.22, 0.3) * u, rng.uniform(0.16, 0.22) * u
        wall, roof = vary_colour(rng, rng.choice([(246, 226, 190), (236, 200, 170), (220, 226, 230)])), (196, 84, 62)
        s.box(MIDDLE, x, ground - tall, x + wide, ground + 0.01 * h, wall)
        top = (x + wide / 2, ground - tall - 0.16 * u)
        s.shape(
            MIDDLE, [(x - 0.03 * u, ground - tall), top, (x + wide + 0.03 * u, ground - tall)], vary_colour(rng, roof)
        )
        s.windows(MIDDLE, x, ground - tall - 0.02 * u, wide, tall, wide * 0.24, Random(round(x / u * 1000)))
        x += wide + rng.uniform(0.06, 0.16) * u
    s.land(NEAR, ground, vary_colour(rng, (126, 190, 96)), vary_colour(rng, (84, 150, 70)))
    path = [(0.42 * w, h), (0.47 * w, ground), (0.53 * w, ground), (0.66 * w, h)]
    s.shape(NEAR, path, (222, 200, 160))


def jungle(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.gradient(FAR, (0, 0, w, h), s.tint(vary_colour(rng, (92, 170, 110))), s.tint(vary_colour(rng, (20, 74, 52))))
    for _ in range(round(5 * w / u)):
        x, r = rng.uniform(0, w), rng.uniform(0.12, 0.2) * u
        s.disc(FAR, x, rng.uniform(0.1, 0.5) * h, r, r, vary_colour(rng, (62, 138, 84)))
    for _ in range(round(4 * w / u)):
        x, long = rng.uniform(0, w), rng.uniform(0.25, 0.55) * h
        s.weed(MIDDLE, x, long, long, rng.uniform(0, 6), vary_colour(rng, (44, 108, 48)), 0.022 * u)
        s.disc(MIDDLE, x, long, 0.03 * u, 0.03 * u, rng.choice([(240, 90, 120), (250, 180, 60), (200, 100, 220)]))
    s.land(MIDDLE, 0.84 * h, vary_colour(rng, (44, 96, 44)), vary_colour(rng, (24, 62, 34)))
    for _ in range(round(4 * w / u)):
        _fern(
            s,
            rng.uniform(0, w),
            rng.uniform(0.9, 1.0) * h,
            rng.uniform(0.22, 0.34) * u,
            vary_colour(rng, (60, 158, 70)),
        )


def _fern(s: Drawing, x: float, foot: float, size: float, colour: Colour) -> None:
    for dx, dy in ((-0.8, 0.45), (-0.5, 0.8), (0.0, 1.0), (0.5, 0.8), (0.8, 0.45)):
        tip = (x + dx * size, foot - dy * size)
        bulge = 0.16 * size
        middle = ((x + tip[0]) / 2, (foot + tip[1]) / 2 - 0.08 * size)
        s.shape(NEAR, [(x, foot), (middle[0] - bulge, middle[1]), tip, (middle[0] + bulge, middle[1])], colour)


def lake(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (150, 205, 240)), vary_colour(rng, (236, 242, 240)), rng)
    shore = h * rng.uniform(0.44, 0.52)
    _hills(s, FAR, shore - 0.04 * h, 0.05, vary_colour(rng, (110, 160, 130)), rng)
    for _ in range(round(5 * w / u)):
        s.fir(MIDDLE, rng.uniform(0, w), shore + 0.01 * h, rng.uniform(0.12, 0.2) * u, vary_colour(rng, (52, 110, 86)))
    s.land(MIDDLE, shore, vary_colour(rng, (110, 180, 210)), vary_colour(rng, (52, 118, 160)))
    for _ in range(round(6 * w / u)):
        x, y = rng.uniform(0, w), rng.uniform(shore + 0.05 * h, 0.82 * h)
        s.box(MIDDLE, x, y, x + rng.uniform(0.08, 0.2) * u, y + 0.01 * u, (190, 225, 240))
    s.shape(
        NEAR, [*wave(w, 0.9 * h, 0.02 * h, 0.2 * u, rng.uniform(0, 6)), (w, h), (0, h)], vary_colour(rng, (96, 150, 70))
    )
    for _ in range(round(5 * w / u)):
        x, tall = rng.uniform(0, w), rng.uniform(0.12, 0.2) * u
        s.line(NEAR, [(x, 0.94 * h), (x + 0.01 * u, 0.94 * h - tall)], (86, 128, 60), 0.014 * u)
        s.disc(NEAR, x + 0.01 * u, 0.94 * h - tall, 0.014 * u, 0.036 * u, (130, 86, 52))


def moon(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.gradient(FAR, (0, 0, w, h), (6, 6, 14), vary_colour(rng, (24, 24, 36), 5))
    s.stars(rng, 22, 0.6)
    x, y, r = rng.uniform(0.15, 0.85) * w, rng.uniform(0.14, 0.26) * h, 0.12 * u
    s.disc(FAR, x, y, r, r, (70, 140, 220), glows=True)
    s.disc(FAR, x - 0.3 * r, y - 0.2 * r, 0.4 * r, 0.3 * r, (90, 180, 110), glows=True)
    s.disc(FAR, x + 0.35 * r, y + 0.35 * r, 0.35 * r, 0.25 * r, (90, 180, 110), glows=True)
    ground = h * rng.uniform(0.6, 0.68)
    line = wave(w, ground, 0.03 * u, 0.2 * u, rng.uniform(0, 6))
    s.shape(MIDDLE, [*line, (w, h), (0, h)], vary_colour(rng, (150, 150, 158), 6), glows=True)
    s.gradient(NEAR, (0, ground + 0.08 * h, w, h), vary_colour(rng, (192, 192, 198), 6), (140, 140, 150))
    for _ in range(round(5 * w / u)):
        x, y, r = rng.uniform(0, w), rng.uniform(ground + 0.13 * h, 0.96 * h), rng.uniform(0.04, 0.08) * u
        s.disc(NEAR, x, y, r, 0.42 * r, (120, 120, 130), glows=True)
        s.disc(NEAR, x, y + 0.1 * r, 0.86 * r, 0.32 * r, (160, 160, 168), glows=True)


def cave(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.gradient(FAR, (0, 0, w, h), vary_colour(rng, (58, 46, 62), 8), vary_colour(rng, (96, 74, 80), 8))
    s.disc(FAR, rng.uniform(0.2, 0.8) * w, 0.55 * h, 0.4 * u, 0.34 * u, vary_colour(rng, (120, 94, 94), 8), glows=True)
    dark, x = vary_colour(rng, (48, 36, 44), 6), 0.0
    while x < w:
        wide, long = rng.uniform(0.08, 0.16) * u, rng.uniform(0.1, 0.32) * u
        s.shape(MIDDLE, [(x, 0), (x + wide / 2, long), (x + wide, 0)], dark, glows=True)
        x += wide * rng.uniform(0.8, 1.5)
    floor = h * rng.uniform(0.8, 0.86)
    s.gradient(NEAR, (0, floor, w, h), vary_colour(rng, (62, 48, 52), 6), vary_colour(rng, (36, 28, 34), 6))
    for _ in range(round(4 * w / u)):
        x, tall = rng.uniform(0, w), rng.uniform(0.07, 0.15) * u
        colour = rng.choice([(110, 220, 240), (200, 130, 250), (130, 240, 170)])
        for dx, share in ((-0.04, 0.7), (0.04, 0.8), (0.0, 1.0)):
            foot, half = x + dx * u, 0.026 * u
            s.shape(
                NEAR,
                [(foot - half, floor + 0.02 * h), (foot, floor - tall * share), (foot + half, floor + 0.02 * h)],
                colour,
                glows=True,
            )


def kitchen(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    wall = vary_colour(rng, rng.choice([(250, 232, 190), (205, 230, 225), (248, 214, 205)]))
    s.gradient(FAR, (0, 0, w, h), s.tint(wall), s.tint(vary_colour(rng, wall, 6)))
    x, y, wide = rng.uniform(0.1, 0.5) * w, 0.12 * h, 0.34 * u
    pane: Colour = {"day": (150, 210, 250), "dusk": (250, 170, 120)}.get(s.hour, (24, 28, 70))
    s.box(FAR, x - 0.02 * u, y - 0.02 * u, x + wide + 0.02 * u, y + 0.3 * u, (252, 250, 245))
    s.box(FAR, x, y, x + wide, y + 0.28 * u, pane, glows=True)
    s.box(FAR, x + wide / 2 - 0.01 * u, y, x + wide / 2 + 0.01 * u, y + 0.28 * u, (252, 250, 245))
    lamp = rng.uniform(0.6, 0.9) * w
    s.box(MIDDLE, lamp - 0.006 * u, 0, lamp + 0.006 * u, 0.1 * h, (90, 80, 80))
    s.shape(MIDDLE, [(lamp - 0.1 * u, 0.18 * h), (lamp, 0.09 * h), (lamp + 0.1 * u, 0.18 * h)], (235, 110, 80))
    s.disc(MIDDLE, lamp, 0.185 * h, 0.035 * u, 0.02 * u, (255, 240, 170), glows=True)
    top = h * rng.uniform(0.6, 0.66)
    s.box(MIDDLE, 0, top - 0.015 * u, w, top + 0.03 * u, (240, 236, 230))
    door = vary_colour(rng, rng.choice([(120, 165, 190), (196, 150, 104), (140, 180, 140)]))
    s.box(MIDDLE, 0, top + 0.03 * u, w, 0.88 * h, door)
    x = rng.uniform(0.0, 0.2) * u
    while x < w:
        s.box(MIDDLE, x, top + 0.05 * u, x + 0.012 * u, 0.87 * h, (90, 90, 96))
        s.disc(MIDDLE, x + 0.05 * u, top + 0.1 * u, 0.013 * u, 0.013 * u, (240, 220, 150))
        x += 0.3 * u
    s.land(NEAR, 0.88 * h, vary_colour(rng, (190, 130, 86)), vary_colour(rng, (160, 104, 66)))


def playground(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (120, 200, 250)), vary_colour(rng, (220, 240, 250)), rng)
    ground = h * rng.uniform(0.66, 0.74)
    x = rng.uniform(-0.1, 0.1) * u
    while x < w:
        r = rng.uniform(0.1, 0.16) * u
        s.disc(FAR, x, ground, r, r, vary_colour(rng, (100, 178, 96)))
        x += 1.5 * r
    s.land(NEAR, ground, vary_colour(rng, (236, 206, 150)), vary_colour(rng, (214, 178, 120)))
    x, red, blue = rng.uniform(0.05, 0.3) * w, (232, 70, 60), (60, 120, 220)
    yellow = (240, 180, 40)
    s.line(MIDDLE, [(x, ground + 0.04 * h), (x, ground - 0.34 * u)], blue, 0.03 * u)
    s.line(MIDDLE, [(x + 0.1 * u, ground + 0.04 * h), (x + 0.1 * u, ground - 0.34 * u)], blue, 0.03 * u)
    for i in range(4):
        y = ground - 0.07 * u * i - 0.03 * u
        s.box(MIDDLE, x, y, x + 0.1 * u, y + 0.016 * u, blue)
    s.line(
        MIDDLE,
        [(x + 0.1 * u, ground - 0.32 * u), (x + 0.34 * u, ground + 0.02 * h), (x + 0.42 * u, ground + 0.02 * h)],
        red,
        0.05 * u,
    )
    x, top = x + rng.uniform(0.5, 0.6) * u, ground - 0.4 * u
    for foot in (x, x + 0.34 * u):
        s.line(
            MIDDLE,
            [(foot - 0.06 * u, ground + 0.03 * h), (foot, top), (foot + 0.06 * u, ground + 0.03 * h)],
            (240, 180, 40),
            0.024 * u,
        )
    s.line(MIDDLE, [(x, top), (x + 0.34 * u, top)], yellow, 0.026 * u)
    for seat in (x + 0.08 * u, x + 0.2 * u):
        s.box(MIDDLE, seat, top, seat + 0.008 * u, ground - 0.08 * u, (120, 120, 120))
        s.box(MIDDLE, seat + 0.06 * u, top, seat + 0.068 * u, ground - 0.08 * u, (120, 120, 120))
        s.box(MIDDLE, seat - 0.01 * u, ground - 0.08 * u, seat + 0.08 * u, ground - 0.06 * u, red)


def harbour(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    s.sky(vary_colour(rng, (130, 190, 235)), vary_colour(rng, (240, 236, 225)), rng)
    sea, quay = h * rng.uniform(0.5, 0.56), h * rng.uniform(0.78, 0.84)
    x = rng.uniform(0.1, 0.9) * w
    _lighthouse(s, x, sea + 0.02 * h, 0.4 * u)
    s.land(MIDDLE, sea, vary_colour(rng, (60, 130, 175)), vary_colour(rng, (36, 90, 140)))
    for _ in range(round(2 * w / u)):
        x, y = rng.uniform(0, w), sea + rng.uniform(0.03, 0.1) * h
        s.line(MIDDLE, [(x, y), (x, y - 0.24 * u)], (130, 96, 70), 0.016 * u)
        s.shape(
            MIDDLE,
            [(x + 0.015 * u, y - 0.23 * u), (x + 0.12 * u, y - 0.05 * u), (x + 0.015 * u, y - 0.05 * u)],
            (250, 246, 238),
        )
        s.shape(
            MIDDLE,
            [(x - 0.1 * u, y), (x + 0.13 * u, y), (x + 0.09 * u, y + 0.05 * u), (x - 0.06 * u, y + 0.05 * u)],
            vary_colour(rng, (190, 70, 60)),
        )
    s.land(NEAR, quay, vary_colour(rng, (160, 130, 100)), vary_colour(rng, (120, 94, 72)))
    for i in range(1, 4):
        s.box(NEAR, 0, quay + (h - quay) * i / 4, w, quay + (h - quay) * i / 4 + 0.008 * u, (96, 74, 58))
    x = rng.uniform(0.05, 0.3) * u
    while x < w:
        s.box(NEAR, x, quay - 0.07 * u, x + 0.05 * u, quay + 0.04 * u, (92, 72, 58))
        x += 0.42 * u


def _lighthouse(s: Drawing, x: float, foot: float, tall: float) -> None:
    for i in range(4):
        low, high = foot - tall * i / 4, foot - tall * (i + 1) / 4
        a, b = 0.15 * tall * (1 - 0.1 * i), 0.15 * tall * (1 - 0.1 * (i + 1))
        colour = (214, 60, 56) if i % 2 else (248, 246, 240)
        s.shape(FAR, [(x - a, low), (x - b, high), (x + b, high), (x + a, low)], colour)
    s.box(FAR, x - 0.07 * tall, foot - 1.12 * tall, x + 0.07 * tall, foot - tall, (255, 240, 150), glows=True)
    s.shape(
        FAR,
        [(x - 0.11 * tall, foot - 1.12 * tall), (x, foot - 1.24 * tall), (x + 0.11 * tall, foot - 1.12 * tall)],
        (90, 60, 60),
    )


def reef(s: Drawing, rng: Random) -> None:
    w, h, u = s.width, s.height, s.unit
    top, bottom = vary_colour(rng, (110, 226, 220)), vary_colour(rng, (24, 130, 165))
    s.gradient(FAR, (0, 0, w, h), s.tint(top), s.tint(bottom))
    for i in range(4):
        x = (0.1 + 0.27 * i) * w + rng.uniform(-0.06, 0.06) * u
        s.shape(
            FAR, [(x, 0), (x + 0.07 * u, 0), (x - 0.02 * u, h), (x - 0.2 * u, h)], vary_colour(rng, (104, 214, 214), 5)
        )
    _hills(s, MIDDLE, 0.82 * h, 0.05, vary_colour(rng, (44, 110, 150)), rng)
    for _ in range(round(5 * w / u)):
        x, tall = rng.uniform(0, w), rng.uniform(0.14, 0.3) * u
        colour = vary_colour(rng, rng.choice([(244, 96, 130), (250, 150, 70), (180, 100, 210), (250, 210, 90)]))
        foot = 0.9 * h
        s.line(MIDDLE, [(x, foot), (x, foot - tall)], colour, 0.045 * u)
        for direction in (-1, 1):
            arm = [
                (x, foot - 0.35 * tall),
                (x + direction * 0.3 * tall, foot - 0.55 * tall),
                (x + direction * 0.34 * tall, foot - 0.9 * tall),
            ]
            s.line(MIDDLE, arm, colour, 0.035 * u)
            s.disc(MIDDLE, arm[2][0], arm[2][1], 0.018 * u, 0.018 * u, colour)
        s.disc(MIDDLE, x, foot - tall, 0.023 * u, 0.023 * u, colour)
    s.land(NEAR, 0.88 * h, vary_colour(rng, (250, 232, 186)), vary_colour(rng, (222, 196, 140)))
    for _ in range(round(2 * w / u)):
        x, r = rng.uniform(0, w), rng.uniform(0.06, 0.1) * u
        s.disc(
            NEAR,
            x,
            0.9 * h,
            r,
            0.8 * r,
            vary_colour(rng, rng.choice([(240, 110, 120), (150, 90, 190), (250, 170, 90)])),
        )
