"""Anchors: known frames that windows far from them are shown as well, so that a long film keeps its subject.

A window knows what precedes it by its context, a few frames that are themselves painted; what the person gave is soon
out of its sight. The anchors are the known frames next to a gap: the one from which the film goes on, and the one at
which it arrives. Frames deeper inside a clip may lie before a cut, and show something else.
"""

from __future__ import annotations

from sora.plan.plan import Plan, Window

MAX_PICTURES = 4
"""Anchors are shown with a window only while its pictures, a person's references first, are no more than that. Each is
sampled along with the window, as a latent frame."""


def of_gap(gap: range, *, known_before: int, known_after: int) -> tuple[int, ...]:
    """The anchors of a film in which the frames of ``gap`` are painted, the one before them first.

    known_before, known_after: how many known frames are before and after the gap. In a loop, the one after its last
    frame stands for its first.
    """
    before = (gap.start - 1,) if known_before else ()
    return (*before, gap.stop) if known_after else before


def shown_with(plan: Plan, window: Window) -> tuple[int, ...]:
    """The anchors that a window is shown as pictures: those that it does not contain, as far as the plan's references
    leave room. A film of one window has none, since it contains them all."""
    room = max(0, MAX_PICTURES - plan.reference_count)
    return tuple(frame for frame in plan.anchors if not _contains(window, frame))[:room]


def most_pictures(plan: Plan) -> int:
    """How many pictures a window is shown at most, references and anchors together."""
    return plan.reference_count + max((len(shown_with(plan, window)) for window in plan.windows), default=0)


def _contains(window: Window, frame: int) -> bool:
    """Whether a frame is among the known ones of a window."""
    stop = window.first + window.frames
    return window.first <= frame < window.first + window.context_before or stop - window.context_after <= frame < stop
