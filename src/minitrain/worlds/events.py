"""Events with lasting effects: paint that stays on the picture, food that stays bitten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from minitrain.scene import Shot
from minitrain.worlds.motions import Pose, free_params
from minitrain.worlds.subjects import COLOURS
from minitrain.worlds.tracks import HIDDEN, Track, actor_tracks, make_track

FRAMES_PER_BITE, MAX_BITES = 4, 4  # frames from one bite to the next; bites
BRUSH_TIP = (-0.42, 0.42)  # of the brush, from its middle, as shares of its side
BRUSH_SPEED = 4.5  # 128ths a frame, of a brush
STROKE_HALF_WIDTH = 5.0  # half the width of a stroke, in 128ths


def bite_tracks(shot: Shot, times: Sequence[int], height: float, width: float, rng: Random) -> list[Track]:
    """One track for each stage of the food."""
    actor = shot.actors[0]
    whole = actor_tracks(actor, times, free_params(actor.motion, actor.size, height, width, rng), 0)[0]
    lost = [min(MAX_BITES, t // FRAMES_PER_BITE) for t in times]
    return [
        replace(
            whole, bites=stage, poses=tuple(p if g == stage else HIDDEN for p, g in zip(whole.poses, lost, strict=True))
        )
        for stage in sorted(set(lost))
    ]


@dataclass(frozen=True)
class Stroke:
    """A wavy line of paint, in 128ths of the short side. x: where it begins. direction: 1 to the right, -1 to the
    left."""

    x: float
    y: float
    direction: int
    amplitude: float
    waves: int
    width: float
    colour: tuple[int, int, int]

    def tip(self, t: float) -> tuple[float, float]:
        x = self.x + self.direction * BRUSH_SPEED * t
        return x, self.y + self.amplitude * math.sin(2 * math.pi * self.waves * x / self.width)


def stroke_of(shot: Shot, height: float, width: float) -> Stroke:
    rng, direction = Random(shot.seed), 1 if shot.actors[0].motion == "right" else -1
    margin = rng.uniform(0.1, 0.25) * width
    return Stroke(
        x=margin if direction > 0 else width - margin,
        y=rng.uniform(0.5, 0.72) * height,
        direction=direction,
        amplitude=rng.uniform(3, 9),
        waves=max(1, round(width / rng.uniform(48, 80))),
        width=width,
        colour=COLOURS[rng.choice(tuple(COLOURS))],
    )


def brush_tracks(shot: Shot, times: Sequence[int], height: float, width: float) -> list[Track]:
    """The brush with its tip on the stroke, and a copy of it where it crosses the edge."""
    actor, stroke = shot.actors[0], stroke_of(shot, height, width)
    side = 128 * actor.size
    tips = [stroke.tip(t) for t in times]
    poses = [Pose(x % width - BRUSH_TIP[0] * side, y - BRUSH_TIP[1] * side, side) for x, y in tips]
    track = make_track(actor, poses, 0)
    twins = tuple(replace(p, x=p.x - width) if p.x > width - side / 2 else HIDDEN for p in poses)
    return [replace(track, poses=twins), track]


def paint_stroke(frames_FCYX: Tensor, stroke: Stroke, times: Sequence[int], unit: float) -> None:
    """Draw what the brush has painted by each frame, in place. unit: pixels of a 128th of the short side."""
    device, (height, width) = frames_FCYX.device, frames_FCYX.shape[-2:]
    x = (torch.arange(width, device=device) + 0.5) / unit
    y = (torch.arange(height, device=device) + 0.5)[:, None] / unit
    middle = stroke.y + stroke.amplitude * torch.sin(2 * math.pi * stroke.waves * x / stroke.width)
    band = ((STROKE_HALF_WIDTH - (y - middle).abs()) * unit + 0.5).clamp(0, 1)
    t = torch.tensor(times, device=device, dtype=torch.float32)[:, None]
    behind = (x - stroke.x) * stroke.direction % stroke.width  # how far along the stroke a column is
    dry = ((BRUSH_SPEED * t - behind) * unit + 0.5).clamp(0, 1)  # (F, X)
    alpha = (band * dry[:, None])[:, None]
    colour = torch.tensor(stroke.colour, device=device, dtype=torch.float32)[:, None, None]
    streaks = 1 + 0.1 * torch.sin(1.9 * (y - middle))  # bristles
    painted = frames_FCYX + alpha * ((colour * streaks).clamp(0, 255) - frames_FCYX)
    frames_FCYX.copy_(painted.round_().to(torch.uint8))
