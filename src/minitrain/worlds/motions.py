"""The motions of actors as trajectories: the pose in every frame, in 128ths of the canvas' short side.

A motion lasts CYCLE_FRAMES frames. A travelling actor that leaves comes back at the opposite edge, so that a long film
never loses its subject; an actor that enters stays, one that leaves is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

CYCLE_FRAMES = 16  # frames (two seconds) in which a motion runs its course
STRIDE, LATTICE_SIDE = 16, 64  # of worlds on a lattice
SPEED = 4.0  # a frame, of those who travel
ENTER_FRAMES = 12  # frames in which an actor enters or leaves


@dataclass(frozen=True)
class Pose:
    """A sprite in one frame: its centre, its side, its angle in degrees counter-clockwise."""

    x: float
    y: float
    side: float
    angle: float = 0.0


@dataclass(frozen=True)
class TrajectoryParams:
    """Parameters of a trajectory. x, y: where the motion begins. side: the sprite's. width, height: the canvas'.
    travel: distance of left, right, up and down in CYCLE_FRAMES frames. rotation: degrees a frame of a spin. phase in
    [0, 1)."""

    x: float
    y: float
    side: float
    width: float
    height: float
    travel: float
    rotation: float
    phase: float = 0.0
    lattice: bool = False


Trajectory = Callable[[float, TrajectoryParams], Pose]


def _sideways(t: float, c: TrajectoryParams, direction: int) -> float:
    return c.x + direction * c.travel * t / CYCLE_FRAMES


def _travel(direction_x: int, direction_y: int) -> Trajectory:
    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        return Pose(_sideways(t, c, direction_x), c.y + direction_y * c.travel * t / CYCLE_FRAMES, c.side)

    return trajectory


def _bounce(t: float, c: TrajectoryParams) -> Pose:
    if c.lattice:
        return Pose(c.x, c.y - 2 * STRIDE * (1 - (1 - t % 8 / 4) ** 2), c.side)
    return Pose(c.x, c.y - 0.6 * c.side * abs(math.sin(math.pi * (t / 8 + c.phase))), c.side)


def _spin(t: float, c: TrajectoryParams) -> Pose:
    return Pose(c.x, c.y, c.side, c.rotation * t)


def _grow(t: float, c: TrajectoryParams) -> Pose:
    return Pose(c.x, c.y, min(1.75, max(0.375, 0.5 + t / CYCLE_FRAMES)) * c.side)


def _shrink(t: float, c: TrajectoryParams) -> Pose:
    return Pose(c.x, c.y, min(1.75, max(0.375, 1.5 - t / CYCLE_FRAMES)) * c.side)


def _still(_t: float, c: TrajectoryParams) -> Pose:
    return Pose(c.x, c.y, c.side)


def _walk(direction: int) -> Trajectory:
    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        step = math.sin(math.pi * t / 2)
        return Pose(_sideways(t, c, direction), c.y - 0.09 * c.side * abs(step), c.side, 5 * step)

    return trajectory


def _swim(direction: int) -> Trajectory:
    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        turn = math.pi * (t / 5 + c.phase)
        return Pose(
            _sideways(t, c, direction), c.y + 0.14 * c.side * math.sin(turn), c.side, -direction * 14 * math.cos(turn)
        )

    return trajectory


def _arc(direction: int) -> Trajectory:
    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        u = t / CYCLE_FRAMES % 1
        low, high = c.height - 0.55 * c.side, 0.5 * c.side
        return Pose(
            _sideways(t, c, direction), low - (low - high) * 4 * u * (1 - u), c.side, direction * 28 * (1 - 2 * u)
        )

    return trajectory


def _fall(t: float, c: TrajectoryParams) -> Pose:
    return Pose(c.x, c.y + 1.25 * c.travel * t / CYCLE_FRAMES, c.side, 1.5 * c.rotation * t)


def _roll(direction: int) -> Trajectory:
    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        return Pose(
            _sideways(t, c, direction),
            c.y,
            c.side,
            -direction * math.degrees(c.travel * t / CYCLE_FRAMES / (0.46 * c.side)),
        )

    return trajectory


def _enter(direction: int) -> Trajectory:
    """direction: where the actor looks; it comes from the other side."""

    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        left = max(0.0, 1 - t / ENTER_FRAMES)
        outside = -0.5 * c.side if direction > 0 else c.width + 0.5 * c.side
        return Pose(c.x + (outside - c.x) * left, c.y - 0.06 * c.side * abs(math.sin(math.pi * left * 3)), c.side)

    return trajectory


def _leave(direction: int) -> Trajectory:
    def trajectory(t: float, c: TrajectoryParams) -> Pose:
        gone = max(0.0, (t - 2) / ENTER_FRAMES)
        outside = c.width + 0.5 * c.side if direction > 0 else -0.5 * c.side
        hop = abs(math.sin(math.pi * gone * 3)) if gone else 0.0
        return Pose(c.x + (outside - c.x) * gone, c.y - 0.06 * c.side * hop, c.side)

    return trajectory


TRAJECTORIES: dict[str, Trajectory] = {
    "left": _travel(-1, 0),
    "right": _travel(1, 0),
    "up": _travel(0, -1),
    "down": _travel(0, 1),
    "bounce": _bounce,
    "spin": _spin,
    "grow": _grow,
    "shrink": _shrink,
    "still": _still,
    "walk-left": _walk(-1),
    "walk-right": _walk(1),
    "swim-left": _swim(-1),
    "swim-right": _swim(1),
    "arc-left": _arc(-1),
    "arc-right": _arc(1),
    "fall": _fall,
    "roll-left": _roll(-1),
    "roll-right": _roll(1),
    "enter-left": _enter(1),
    "enter-right": _enter(-1),
    "leave-left": _leave(-1),
    "leave-right": _leave(1),
}
WRAPS_X = frozenset(f"{m}{side}" for m in ("", "walk-", "swim-", "arc-", "roll-") for side in ("left", "right"))
WRAPS_Y = frozenset(("up", "down", "fall"))
LEFTWARDS = frozenset((*(m for m in WRAPS_X if m.endswith("left")), "enter-right", "leave-left"))
RIGHTWARDS = frozenset((*(m for m in WRAPS_X if m.endswith("right")), "enter-left", "leave-right"))


def lattice_params(motion: str, height: float, width: float, rng: Random) -> TrajectoryParams:
    """A start on the lattice for a sprite of LATTICE_SIDE: whole strides in four frames, hops of eight, a turn in
    sixteen."""
    side, sideways, upright = LATTICE_SIDE, motion in ("left", "right"), motion in ("up", "down")
    travel_x, travel_y = (int(min(CYCLE_FRAMES * 4, (size - side) // 32 * 32)) for size in (width, height))
    x = STRIDE * rng.randint(0, int(width - side - (travel_x if sideways else 0)) // STRIDE)
    room = int(height - side - (travel_y if upright else 0)) // STRIDE
    y = STRIDE * (rng.randint(0, room) if upright else room - rng.randint(0, min(1, room)))
    turn = rng.choice((-1, 1)) * 360 / CYCLE_FRAMES
    return TrajectoryParams(
        x=x + side / 2 + (travel_x if motion == "left" else 0),
        y=y + side / 2 + (travel_y if motion == "up" else 0),
        side=side,
        width=width,
        height=height,
        travel=travel_y if upright else travel_x,
        rotation=turn,
        lattice=True,
    )


def free_params(motion: str, size: float, height: float, width: float, rng: Random) -> TrajectoryParams:
    """A start anywhere that leaves room for the motion, for a sprite of ``size`` shares of the short side."""
    side, gap = 128 * size, rng.uniform(0.02, 0.2)
    half = side / 2
    x, y = rng.uniform(half, width - half), rng.uniform(max(half, height * 0.42), max(half, height - half))
    path_length = height if motion in WRAPS_Y else width
    travel = (
        min(path_length - side, SPEED * CYCLE_FRAMES * rng.uniform(0.85, 1.25)) if path_length - side > 32 else 32.0
    )
    start = half + (path_length - side - travel) * gap / 0.2 if path_length - side > travel else half
    if motion in WRAPS_X:
        x = width - start if motion in LEFTWARDS else start
    if motion in WRAPS_Y:
        y = height - start if motion == "up" else start
    if motion == "bounce":
        y = height - half - rng.uniform(0, 0.06) * height
    if motion.startswith(("enter", "leave")):
        x = rng.uniform(max(half, 0.35 * width), min(width - half, 0.65 * width)) if width > side else width / 2
    turn = rng.choice((-1, 1)) * rng.uniform(11, 22)
    return TrajectoryParams(x, y, side, width, height, travel, turn, rng.uniform(0, 1))


def wrap_at_edges(motion: str, pose: Pose, course: TrajectoryParams) -> tuple[Pose, ...]:
    """A travelling sprite comes back at the opposite edge: one pose, or two while it crosses an edge."""
    x, y, half = pose.x, pose.y, pose.side / 2
    if motion in WRAPS_X:
        x %= course.width
        twin = x + course.width if x < half else x - course.width if x > course.width - half else None
        return (
            Pose(x, y, pose.side, pose.angle),
            *((Pose(twin, y, pose.side, pose.angle),) if twin is not None else ()),
        )
    if motion in WRAPS_Y:
        y %= course.height
        twin = y + course.height if y < half else y - course.height if y > course.height - half else None
        return (
            Pose(x, y, pose.side, pose.angle),
            *((Pose(x, twin, pose.side, pose.angle),) if twin is not None else ()),
        )
    return (pose,)
