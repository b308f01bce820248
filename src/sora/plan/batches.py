"""Which windows of a plan may be sampled at once: those of which none needs another. Plain arithmetic on windows."""

from __future__ import annotations

from itertools import groupby, pairwise

from sora.plan.plan import Plan, Window


def independent_runs(plan: Plan) -> tuple[tuple[int, ...], ...]:
    """Runs of consecutive windows, two or more, counted from 0, that are alike in all but their words and their noise:
    short shots that begin with a cut. Nothing is known in them, and they have one length.

    There is none where a clip, or a control signal, makes each window another canvas, nor where references are sampled
    along with it, one of which may be a frame of the first shot.
    """
    if plan.source is not None or plan.control is not None or plan.known_clips or plan.cyclic or plan.reference_count:
        return ()
    runs = (list(group) for _, group in groupby(range(len(plan.windows)), lambda n: _likeness(plan.windows[n], n)))
    return tuple(tuple(run) for run in runs if len(run) > 1)


def split_evenly(run: tuple[int, ...], most: int) -> tuple[tuple[int, ...], ...]:
    """A run in as few parts of at most ``most`` windows as there can be, whose lengths differ by one at most. most: at
    least 1."""
    count = -(-len(run) // most)
    ends = [n * len(run) // count for n in range(count + 1)]
    return tuple(run[begin:end] for begin, end in pairwise(ends))


def _likeness(window: Window, number: int) -> tuple[int, int]:
    """The same for windows that may be sampled at once; of its own for one that goes on from others."""
    if window.context_before or window.context_after:
        return 0, -1 - number
    return window.frames, 0
