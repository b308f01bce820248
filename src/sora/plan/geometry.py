"""Sizes, lengths and parts of a film, out of what a person typed. Plain arithmetic."""

from __future__ import annotations

import math
import re

from sora.errors import UsageError

Size = tuple[int, int]  # (height, width) in pixels

MAX_FRAMES = 100_000
MIN_SIDE, MAX_SIDE = 16, 8192
MAX_ASPECT = 4.0


def length(seconds: float | None, frames: int | None, fps: float, default: int) -> int:
    """Frames asked for, at that rate. Raises UsageError."""
    if seconds is not None and frames is not None:
        raise UsageError("--seconds and --frames both say how long; give one of them")
    if seconds is None:
        count = default if frames is None else frames
    elif not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"--seconds {seconds:g} is no length; expected more than 0, as in --seconds 2")
    else:
        count = seconds * fps
        count = max(1.0, math.floor(count + 0.5)) if count < 1e9 else count
    if count < 1:
        raise UsageError(f"--frames {_rounded(count)} is no length; expected 1 to {MAX_FRAMES}")
    if count > MAX_FRAMES:
        most = f"{MAX_FRAMES} ({MAX_FRAMES / fps:g} s at {fps:g} fps)"
        raise UsageError(f"{_rounded(count)} frames are too many; expected at most {most}")
    return int(count)


def _rounded(count: float) -> str:
    """A number for a person, also a whole one that no float holds."""
    return f"{count:g}" if abs(count) < 1e300 else f"{'-' if count < 0 else ''}1e+300 and more"


def shape_of(aspect: str | None, usual: float) -> float:
    """Width / height that is asked for, else the usual one, cropped to the longest shape there is."""
    return min(max(usual, 1 / MAX_ASPECT), MAX_ASPECT) if aspect is None else parse_aspect(aspect)


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
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
        raise UsageError(f"--size {text} is out of range; expected {MIN_SIDE} to {MAX_SIDE} pixels a side")
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


def parse_stretch(text: str, frames: int, flag: str = "--frames") -> range:
    """The frames of 'a:b', counted from 0, b left out, either end open, below 0 from the end. flag: the text is of.
    Raises UsageError."""
    match = re.fullmatch(r"(-?\d{1,9})?:(-?\d{1,9})?", text.replace(" ", ""))
    if match is None:
        raise UsageError(f"{flag} {text!r} is no stretch; expected first:last, the last left out, as in 8:16")
    found = range(*slice(*(int(end) if end else None for end in match.groups())).indices(frames))
    if not found:
        what = "clip" if flag == "--frames" else "film"
        raise UsageError(f"{flag} {text} holds no frame of the {what}, which has {frames}; the first is 0")
    return found


def wxh(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _check_shape(what: str, shape: float) -> float:
    if not 1 / MAX_ASPECT <= shape <= MAX_ASPECT:
        raise UsageError(f"{what} is too long a shape; expected at most {MAX_ASPECT:g}:1 or 1:{MAX_ASPECT:g}")
    return shape
