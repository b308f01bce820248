"""The world's subjects as pictures: colour-emoji glyphs and drawn shapes.

Glyphs come from the Noto Color Emoji font, which must be installed to train (Debian: fonts-noto-color-emoji); no glyph
is stored in the repository. Names are the characters' Unicode names and a table of synonyms.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

SIDE = 144  # pixels of a sprite's square picture
FONT = "NotoColorEmoji.ttf"
FONT_SIZE = 109  # the only size of the bitmap font
COLOURS = {
    "red": (225, 45, 40),
    "blue": (40, 80, 225),
    "green": (45, 170, 60),
    "yellow": (250, 210, 40),
    "purple": (140, 60, 190),
    "orange": (250, 135, 30),
}


@dataclass(frozen=True)
class Subject:
    """glyph: an emoji, or empty for a shape. names: the first is canonical. verbs: ways it moves in a caption.
    faces: the direction the picture looks, "left", "right" or "" where it has none."""

    names: tuple[str, ...]
    verbs: tuple[str, ...]
    glyph: str = ""
    shape: str = ""
    colour: str = ""
    faces: str = ""


WALKS = ("walks", "runs", "moves", "goes", "strolls")
SWIMS = ("swims", "moves", "goes", "glides")
DRIVES = ("drives", "goes", "moves", "travels", "rolls")
DRIFTS = ("floats", "moves", "drifts", "goes", "glides")
ROLLS = ("rolls", "moves", "goes", "travels")


def _glyph(glyph: str, verbs: tuple[str, ...], *synonyms: str, faces: str = "left") -> Subject:
    own = unicodedata.name(glyph).lower()
    return Subject(names=(*synonyms, own), verbs=verbs, glyph=glyph, faces=faces)


def _shape(colour: str, shape: str, *nouns: str) -> Subject:
    return Subject(names=tuple(f"{colour} {n}" for n in (shape, *nouns)), verbs=ROLLS, shape=shape, colour=colour)


GLYPHS: dict[str, Subject] = {
    "balloon": _glyph("🎈", DRIFTS, "red balloon", "balloon", "toy balloon", faces=""),
    "car": _glyph("🚗", DRIVES, "red car", "car", "auto"),
    "sailboat": _glyph("⛵", ("sails", *DRIFTS), "sailboat", "boat", "little boat", "yacht", faces=""),
    "rocket": _glyph("🚀", ("flies", "moves", "goes", "travels"), "rocket", "spaceship", "rocket ship", faces=""),
    "turtle": _glyph("🐢", (*WALKS, "swims"), "turtle", "green turtle", "tortoise"),
    "fish": _glyph("🐠", SWIMS, "fish", "orange fish", "striped fish"),
    "elephant": _glyph("🐘", WALKS, "elephant", "grey elephant", "big elephant"),
    "chick": _glyph("🐥", WALKS, "chick", "yellow chick", "baby chick", "chicken", faces=""),
    "dog": _glyph("🐕", WALKS, "dog", "puppy", "hound"),
    "cat": _glyph("🐈", WALKS, "cat", "kitty", "kitten"),
    "kangaroo": _glyph("🦘", ("hops", *WALKS), "kangaroo", "wallaby"),
    "bird": _glyph("🐦", ("flies", *WALKS), "bird", "blue bird", "little bird"),
    "butterfly": _glyph("🦋", ("flutters", *DRIFTS), "butterfly", faces=""),
    "octopus": _glyph("🐙", SWIMS, "octopus", "squid", faces=""),
    "whale": _glyph("🐳", SWIMS, "whale", "blue whale"),
    "crab": _glyph("🦀", WALKS, "crab", "red crab", faces=""),
    "snail": _glyph("🐌", ("crawls", *WALKS), "snail", "slug"),
    "bus": _glyph("🚌", DRIVES, "bus", "coach"),
    "mushroom": _glyph("🍄", DRIFTS, "mushroom", "toadstool", faces=""),
    "apple": _glyph("🍎", ROLLS, "apple", faces=""),
}
SHAPES: dict[str, Subject] = {
    f"{colour} {shape}": _shape(colour, shape, *nouns)
    for shape, nouns in {"ball": ("sphere",), "square": ("box", "cube"), "star": ()}.items()
    for colour in COLOURS
}
SUBJECTS: dict[str, Subject] = {**GLYPHS, **SHAPES}


@cache
def sprite(key: str) -> Image.Image:
    """The RGBA picture of a subject, SIDE pixels square. Raises OSError where the emoji font is not installed."""
    subject = SUBJECTS[key]
    return _draw_glyph(subject.glyph) if subject.glyph else _draw_shape(subject.shape, COLOURS[subject.colour])


def _draw_glyph(glyph: str) -> Image.Image:
    font = ImageFont.truetype(FONT, FONT_SIZE)
    sheet = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(sheet).text((12, 16), glyph, font=font, embedded_color=True)
    cut = sheet.crop(sheet.getbbox())
    scale = (SIDE - 4) / max(cut.size)
    cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    square.paste(cut, ((SIDE - cut.width) // 2, (SIDE - cut.height) // 2))
    return square


def _draw_shape(shape: str, colour: tuple[int, int, int]) -> Image.Image:
    side = SIDE * 2
    dark = tuple(int(v * 0.6) for v in colour)
    light = tuple(int(v + (255 - v) * 0.75) for v in colour)
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
        points = [_star_point(i, side) for i in range(10)]
        pen.polygon(points, fill=colour)
        pen.line([*points, *points[:2]], fill=dark, width=12, joint="curve")
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _star_point(i: int, side: int) -> tuple[float, float]:
    radius = side * (0.46 if i % 2 == 0 else 0.2)
    return side / 2 + radius * math.sin(i * math.pi / 5), side / 2 - radius * math.cos(i * math.pi / 5)
