"""Films as pixels: one renderer for every world, in batches, on any device.

All coordinates are in 128ths of the canvas' short side, so that a film at twice the size is the same film. A GPU
composites whole batches at once; a CPU takes one clip at a time, which keeps it in the cache.
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
from minitrain.worlds.segments import ShotSegment, segments_of
from minitrain.worlds.sprites import ATLAS_LEVELS, atlas
from minitrain.worlds.tracks import HIDDEN, Track, extent

GPU_BATCH = 32  # clips pasted at once where the device is no CPU


@dataclass(frozen=True)
class Rendered:
    """frames_BFCYX: uint8 RGB. cover_BFYX: uint8, the first actor's visible opacity, without what hides it;
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
    one for all or one each. length: frames of the whole films, which determines their cuts; by default a film ends with
    its clip."""
    starts = [first] * len(films) if isinstance(first, int) else list(first)
    where, at_once = str(device), 1 if torch.device(device).type == "cpu" else GPU_BATCH
    parts = [
        _render_batch(films[i : i + at_once], starts[i : i + at_once], frames, height, width, length, where)
        for i in range(0, len(films), at_once)
    ]
    pixels, marks = (torch.cat([part[i] for part in parts]) for i in range(2))
    return Rendered(pixels, marks[:, :, 0], marks[:, :, 1])


def _render_batch(
    films: Sequence[Film], starts: Sequence[int], frames: int, height: int, width: int, length: int | None, device: str
) -> tuple[Tensor, Tensor]:
    """(frames_BFCYX, opacity_BFRYX) of films rendered at once."""
    unit = min(height, width) / 128
    clips = paste.RenderTarget(
        torch.empty(len(films), frames, 3, height, width, dtype=torch.uint8, device=device),
        torch.zeros(len(films), frames, 2, height, width, dtype=torch.uint8, device=device),
    )
    segments = [
        segment
        for i, (film, start) in enumerate(zip(films, starts, strict=True))
        for segment in segments_of(film, i, start, frames, length or start + frames, height / unit, width / unit)
    ]
    for take in segments:
        _draw_backdrop(clips, take, unit, device)
    for wave in zip_longest(*(take.tracks for take in segments)):
        pairs = [(take, track) for take, track in zip(segments, wave, strict=True) if track is not None]
        for separate in _one_per_clip(pairs):
            _paste_sprites(clips, separate, unit, device)
    for take in segments:
        if take.shot.weather:
            frames_of_segment = clips.frames_BFCYX[take.film_index, take.begin : take.end]
            weather.add_weather(frames_of_segment, take.shot.weather, take.times, take.shot.seed)
    for i, film in enumerate(films):
        if film.style != "flat":
            clips.frames_BFCYX[i] = styles.apply_style(clips.frames_BFCYX[i], film.style)
    return clips.frames_BFCYX, clips.opacity_BFRYX


def _one_per_clip(pairs: list[tuple[ShotSegment, Track]]) -> list[list[tuple[ShotSegment, Track]]]:
    """Separate the two segments of a film with a cut, which are pasted one after the other."""
    waves: list[list[tuple[ShotSegment, Track]]] = [[], []]
    for pair in pairs:
        waves[pair[0].begin > 0].append(pair)
    return [wave for wave in waves if wave]


def _draw_backdrop(clips: paste.RenderTarget, segment: ShotSegment, unit: float, device: str) -> None:
    """Draw the backdrop of a segment, through its camera."""
    height, width = clips.frames_BFCYX.shape[-2:]
    frames_of_segment = clips.frames_BFCYX[segment.film_index, segment.begin : segment.end]
    if segment.shot.camera == "static":
        frames_of_segment[:] = backdrops.static_backdrop(segment.shot, height, width, device)
    else:
        layer_views = views(
            segment.shot.camera,
            segment.times,
            height / unit,
            width / unit,
            layered=segment.layered,
            speed=segment.camera_speed,
        )
        frames_of_segment[:] = backdrops.film_backdrop(
            segment.shot, layer_views, height, width, device, layered=segment.layered
        )
    if segment.shot.event == "stroke":
        events.paint_stroke(
            frames_of_segment, events.stroke_of(segment.shot, height / unit, width / unit), segment.times, unit
        )


def _paste_sprites(clips: paste.RenderTarget, pairs: list[tuple[ShotSegment, Track]], unit: float, device: str) -> None:
    """Paste one sprite of every clip, through all frames."""
    height, width = clips.frames_BFCYX.shape[-2:]
    frames, short = clips.frames_BFCYX.shape[1], min(height, width)
    sheets = [atlas(track.subject, short, track.bites, device) for _, track in pairs]
    places = sheets[0].boxes
    poses = [[HIDDEN] * take.begin + list(track.poses) + [HIDDEN] * (frames - take.end) for take, track in pairs]
    whole = math.ceil(max(extent(p) for p in poses) * unit) + 2
    stamps = paste.SpriteBatch(
        atlas_NCAW=torch.stack([sheet.pixels for sheet in sheets]),
        clip_N=torch.tensor([take.film_index for take, _ in pairs], device=device),
        pose_NFP=torch.tensor(
            [[_pose_in_pixels(p, unit) for p in sprite_poses] for sprite_poses in poses], device=device
        ),
        source_NFP=torch.tensor([[places[_atlas_level(p.side)] for p in sprite] for sprite in poses], device=device),
        flip_N=torch.tensor([-1.0 if track.is_flipped else 1.0 for _, track in pairs], device=device),
        role_N=torch.tensor([track.role for _, track in pairs], device=device),
    )
    paste.paste(clips, stamps, (min(whole, height), min(whole, width)))


def _pose_in_pixels(pose: Pose, unit: float) -> tuple[float, float, float, float]:
    return pose.x * unit, pose.y * unit, pose.side * unit, math.radians(pose.angle)


def _atlas_level(side: float) -> int:
    """The index of the smallest of LEVELS that shows a sprite of this side in full detail."""
    return max((i for i, level in enumerate(ATLAS_LEVELS) if level >= 0.94 * side), default=0)
