"""The poses of a sprite through the frames of a segment.

A traveller comes in again at the opposite edge (``motions.wrap_at_edges``). A model trained on that generates a second
subject at the opposite edge, so in later worlds travellers turn back at the edges, and those that grow stop while they
are whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from minitrain.scene import Actor
from minitrain.worlds.motions import TRAJECTORIES, WRAPS_X, WRAPS_Y, Pose, TrajectoryParams, wrap_at_edges
from minitrain.worlds.subjects import SUBJECTS, UNSEEN

HIDDEN = Pose(0.0, 0.0, 0.0)  # a pose that leaves no pixel
MAX_SIDE = 0.94  # of the canvas' short side, of one that grows
STATIONARY_MOTIONS = frozenset(("bounce", "spin", "grow", "shrink", "still"))


@dataclass(frozen=True)
class Track:
    """One sprite through a segment. poses: one a frame, in 128ths of the short side. is_flipped: whether its picture is
    mirrored to look in the other direction. role: 0 for the first actor, 1 for the second. bites: missing from its
    picture."""

    subject: str
    poses: tuple[Pose, ...]
    is_flipped: bool
    role: int
    bites: int = 0


def make_track(actor: Actor, poses: Sequence[Pose], role: int) -> Track:
    subject = SUBJECTS.get(actor.subject) or UNSEEN[actor.subject]
    return Track(actor.subject, tuple(poses), subject.faces not in ("", actor.faces), role)


def actor_tracks(
    actor: Actor,
    times: Sequence[int],
    course: TrajectoryParams,
    role: int,
    *,
    followed: bool = False,
    contained: bool = False,
) -> list[Track]:
    """The tracks of an actor on its own trajectory: one, or two while it leaves at one edge and comes in at the other.
    followed: by the camera, so that there is no edge. contained: it stays inside the picture."""
    if contained and not followed:
        return _contained(actor, times, course, role)
    trajectory, wraps = TRAJECTORIES[actor.motion], "" if followed else actor.motion
    poses_by_frame = [wrap_at_edges(wraps, trajectory(t, course), course) for t in times]
    track = make_track(actor, [p[0] for p in poses_by_frame], role)
    if all(len(p) == 1 for p in poses_by_frame):
        return [track]
    return [replace(track, poses=tuple(p[1] if len(p) > 1 else HIDDEN for p in poses_by_frame)), track]


def _contained(actor: Actor, times: Sequence[int], course: TrajectoryParams, role: int) -> list[Track]:
    """One track inside the picture, and a second one that looks in the other direction where the actor goes back
    sideways."""
    trajectory = TRAJECTORIES[actor.motion]
    seen = [keep_inside(actor.motion, trajectory(t, course), course) for t in times]
    turns = actor.motion in WRAPS_X and any(returning for _, returning in seen)
    if not turns:
        return [make_track(actor, [pose for pose, _ in seen], role)]
    other = replace(actor, faces="right" if actor.faces == "left" else "left")
    return [
        make_track(one, [pose if back is direction else HIDDEN for pose, back in seen], role)
        for one, direction in ((actor, False), (other, True))
    ]


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


def extent(poses: Sequence[Pose]) -> float:
    """The side of the square that any of the poses' sprites fits in, turned as it is."""
    return max(p.side * (abs(math.cos(math.radians(p.angle))) + abs(math.sin(math.radians(p.angle)))) for p in poses)
