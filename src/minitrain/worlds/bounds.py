"""Keeps actors inside the picture: travellers turn back at its edges, those that grow stop while they are whole.

In other worlds a traveller comes in again at the opposite edge (``motions.wrap_at_edges``). A model trained on those
generates a second subject at the opposite edge, so later worlds keep their actors inside.
"""

from __future__ import annotations

from dataclasses import replace

from minitrain.worlds.motions import WRAPS_X, WRAPS_Y, Pose, TrajectoryParams

MAX_SIDE = 0.94  # of the canvas' short side, of one that grows
STATIONARY_MOTIONS = frozenset(("bounce", "spin", "grow", "shrink", "still"))


def keep_inside(motion: str, pose: Pose, course: TrajectoryParams) -> tuple[Pose, bool]:
    """(the pose moved inside the picture, whether the actor is on its way back). Actors that enter or leave may be
    outside, and an actor that has left stays away."""
    if motion in WRAPS_X:
        x, returning = _reflect(pose.x, pose.side / 2, course.width - pose.side / 2)
        return replace(pose, x=x), returning
    if motion in WRAPS_Y:
        y, returning = _reflect(pose.y, pose.side / 2, course.height - pose.side / 2)
        return replace(pose, y=y), returning
    return (_clamp_inside(pose, course) if motion in STATIONARY_MOTIONS else pose), False


def _reflect(position: float, low: float, high: float) -> tuple[float, bool]:
    """A position on a straight path, reflected at both ends."""
    span = high - low
    if span <= 0:
        return (low + high) / 2, False
    along = (position - low) % (2 * span)
    return low + span - abs(along - span), span + 1e-6 < along < 2 * span - 1e-6


def _clamp_inside(pose: Pose, course: TrajectoryParams) -> Pose:
    side = min(pose.side, MAX_SIDE * min(course.width, course.height))
    x, y = (min(max(v, side / 2), size - side / 2) for v, size in ((pose.x, course.width), (pose.y, course.height)))
    return replace(pose, x=x, y=y, side=side)
