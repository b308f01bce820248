"""Sizes, lengths and parts of a film, out of what a person typed. Plain arithmetic."""

from __future__ import annotations

import math
import re

from sora.catalog.spec import ModelSpec
from sora.cli.request import Wish, within
from sora.errors import UsageError

Size = tuple[int, int]  # (height, width) in pixels

MOST_FRAMES = 100_000
SHORTEST_SIDE, LONGEST_SIDE = 16, 8192
LONGEST_SHAPE = 4.0


def film_size(wish: Wish, spec: ModelSpec, default_shape: float | None = None) -> Size:
    """(height, width) of the file. default_shape: width / height when none is said, else the model's; a picture longer
    than the longest shape is cropped to it."""
    if wish.aspect is not None and wish.size is not None:
        raise UsageError("--aspect and --size both say the shape; give one of them")
    if wish.size is not None:
        return parse_size(wish.size)
    usual = spec.defaults.aspect if default_shape is None else default_shape
    shape = min(max(usual, 1 / LONGEST_SHAPE), LONGEST_SHAPE)
    if wish.aspect is not None:
        shape = parse_aspect(wish.aspect)
    size = spec.grid.nearest_size(shape, spec.defaults.area)
    # Once more, so that a film of this very size is painted at it: a few long shapes have a nearer neighbour yet.
    return spec.painted(size)


def length(wish: Wish, fps: float, default: int) -> int:
    """Frames asked for, at that rate. Raises UsageError."""
    if wish.seconds is not None and wish.frames is not None:
        raise UsageError("--seconds and --frames both say how long; give one of them")
    if wish.seconds is None:
        frames = float(default if wish.frames is None else wish.frames)
    elif not (math.isfinite(wish.seconds) and wish.seconds > 0):
        raise UsageError(f"--seconds {wish.seconds:g} is no length; expected more than 0, as in --seconds 2")
    else:
        frames = wish.seconds * fps
        frames = max(1.0, math.floor(frames + 0.5)) if frames < 1e9 else frames
    if frames < 1:
        raise UsageError(f"--frames {frames:g} is no length; expected 1 to {MOST_FRAMES}")
    if frames > MOST_FRAMES:
        most = f"{MOST_FRAMES} ({MOST_FRAMES / fps:g} s at {fps:g} fps)"
        raise UsageError(f"{frames:g} frames are too many; expected at most {most}")
    return int(frames)


def rate(wish: Wish, spec: ModelSpec) -> float:
    """Frames a second of a film that no clip gives its rate. Raises UsageError."""
    within("--fps", wish.fps, 1, 240)
    return spec.defaults.fps if wish.fps is None else wish.fps


def parse_aspect(text: str) -> float:
    """Width / height of '16:9'. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?):([0-9]{1,6}(?:\.[0-9]{1,6})?)", text.strip())
    if match is None or not all(float(side) > 0 for side in match.groups()):
        raise UsageError(f"--aspect {text!r} is no shape; expected width:height, both above 0, as in 16:9")
    return _check_shape(f"--aspect {text}", float(match[1]) / float(match[2]))


def parse_size(text: str) -> Size:
    """(height, width) of '640x360'. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})[xX×]([0-9]{1,9})", text.strip())
    if match is None:
        raise UsageError(f"--size {text!r} is no size; expected WIDTHxHEIGHT in pixels, as in 640x360")
    width, height = int(match[1]), int(match[2])
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in (width, height)):
        raise UsageError(f"--size {text} is out of range; expected {SHORTEST_SIDE} to {LONGEST_SIDE} pixels a side")
    _check_shape(f"--size {text}", width / height)
    return height, width


def parse_region(text: str, size: Size) -> tuple[slice, slice]:
    """(rows, columns) of 'x,y,width,height' that lie in a frame of (height, width). Raises UsageError."""
    match = re.fullmatch(r"(-?\d{1,6}),(-?\d{1,6}),(\d{1,6}),(\d{1,6})", text.replace(" ", ""))
    if match is None:
        raise UsageError(f"--region {text!r} is no rectangle; expected x,y,width,height in pixels, as in 40,0,64,64")
    x, y, width, height = map(int, match.groups())
    rows, columns = slice(max(0, y), min(size[0], y + height)), slice(max(0, x), min(size[1], x + width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise UsageError(f"--region {text} holds no pixel of the clip, which is {wxh(size)}; move it or make it larger")
    return rows, columns


def parse_stretch(text: str, frames: int) -> range:
    """The frames of 'a:b', counted from 0, b left out, either end open, below 0 from the end. Raises UsageError."""
    match = re.fullmatch(r"(-?\d{1,9})?:(-?\d{1,9})?", text.replace(" ", ""))
    if match is None:
        raise UsageError(f"--frames {text!r} is no stretch; expected first:last, the last left out, as in 8:16")
    found = range(*slice(*(int(end) if end else None for end in match.groups())).indices(frames))
    if not found:
        raise UsageError(f"--frames {text} holds no frame of the clip, which has {frames}; the first is 0")
    return found


def wxh(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _check_shape(what: str, shape: float) -> float:
    if not 1 / LONGEST_SHAPE <= shape <= LONGEST_SHAPE:
        raise UsageError(f"{what} is too long a shape; expected at most {LONGEST_SHAPE:g}:1 or 1:{LONGEST_SHAPE:g}")
    return shape
