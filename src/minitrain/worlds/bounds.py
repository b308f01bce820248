"""Actors that stay inside the picture: travellers turn back at its edges, those that grow stop while they are whole.

Elsewhere a traveller comes in again where it went out (``motions.around_the_edge``). A model that has learnt that
paints a second subject at the opposite edge, so later worlds keep their actors inside.
"""

from __future__ import annotations

from dataclasses import replace

from minitrain.worlds.motions import WRAPS_X, WRAPS_Y, Course, Pose

LARGEST = 0.94  # of the canvas' short side, of one that grows
SETTLED = frozenset(("bounce", "spin", "grow", "shrink", "still"))


def inside(motion: str, pose: Pose, course: Course) -> tuple[Pose, bool]:
    """(the pose moved inside the picture, whether the actor is on its way back). Actors that enter or leave may go out,
    and whoever has left stays away."""
    if motion in WRAPS_X:
        x, back = _turned(pose.x, pose.side / 2, course.width - pose.side / 2)
        return replace(pose, x=x), back
    if motion in WRAPS_Y:
        y, back = _turned(pose.y, pose.side / 2, course.height - pose.side / 2)
        return replace(pose, y=y), back
    return (_whole(pose, course) if motion in SETTLED else pose), False


def _turned(place: float, low: float, high: float) -> tuple[float, bool]:
    """A place on a straight way, folded at both ends into a way to and fro."""
    span = high - low
    if span <= 0:
        return (low + high) / 2, False
    along = (place - low) % (2 * span)
    return low + span - abs(along - span), span + 1e-6 < along < 2 * span - 1e-6


def _whole(pose: Pose, course: Course) -> Pose:
    side = min(pose.side, LARGEST * min(course.width, course.height))
    x, y = (min(max(v, side / 2), size - side / 2) for v, size in ((pose.x, course.width), (pose.y, course.height)))
    return replace(pose, x=x, y=y, side=side)
