"""What was asked, checked and completed from the model's defaults before torch is imported.

A ``Wish`` is a command's flags as typed; a ``Job`` is what will be painted. All arithmetic here is plain Python.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sora import families, prompts
from sora.cli.options import Device, Dtype, Sampler
from sora.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

MOST_SEED = 2**63 - 1  # torch's generators take signed 64-bit seeds
MOST_FILES = 1000
MOST_FRAMES = 100_000
MOST_STDIN = 1 << 21  # bytes; more than any prompt may have, so that a wrong pipe is not read to its end
SHORTEST_SIDE, LONGEST_SIDE = 16, 8192
LONGEST_SHAPE = 4.0


@dataclass(frozen=True)
class Wish:
    """A command's flags, by the names of its parameters. None is "not said"."""

    verb: str
    prompt: str | None
    output: str | None
    aspect: str | None
    size: str | None
    seed: int | None
    steps: int | None
    guidance: float | None
    negative: str
    model: str
    device: Device | None
    dtype: Dtype | None
    shift: float | None
    sampler: Sampler | None
    count: int
    force: bool
    as_json: bool
    quiet: bool
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class Take:
    """One file to make. number: its place when the job makes several, else None."""

    prompt: str
    seed: int
    number: int | None


@dataclass(frozen=True)
class Job:
    """What to paint. painted and size: (height, width) on the model's grid and in the file. frames: in the file.
    picture_YXC: the uint8 picture to begin with, as read."""

    spec: families.ModelSpec
    takes: tuple[Take, ...]
    painted: tuple[int, int]
    size: tuple[int, int]
    frames: int
    fps: float
    steps: int
    guidance: float
    shift: float
    step: str
    negative: str
    picture_YXC: np.ndarray | None = None


def resolve(wish: Wish) -> Job:
    """The job a wish means. Raises UsageError, InputError or ModelError for anything that cannot be honoured."""
    spec = families.find(wish.model)
    within("--count", wish.count, 1, MOST_FILES)
    within("--seed", wish.seed, 0, MOST_SEED - wish.count + 1)
    within("--steps", wish.steps, 1, 1000)
    within("--guidance", wish.guidance, 0, 100)
    within("--shift", wish.shift, 0.01, 100)
    frames, fps = length(wish, spec)
    painted, size = sizes(wish, spec, default_shape=1.0)
    takes = takes_of(wish)
    picture = None
    if wish.picture is not None:
        from sora import media

        picture = media.read_image(wish.picture)
        painted, size = sizes(wish, spec, default_shape=picture.shape[1] / picture.shape[0])
    defaults = spec.defaults
    return Job(
        spec=spec,
        takes=takes,
        painted=painted,
        size=size,
        frames=frames,
        fps=fps,
        steps=wish.steps or defaults.steps,
        guidance=defaults.guidance if wish.guidance is None else wish.guidance,
        shift=wish.shift or defaults.shift,
        step=wish.sampler.value if wish.sampler else defaults.step,
        negative=prompts.clean(wish.negative) if wish.negative.strip() else "",
        picture_YXC=picture,
    )


def within(flag: str, value: float | None, low: float, high: float) -> None:
    """Raises UsageError for a number outside [low, high]; "not a number" is outside."""
    if value is not None and not low <= value <= high:
        raise UsageError(f"{flag} {value} is out of range; expected {low} to {high}")


def takes_of(wish: Wish) -> tuple[Take, ...]:
    """Every variant of the prompt with every seed, in that order. A missing prompt is the empty one."""
    texts = [""] if wish.prompt is None else prompts.variants(said(wish.prompt))
    if len(texts) * wish.count > MOST_FILES:
        asked = f"{len(texts)} variants with --count {wish.count} are {len(texts) * wish.count} files"
        raise UsageError(f"{asked}; expected at most {MOST_FILES}; try fewer {{a|b}} choices")
    first = int.from_bytes(os.urandom(4), "little") if wish.seed is None else wish.seed
    pairs = [(text, first + i) for text in texts for i in range(wish.count)]
    several = wish.count > 1 or (len(pairs) > 1 and wish.output is not None)
    return tuple(Take(text, seed, i if several else None) for i, (text, seed) in enumerate(pairs, start=1))


def said(prompt: str) -> str:
    """The prompt, cleaned; ``-`` reads a bounded piece of standard input, as UTF-8 whatever the locale says."""
    stdin = io.BytesIO(sys.stdin.buffer.read(MOST_STDIN)) if prompt == "-" else io.BytesIO()
    return prompts.read(prompt, io.TextIOWrapper(stdin, "utf-8"))


def length(wish: Wish, spec: families.ModelSpec) -> tuple[int, float]:
    """(frames, fps) of the film."""
    if wish.verb == "image":
        return 1, spec.defaults.fps
    if wish.seconds is not None and wish.frames is not None:
        raise UsageError("--seconds and --frames both say how long; give one of them")
    within("--fps", wish.fps, 1, 240)
    fps = spec.defaults.fps if wish.fps is None else wish.fps
    longest = MOST_FRAMES
    if wish.seconds is not None:
        if not (math.isfinite(wish.seconds) and wish.seconds > 0):
            raise UsageError(f"--seconds {wish.seconds:g} is no length; expected more than 0, as in --seconds 2")
        frames = max(1.0, math.floor(wish.seconds * fps + 0.5)) if wish.seconds * fps < 1e9 else wish.seconds * fps
    else:
        frames = spec.defaults.frames if wish.frames is None else wish.frames
    if frames < 1:
        raise UsageError(f"--frames {frames} is no length; expected 1 to {longest}")
    if frames > longest:
        limit = f"at most {longest} ({longest / fps:g} s at {fps:g} fps)"
        raise UsageError(f"{frames:g} frames are too many; expected {limit}")
    return int(frames), fps


def sizes(wish: Wish, spec: families.ModelSpec, default_shape: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """((height, width) to paint, (height, width) of the file). default_shape: width / height when none is said; a
    picture longer than the longest shape is cropped to it."""
    if wish.aspect is not None and wish.size is not None:
        raise UsageError("--aspect and --size both say the shape; give one of them")
    if wish.size is not None:
        height, width = parse_size(wish.size)
        return spec.grid.nearest_size(width / height, spec.defaults.area), (height, width)
    shape = min(max(default_shape, 1 / LONGEST_SHAPE), LONGEST_SHAPE)
    if wish.aspect is not None:
        shape = parse_aspect(wish.aspect)
    painted = spec.grid.nearest_size(shape, spec.defaults.area)
    return painted, painted


def parse_aspect(text: str) -> float:
    """Width / height of '16:9'. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?):([0-9]{1,6}(?:\.[0-9]{1,6})?)", text.strip())
    if match is None or not all(float(side) > 0 for side in match.groups()):
        raise UsageError(f"--aspect {text!r} is no shape; expected width:height, both above 0, as in 16:9")
    return _check_shape(f"--aspect {text}", float(match[1]) / float(match[2]))


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of '640x360'. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})[xX×]([0-9]{1,9})", text.strip())
    if match is None:
        raise UsageError(f"--size {text!r} is no size; expected WIDTHxHEIGHT in pixels, as in 640x360")
    width, height = int(match[1]), int(match[2])
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in (width, height)):
        raise UsageError(f"--size {text} is out of range; expected {SHORTEST_SIDE} to {LONGEST_SIDE} pixels a side")
    _check_shape(f"--size {text}", width / height)
    return height, width


def _check_shape(what: str, shape: float) -> float:
    if not 1 / LONGEST_SHAPE <= shape <= LONGEST_SHAPE:
        raise UsageError(f"{what} is too long a shape; expected at most {LONGEST_SHAPE:g}:1 or 1:{LONGEST_SHAPE:g}")
    return shape
