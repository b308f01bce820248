"""From a film to what the renderer pastes: the backdrop, and each sprite's poses through the frames. No pixels here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from minitrain.scene import MOTIONS, Actor, Film, Shot
from minitrain.worlds import events, relations
from minitrain.worlds.camera import to_picture
from minitrain.worlds.motions import (
    CYCLE_FRAMES,
    LATTICE_SIDE,
    LEFTWARDS,
    RIGHTWARDS,
    TrajectoryParams,
    free_params,
    lattice_params,
)
from minitrain.worlds.tracks import HIDDEN, Track, actor_tracks


@dataclass(frozen=True)
class ShotSegment:
    """A part of a clip without a cut. film_index: in the batch. begin, end: its frames in the clip. times: the frames
    of its shot. tracks: in the order they are pasted. layered: whether its backdrop has three layers. camera_speed: of
    a following camera, in 128ths a frame."""

    film_index: int
    begin: int
    end: int
    times: tuple[int, ...]
    shot: Shot
    tracks: tuple[Track, ...]
    layered: bool = False
    camera_speed: float = 0.0


def cut_frame(length: int) -> int:
    """Where the second shot of a film of this length begins: 1 + 4k, so that no latent frame sees both shots."""
    return 1 + 4 * max(1, round((length - 1) / 8))


def segments_of(
    film: Film, index: int, first: int, frames: int, length: int, height: float, width: float
) -> list[ShotSegment]:
    """The segments of frames first to first + frames of a film. height, width: of the canvas, in 128ths."""
    opening, closing = film.shots[0], film.shots[-1]
    cut = cut_frame(length) if len(film.shots) > 1 else first + frames
    segments = []
    for shot, start, begin, end in (
        (opening, 0, first, min(cut, first + frames)),
        (closing, cut, max(cut, first), first + frames),
    ):
        if end > begin:
            times = tuple(range(begin - start, end - start))
            segments.append(
                _add_tracks(shot, times, ShotSegment(index, begin - first, end - first, times, shot, ()), height, width)
            )
    return segments


def _add_tracks(shot: Shot, times: Sequence[int], segment: ShotSegment, height: float, width: float) -> ShotSegment:
    """The segment with its tracks in picture coordinates."""
    rng, speed, actor = Random(shot.seed), 0.0, shot.actors[0]
    if shot.event == "stroke":
        return replace(segment, tracks=tuple(events.brush_tracks(shot, times, height, width)), layered=True)
    if shot.event == "bites":
        tracks, course = events.bite_tracks(shot, times, height, width, rng), None
    elif len(shot.actors) > 1:
        tracks, course = relations.pair_tracks(shot, times, height, width, rng)
    else:
        followed = shot.camera == "follow"
        course = _choose_params(actor, height, width, rng)
        course = replace(course, x=width / 2) if followed else course
        tracks = actor_tracks(actor, times, course, 0, followed=followed, contained=shot.contained)
    if course is not None and shot.camera == "follow":
        speed = _follow_speed(actor.motion, course)
    if shot.camera != "static":
        tracks = [_apply_camera(shot.camera, track, times, height, width, speed) for track in tracks]
    return replace(segment, tracks=tuple(tracks), layered=course is None or not course.lattice, camera_speed=speed)


def on_lattice(actor: Actor) -> bool:
    """An actor of half the short side, which no free one exactly is, keeps to the lattice in the first nine motions."""
    return actor.size == LATTICE_SIDE / 128 and actor.motion in MOTIONS[:9]


def _choose_params(actor: Actor, height: float, width: float, rng: Random) -> TrajectoryParams:
    if on_lattice(actor):
        return lattice_params(actor.motion, height, width, rng)
    return free_params(actor.motion, actor.size, height, width, rng)


def _follow_speed(motion: str, course: TrajectoryParams) -> float:
    """Speed to the right, a frame."""
    return (course.travel / CYCLE_FRAMES) * ((motion in RIGHTWARDS) - (motion in LEFTWARDS))


def _apply_camera(camera: str, track: Track, times: Sequence[int], height: float, width: float, speed: float) -> Track:
    seen = (
        p if p is HIDDEN else to_picture(camera, p, t, height, width, speed)
        for p, t in zip(track.poses, times, strict=True)
    )
    return replace(track, poses=tuple(seen))
