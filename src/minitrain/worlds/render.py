"""Films as pixels: one renderer for every world, in batches, on any device.

Everything is said in 128ths of the canvas' short side, so that a film at twice the size is the same film. On a device
with plenty of cores whole batches are pasted at once; a CPU takes one clip at a time, which keeps it in its cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from minitrain.scene import Film
from minitrain.worlds import backdrops, events, paste, styles, weather
from minitrain.worlds.camera import views
from minitrain.worlds.motions import Pose
from minitrain.worlds.segments import Take, takes_of
from minitrain.worlds.sprites import LEVELS, atlas
from minitrain.worlds.tracks import HIDDEN, Track, extent

CHUNK = 32  # clips pasted at once where the device is no CPU


@dataclass(frozen=True)
class Rendered:
    """frames_BFCYX: uint8 RGB. cover_BFYX: uint8, the first actor's visible opacity, what hides it taken off;
    second_BFYX: the second actor's."""

    frames_BFCYX: Tensor
    cover_BFYX: Tensor
    second_BFYX: Tensor


def render(
    films: Sequence[Film],
    frames: int,
    height: int,
    width: int,
    *,
    first: int | Sequence[int] = 0,
    length: int | None = None,
    device: str | torch.device = "cpu",
) -> Rendered:
    """Clips of ``frames`` frames, height x width pixels, on the device. first: the film's frame that a clip begins at,
    one for all or one each. length: frames of the whole films, which says where their cuts are; by default a film ends
    with its clip."""
    starts = [first] * len(films) if isinstance(first, int) else list(first)
    where, at_once = str(device), 1 if torch.device(device).type == "cpu" else CHUNK
    parts = [
        _chunk(films[i : i + at_once], starts[i : i + at_once], frames, height, width, length, where)
        for i in range(0, len(films), at_once)
    ]
    pixels, marks = (torch.cat([part[i] for part in parts]) for i in range(2))
    return Rendered(pixels, marks[:, :, 0], marks[:, :, 1])


def _chunk(
    films: Sequence[Film], starts: Sequence[int], frames: int, height: int, width: int, length: int | None, device: str
) -> tuple[Tensor, Tensor]:
    """(frames_BFCYX, marks_BFRYX) of films rendered at once."""
    unit = min(height, width) / 128
    clips = paste.Clips(
        torch.empty(len(films), frames, 3, height, width, dtype=torch.uint8, device=device),
        torch.zeros(len(films), frames, 2, height, width, dtype=torch.uint8, device=device),
    )
    takes = [
        take
        for i, (film, start) in enumerate(zip(films, starts, strict=True))
        for take in takes_of(film, i, start, frames, length or start + frames, height / unit, width / unit)
    ]
    for take in takes:
        _set_the_scene(clips, take, unit, device)
    for wave in zip_longest(*(take.tracks for take in takes)):
        pairs = [(take, track) for take, track in zip(takes, wave, strict=True) if track is not None]
        for apart in _one_a_clip(pairs):
            _paste(clips, apart, unit, device)
    for take in takes:
        if take.shot.weather:
            stretch = clips.frames_BFCYX[take.film, take.begin : take.end]
            weather.fall(stretch, take.shot.weather, take.times, take.shot.seed)
    for i, film in enumerate(films):
        if film.style != "flat":
            clips.frames_BFCYX[i] = styles.draw(clips.frames_BFCYX[i], film.style)
    return clips.frames_BFCYX, clips.marks_BFRYX


def _one_a_clip(pairs: list[tuple[Take, Track]]) -> list[list[tuple[Take, Track]]]:
    """The two takes of a film with a cut are pasted one after the other."""
    waves: list[list[tuple[Take, Track]]] = [[], []]
    for pair in pairs:
        waves[pair[0].begin > 0].append(pair)
    return [wave for wave in waves if wave]


def _set_the_scene(clips: paste.Clips, take: Take, unit: float, device: str) -> None:
    """The backdrop of a take, through its camera."""
    height, width = clips.frames_BFCYX.shape[-2:]
    stretch = clips.frames_BFCYX[take.film, take.begin : take.end]
    if take.shot.camera == "static":
        stretch[:] = backdrops.still_picture(take.shot, height, width, device)
    else:
        way = views(take.shot.camera, take.times, height / unit, width / unit, layered=take.layered, run=take.run)
        stretch[:] = backdrops.filmed(take.shot, way, height, width, device, layered=take.layered)
    if take.shot.event == "stroke":
        events.paint(stretch, events.stroke_of(take.shot, height / unit, width / unit), take.times, unit)


def _paste(clips: paste.Clips, pairs: list[tuple[Take, Track]], unit: float, device: str) -> None:
    """One sprite of every clip, through all frames."""
    height, width = clips.frames_BFCYX.shape[-2:]
    frames, short = clips.frames_BFCYX.shape[1], min(height, width)
    sheets = [atlas(track.subject, short, track.bites, device) for _, track in pairs]
    places = sheets[0].places
    poses = [[HIDDEN] * take.begin + list(track.poses) + [HIDDEN] * (frames - take.end) for take, track in pairs]
    whole = math.ceil(max(extent(p) for p in poses) * unit) + 2
    stamps = paste.Stamps(
        atlas_NCAW=torch.stack([sheet.pixels for sheet in sheets]),
        clip_N=torch.tensor([take.film for take, _ in pairs], device=device),
        pose_NFP=torch.tensor([[_in_pixels(p, unit) for p in way] for way in poses], device=device),
        place_NFP=torch.tensor([[places[_level(p.side)] for p in way] for way in poses], device=device),
        flip_N=torch.tensor([-1.0 if track.flips else 1.0 for _, track in pairs], device=device),
        role_N=torch.tensor([track.role for _, track in pairs], device=device),
    )
    paste.paste(clips, stamps, (min(whole, height), min(whole, width)))


def _in_pixels(pose: Pose, unit: float) -> tuple[float, float, float, float]:
    return pose.x * unit, pose.y * unit, pose.side * unit, math.radians(pose.angle)


def _level(side: float) -> int:
    """The index of the smallest of LEVELS that shows a sprite of this side in full detail."""
    return max((i for i, level in enumerate(LEVELS) if level >= 0.94 * side), default=0)
