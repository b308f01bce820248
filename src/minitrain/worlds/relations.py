"""Two actors together: the second one's position relative to the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from minitrain.scene import Shot
from minitrain.worlds.motions import CYCLE_FRAMES, LEFTWARDS, Pose, TrajectoryParams, free_params
from minitrain.worlds.tracks import Track, actor_tracks, make_track

SIZE_RANGES = {  # of the first and the second actor, as shares of the short side
    "beside": ((0.34, 0.44), (0.34, 0.44)),
    "above": ((0.34, 0.42), (0.3, 0.38)),
    "orbits": ((0.32, 0.4), (0.2, 0.26)),
    "follows": ((0.32, 0.4), (0.28, 0.38)),
    "behind": ((0.5, 0.58), (0.26, 0.3)),
}
FOLLOW_TRAVEL = 36.0  # 128ths in TRAVEL frames, of two that follow each other


def pair_tracks(
    shot: Shot, times: Sequence[int], height: float, width: float, rng: Random
) -> tuple[list[Track], TrajectoryParams]:
    """Both actors' tracks in the order they are pasted, and the first one's parameters."""
    first, second = shot.actors
    course = free_params(first.motion, first.size, height, width, rng)
    a, b = 128 * first.size, 128 * second.size
    ground = height * rng.uniform(0.86, 0.96)
    if shot.relation == "follows":
        return _follow_tracks(shot, times, course, ground, rng)
    if shot.relation == "beside":
        middle, offset = width * rng.uniform(0.47, 0.53), 0.52 * (a + b) * rng.choice((-1, 1)) / 2
        course = replace(course, x=middle - offset, y=ground - a / 2)
        other = replace(course, x=middle + offset, y=ground - b / 2, side=b)
    elif shot.relation == "above":
        course = replace(course, x=width * rng.uniform(0.35, 0.65), y=height - 0.03 * height - a / 2)
        other = replace(course, y=course.y - 0.5 * (a + b), side=b)
    elif shot.relation == "orbits":
        course = replace(course, x=width * rng.uniform(0.46, 0.54), y=height * rng.uniform(0.49, 0.53))
        direction, phase = rng.choice((-1, 1)), rng.uniform(0, 2 * math.pi)
        reach = 0.5 * (a + b) * 0.98
        orbit = [_point_on_orbit(course, reach, b, direction * 2 * math.pi * t / CYCLE_FRAMES + phase) for t in times]
        return [*actor_tracks(first, times, course, 0), make_track(second, orbit, 1)], course
    else:
        course = replace(course, x=width * rng.uniform(0.47, 0.53), y=ground - a / 2)
        start = b / 2 + 1 if second.motion == "right" else width - b / 2 - 1
        travel = min(width - b - 2, 96.0)
        start = course.x - travel / 2 if second.motion == "right" and width > 140 else start
        start = course.x + travel / 2 if second.motion == "left" and width > 140 else start
        other = replace(course, x=start, y=course.y + 0.08 * a, side=b, travel=travel)
        return [*actor_tracks(second, times, other, 1), *actor_tracks(first, times, course, 0)], course
    return [*actor_tracks(second, times, other, 1), *actor_tracks(first, times, course, 0)], course


def _point_on_orbit(course: TrajectoryParams, reach: float, side: float, angle: float) -> Pose:
    return Pose(course.x + reach * math.cos(angle), course.y + reach * math.sin(angle), side)


def _follow_tracks(
    shot: Shot, times: Sequence[int], course: TrajectoryParams, ground: float, rng: Random
) -> tuple[list[Track], TrajectoryParams]:
    first, second = shot.actors
    a, b, direction = 128 * first.size, 128 * second.size, -1 if first.motion in LEFTWARDS else 1
    gap, travel = 0.54 * (a + b), FOLLOW_TRAVEL * rng.uniform(0.9, 1.1)
    lead = b / 2 + gap + rng.uniform(0, max(0.0, course.width - a - b - travel))
    followed = shot.camera == "follow"
    x = course.width / 2 + direction * gap / 2 if followed else lead if direction > 0 else course.width - lead
    course = replace(course, x=x, y=ground - a / 2, travel=travel)
    other = replace(course, x=x - direction * gap, y=ground - b / 2, side=b)
    tracks = [
        *actor_tracks(second, times, other, 1, followed=followed),
        *actor_tracks(first, times, course, 0, followed=followed),
    ]
    return tracks, course
