"""A sprite's way through the frames of a take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sora.training.scene import Actor
from sora.training.worlds.motions import PATHS, Course, Pose, around_the_edge
from sora.training.worlds.subjects import SUBJECTS, UNSEEN

HIDDEN = Pose(0.0, 0.0, 0.0)  # a pose that leaves no pixel


@dataclass(frozen=True)
class Track:
    """One sprite through a take. poses: one a frame, in 128ths of the short side. flips: whether its picture is turned
    to look the other way. role: 0 for the first actor, 1 for the second. bites: how many its picture has lost."""

    subject: str
    poses: tuple[Pose, ...]
    flips: bool
    role: int
    bites: int = 0


def track_of(actor: Actor, poses: Sequence[Pose], role: int) -> Track:
    subject = SUBJECTS.get(actor.subject) or UNSEEN[actor.subject]
    return Track(actor.subject, tuple(poses), subject.faces not in ("", actor.faces), role)


def solo(actor: Actor, times: Sequence[int], course: Course, role: int, *, followed: bool = False) -> list[Track]:
    """An actor on its own path: one track, or two while it leaves at one edge and comes in at the other. followed: by
    the camera, so that there is no edge."""
    path, wraps = PATHS[actor.motion], "" if followed else actor.motion
    places = [around_the_edge(wraps, path(t, course), course) for t in times]
    track = track_of(actor, [p[0] for p in places], role)
    if all(len(p) == 1 for p in places):
        return [track]
    return [replace(track, poses=tuple(p[1] if len(p) > 1 else HIDDEN for p in places)), track]


def extent(poses: Sequence[Pose]) -> float:
    """The side of the square that any of the poses' sprites fits in, turned as it is."""
    return max(p.side * (abs(math.cos(math.radians(p.angle))) + abs(math.sin(math.radians(p.angle)))) for p in poses)
