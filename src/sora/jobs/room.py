"""Whether a film's own frames fit into the machine's memory, asked before anything is loaded: whatever the model, the
canvas of a window is held at the film's size. What the model takes is the matter of ``memory``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from sora import memory
from sora.errors import OutOfMemory
from sora.jobs.resolve import ResolvedRequest
from sora.plan.geometry import wxh

CANVAS_BYTES = 4  # of a pixel of a canvas: its colours, and whether it is known
FLOAT_BYTES = 12  # of its colours in float32, in which the whole canvas is brought to the model's size
FRAME_BYTES = 3  # of a finished pixel
CERTAIN = 0.9  # of what is counted; less than that being free is no doubt any more
COMFORTABLE = 0.7  # of what is free, for a size that is proposed: blending takes more than what is counted
GB = 2**30
SIGNS = ("out of memory", "allocate memory", "bad_alloc", "failed to map segment")  # in texts of torch and the system
STEP = 16  # pixels; sizes are proposed in multiples of it


def needed_bytes(resolved: ResolvedRequest, *, in_memory: bool = False) -> int:
    """The least that a film takes of the machine's memory, whatever paints it. in_memory: whether all of its frames
    stay there, where otherwise they go to a file."""
    plan, area = resolved.plan, math.prod(resolved.size)
    kept = FRAME_BYTES * plan.film_frames * area if in_memory else 0
    if resolved.request.refine:  # painted small, then enlarged in tiles
        return kept
    frames = max((window.frames for window in plan.windows), default=0)
    crop_area = area if plan.crop is None else math.prod(plan.crop.size)
    resized = 0 if crop_area == math.prod(resolved.model_size) else FLOAT_BYTES * crop_area
    return kept + frames * (CANVAS_BYTES * area + resized)


def check(resolved: ResolvedRequest, *, in_memory: bool = False) -> None:
    """Raises OutOfMemory for a film that is certain not to fit."""
    needed, free = needed_bytes(resolved, in_memory=in_memory), memory.free_with_swap()
    if CERTAIN * needed > free:
        lack = f"take at least {_gb(needed)} GB of memory, {_gb(free)} GB are free"
        raise OutOfMemory(f"{_what(resolved)} {lack}; {_hint(resolved, needed, free)}")


@contextmanager
def explained() -> Iterator[None]:
    """Turns every way in which Python, torch and the system say that memory ran out into OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        text = str(error).lower()
        if not (isinstance(error, MemoryError) or any(sign in text for sign in SIGNS)):
            raise
        free = f"{_gb(memory.free_with_swap())} GB are free"
        hint = "close other programs, raise `ulimit -v`, or try a smaller --size or fewer --frames"
        raise OutOfMemory(f"memory ran out, {free}; {hint}") from error


def summary(resolved: ResolvedRequest) -> str:
    """For a dry run: "0.2 of 7.8 GB", or why the film would be refused."""
    try:
        check(resolved)
    except OutOfMemory as error:
        return str(error)
    return f"{_gb(needed_bytes(resolved))} of {_gb(memory.free_with_swap())} GB"


def _what(resolved: ResolvedRequest) -> str:
    frames = max((window.frames for window in resolved.plan.windows), default=resolved.plan.film_frames)
    return f"{frames} frames of {wxh(resolved.size)} at once"


def _hint(resolved: ResolvedRequest, needed: int, free: int) -> str:
    """A size of the same shape that fits. Memory goes with the area."""
    scale = math.sqrt(COMFORTABLE * free / needed)
    height, width = (math.floor(side * scale / STEP) * STEP for side in resolved.size)
    if min(height, width) < STEP:
        return "close other programs"
    return f"--size {wxh((height, width))} would fit, or fewer --frames"


def _gb(count: int) -> str:
    return f"{count / GB:.1f}"
