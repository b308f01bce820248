"""From a film to what the renderer pastes: which backdrop, and each sprite's way through the frames. No pixels here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from sora.training.scene import MOTIONS, Actor, Film, Shot
from sora.training.worlds.camera import on_picture
from sora.training.worlds.motions import (
    LATTICE_SIDE,
    LEFTWARDS,
    PATHS,
    RIGHTWARDS,
    TRAVEL,
    Course,
    Pose,
    around_the_edge,
    free_course,
    lattice_course,
)
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


@dataclass(frozen=True)
class Take:
    """A stretch of a clip without a cut. film: its index in the batch. begin, end: its frames in the clip. times: the
    frames of its shot. tracks: in the order they are pasted. layered: whether its backdrop has three layers.
    run: how far a following camera moves in a frame, in 128ths."""

    film: int
    begin: int
    end: int
    times: tuple[int, ...]
    shot: Shot
    tracks: tuple[Track, ...]
    layered: bool = False
    run: float = 0.0


def cut_frame(length: int) -> int:
    """Where the second shot of a film of this length begins: 1 + 4k, so that no latent frame sees both shots."""
    return 1 + 4 * max(1, round((length - 1) / 8))


def takes_of(film: Film, index: int, first: int, frames: int, length: int, height: float, width: float) -> list[Take]:
    """The takes of frames first to first + frames of a film. height, width: of the canvas, in 128ths."""
    opening, closing = film.shots[0], film.shots[-1]
    cut = cut_frame(length) if len(film.shots) > 1 else first + frames
    takes = []
    for shot, start, begin, end in (
        (opening, 0, first, min(cut, first + frames)),
        (closing, cut, max(cut, first), first + frames),
    ):
        if end > begin:
            times = tuple(range(begin - start, end - start))
            takes.append(_take(shot, times, Take(index, begin - first, end - first, times, shot, ()), height, width))
    return takes


def _take(shot: Shot, times: Sequence[int], bare: Take, height: float, width: float) -> Take:
    """The take with its tracks as they are on the picture."""
    actor, rng = shot.actors[0], Random(shot.seed)
    course = _course(actor, height, width, rng)
    if shot.camera == "follow":
        course = replace(course, x=width / 2)
    run = _run(actor.motion, course) if shot.camera == "follow" else 0.0
    tracks = tuple(_solo(actor, times, course, 0, followed=shot.camera == "follow"))
    if shot.camera != "static":
        tracks = tuple(_through(shot.camera, track, times, height, width, run) for track in tracks)
    return replace(bare, tracks=tracks, layered=not course.lattice, run=run)


def on_lattice(actor: Actor) -> bool:
    """An actor of half the short side, which no free one exactly is, keeps to the lattice in the first nine motions."""
    return actor.size == LATTICE_SIDE / 128 and actor.motion in MOTIONS[:9]


def _course(actor: Actor, height: float, width: float, rng: Random) -> Course:
    if on_lattice(actor):
        return lattice_course(actor.motion, height, width, rng)
    return free_course(actor.motion, actor.size, height, width, rng)


def _run(motion: str, course: Course) -> float:
    """How far to the right in a frame."""
    return (course.run / TRAVEL) * ((motion in RIGHTWARDS) - (motion in LEFTWARDS))


def _through(camera: str, track: Track, times: Sequence[int], height: float, width: float, run: float) -> Track:
    seen = (on_picture(camera, p, t, height, width, run) for p, t in zip(track.poses, times, strict=True))
    return replace(track, poses=tuple(seen))


def _solo(actor: Actor, times: Sequence[int], course: Course, role: int, *, followed: bool = False) -> list[Track]:
    path = PATHS[actor.motion]
    wraps = "" if followed else actor.motion
    places = [around_the_edge(wraps, path(t, course), course) for t in times]
    subject = SUBJECTS.get(actor.subject) or UNSEEN[actor.subject]
    track = Track(actor.subject, tuple(p[0] for p in places), subject.faces not in ("", actor.faces), role)
    if all(len(p) == 1 for p in places):
        return [track]
    return [replace(track, poses=tuple(p[1] if len(p) > 1 else HIDDEN for p in places)), track]


def extent(poses: Sequence[Pose]) -> float:
    """The side of the square that any of the poses' sprites fits in, turned as it is."""
    return max(p.side * (abs(math.cos(math.radians(p.angle))) + abs(math.sin(math.radians(p.angle)))) for p in poses)
