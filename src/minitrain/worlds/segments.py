"""From a film to what the renderer pastes: which backdrop, and each sprite's way through the frames. No pixels here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from minitrain.scene import MOTIONS, Actor, Film, Shot
from minitrain.worlds import events, relations
from minitrain.worlds.camera import on_picture
from minitrain.worlds.motions import LATTICE_SIDE, LEFTWARDS, RIGHTWARDS, TRAVEL, Course, free_course, lattice_course
from minitrain.worlds.tracks import HIDDEN, Track, solo


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
    rng, run, actor = Random(shot.seed), 0.0, shot.actors[0]
    if shot.event == "stroke":
        return replace(bare, tracks=tuple(events.brush(shot, times, height, width)), layered=True)
    if shot.event == "bites":
        tracks, course = events.bites(shot, times, height, width, rng), None
    elif len(shot.actors) > 1:
        tracks, course = relations.pair(shot, times, height, width, rng)
    else:
        followed = shot.camera == "follow"
        course = _course(actor, height, width, rng)
        course = replace(course, x=width / 2) if followed else course
        tracks = solo(actor, times, course, 0, followed=followed, contained=shot.contained)
    if course is not None and shot.camera == "follow":
        run = _run(actor.motion, course)
    if shot.camera != "static":
        tracks = [_through(shot.camera, track, times, height, width, run) for track in tracks]
    return replace(bare, tracks=tuple(tracks), layered=course is None or not course.lattice, run=run)


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
    seen = (
        p if p is HIDDEN else on_picture(camera, p, t, height, width, run)
        for p, t in zip(track.poses, times, strict=True)
    )
    return replace(track, poses=tuple(seen))
