"""Joining what is painted to what stands, so that no eye finds the place.

An autoencoder gives known frames back a little softer and a little off, and a model paints at its own size. What the
known pixels lost on that way (their residual) is known exactly; it is laid over the painted pixels beside them and
fades with the distance. Known pixels themselves are put back untouched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sora.engine.canvas import Canvas

RESIDUAL_FRAMES = 8  # frames over which a residual fades
SEAM_FRAMES = 3  # frames a seam's step is spread over
MOTION_AFTER_KNOWN, MOTION_BEFORE_KNOWN = (
    16.0,
    32.0,
)  # grey levels at which a seam's step is as much motion as error; to arrive is harder
BLUR_DIVISOR = 24  # a residual reaches inward this share of the longer side: one part in so many
MAX_BLUR_SIDE = 256  # pixels; residuals are spread sideways at this size at most, they have no detail worth more
MAX_SHIFT, MAX_STRETCH = 16.0, 1.15  # grey levels and ratio by which colours are pulled back, at most


def blend_known(canvas: Canvas, painted_FCYX: Tensor) -> Tensor:
    """Painted uint8 frames of the canvas's size, with its known pixels exactly and its unknown ones brought to meet
    them: in time within REACH frames, and inward from the edge of a region."""
    known = canvas.known_F1YX
    whole = known.flatten(1).all(dim=1).tolist()
    out = painted_FCYX.clone()
    for i, stands in enumerate(whole):
        if stands:
            out[i] = canvas.frames_FCYX[i]
            continue
        moved = painted_FCYX[i].float() + _from_neighbours(canvas, painted_FCYX, whole, i)
        if known[i].any():
            moved = moved + _from_the_edge(canvas.frames_FCYX[i].float() - moved, known[i])
        out[i] = torch.where(known[i], canvas.frames_FCYX[i], moved.round().clamp(0, 255).to(torch.uint8))
    for i in range(len(whole) - 1):
        if whole[i] != whole[i + 1]:
            _spread(out, canvas, whole, *((i, i + 1) if whole[i] else (i + 1, i)))
    return out


def _spread(out_FCYX: Tensor, canvas: Canvas, whole: list[bool], stands: int, painted: int) -> None:
    """The small differences that are left between a known frame and the painted one beside it, shared out over the next
    SPREAD painted frames. Large ones are motion and stay. Changes ``out``."""
    step = canvas.frames_FCYX[stands].float() - out_FCYX[painted].float()
    away = painted - stands
    small = MOTION_AFTER_KNOWN if away > 0 else MOTION_BEFORE_KNOWN
    step = step * torch.exp(-(step.abs().amax(dim=0, keepdim=True) / small).square())
    for n in range(SEAM_FRAMES):
        i = painted + n * away
        if not 0 <= i < len(whole) or whole[i]:
            return
        moved = (out_FCYX[i].float() + step * (1 - (n + 1) / (SEAM_FRAMES + 1))).round().clamp(0, 255).to(torch.uint8)
        out_FCYX[i] = torch.where(canvas.known_F1YX[i], out_FCYX[i], moved)


def _from_neighbours(canvas: Canvas, painted_FCYX: Tensor, whole: list[bool], i: int) -> Tensor | float:
    """What the nearest known frames on both sides lost, weighed by their distance to frame i."""
    sides = (next((j for j in steps if whole[j]), None) for steps in (range(i, -1, -1), range(i, len(whole))))
    near = [j for j in sides if j is not None and abs(j - i) <= RESIDUAL_FRAMES]
    shares = {j: 0.5 + 0.5 * math.cos(math.pi * abs(j - i) / (RESIDUAL_FRAMES + 1)) for j in near}
    total = max(1.0, sum(shares.values()))
    return sum(
        (canvas.frames_FCYX[j].float() - painted_FCYX[j].float()) * (share / total) for j, share in shares.items()
    )


def _from_the_edge(residual_CYX: Tensor, known_1YX: Tensor) -> Tensor:
    """The residual of known pixels spread into the unknown beside them: a normalised blur that fades inward."""
    size = residual_CYX.shape[-2:]
    share = known_1YX.float()[None]
    lost = residual_CYX[None] * share
    scale = min(1.0, MAX_BLUR_SIDE / max(size))
    coarse = [max(1, round(side * scale)) for side in size]
    share, lost = (F.interpolate(x, coarse, mode="area") for x in (share, lost))
    radius = max(1, max(coarse) // BLUR_DIVISOR)
    share, lost = _blurred(share, radius), _blurred(lost, radius)
    spread = lost / share.clamp(min=1e-3) * (2 * share).clamp(max=1)
    return F.interpolate(spread, list(size), mode="bilinear", align_corners=False)[0]


def _blurred(x: Tensor, radius: int) -> Tensor:
    for _ in range(3):  # three boxes are nearly a Gaussian
        x = F.avg_pool2d(x, 2 * radius + 1, 1, radius, count_include_pad=False)
    return x


@dataclass(frozen=True)
class ColourStatistics:
    """mean and deviation of each channel, in grey levels, (3,)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, frames_FCYX: Tensor) -> ColourStatistics:
        deviation, mean = torch.std_mean(frames_FCYX.float(), dim=(0, 2, 3))
        return cls(mean, deviation)


def match_colours(frames_FCYX: Tensor, target: ColourStatistics) -> Tensor:
    """uint8 frames with each channel's mean and deviation pulled towards the wish's, never by more than MOST_SHIFT and
    MOST_STRETCH: a long film must not drift, but what happens in it may change its colours."""
    current = ColourStatistics.of(frames_FCYX)
    stretch = (target.deviation / current.deviation.clamp(min=1)).clamp(1 / MAX_STRETCH, MAX_STRETCH)
    shift = (target.mean - current.mean).clamp(-MAX_SHIFT, MAX_SHIFT)
    mean, shift, stretch = (v.view(3, 1, 1) for v in (current.mean, shift, stretch))
    moved = (  # frame by frame: all at once took more memory than decoding them
        ((frame_CYX.float() - mean) * stretch + mean + shift).round().clamp(0, 255).to(torch.uint8)
        for frame_CYX in frames_FCYX
    )
    return torch.stack(list(moved))
