"""Which frames of a film belong to which shot. Plain arithmetic.

A film's shots are given as spans, ranges of frames in order. The frames between two of them, if any, are those in which
one flows into the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from sora.errors import UsageError
from sora.plan import geometry
from sora.plan.shot import Shot

TRANSITION_FRAMES = 8  # frames in which one shot flows into the next

Spans = tuple[range, ...]


def even(frames: int, shots: int, transition: str = "cut") -> Spans:
    """Of shots that are equally long. frames: of the whole film. Raises UsageError where they are too few."""
    between = TRANSITION_FRAMES if transition == "flow" else 0
    if frames - between * (shots - 1) < shots:
        raise UsageError(f"{frames} frames are too few for {shots} shots; ask for more --seconds or fewer --then")
    starts = [round(n * (frames + between) / shots) for n in range(shots + 1)]
    return tuple(range(starts[n], starts[n + 1] - between) for n in range(shots))


def of(shots: Sequence[Shot], *, fps: float, default: int, total: int | None, transition: str = "cut") -> Spans:
    """Of shots of which each may say its length, in which the frames that flow into it count.

    total: frames of the film; what the shots that say nothing share, so that they have equally many without those that
    flow into them; None gives ``default`` to each. transition: where a shot says none. Raises UsageError, which names
    the shot.
    """
    transitions = ["cut", *(shot.transition or transition for shot in shots[1:])]
    between = [TRANSITION_FRAMES if each == "flow" else 0 for each in transitions]
    lengths = [_given_length(shot, n, fps) for n, shot in enumerate(shots, start=1)]
    share = _share(lengths, between, default, total)
    ends = [
        round(end)
        for end in accumulate(share + b if given is None else given for given, b in zip(lengths, between, strict=True))
    ]
    if ends[-1] > geometry.MAX_FRAMES:
        raise UsageError(f"the shots have {ends[-1]} frames; expected at most {geometry.MAX_FRAMES}, make them shorter")
    starts = [start + b for start, b in zip([0, *ends], between, strict=False)]
    for n, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        if start >= end:
            least = between[n - 1] + 1
            raise UsageError(f"shot {n} has {end - start + least - 1} frames; expected {least} or more; make it longer")
    return tuple(map(range, starts, ends))


def _given_length(shot: Shot, number: int, fps: float) -> float | None:
    """Frames of a shot that says its length. Raises UsageError."""
    if shot.seconds is None and shot.frames is None:
        return None
    try:
        frames = geometry.length(shot.seconds, shot.frames, fps, 1)
    except UsageError as error:
        raise UsageError(f"shot {number}: {error}") from None
    return float(frames) if shot.seconds is None else shot.seconds * fps


def _share(lengths: Sequence[float | None], between: Sequence[int], default: int, total: int | None) -> float:
    """Frames of each shot that says no length, without those that flow into it."""
    if total is None:
        return float(default)
    given = sum(length for length in lengths if length is not None)
    sharing = [b for length, b in zip(lengths, between, strict=True) if length is None]
    if not sharing and round(given) != total:
        raise UsageError(
            f"every shot says its length, {round(given)} frames together, and the film {total}; leave --seconds and"
            " --frames of the film out"
        )
    left = total - given - sum(sharing)
    if sharing and left < len(sharing):
        message = f"{total} frames leave too few for the shots that say no length"
        raise UsageError(f"{message}; ask for more --seconds")
    return left / max(1, len(sharing))
