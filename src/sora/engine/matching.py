"""Matching a window's colours, contrast and sharpness to those of the first one of its shot, so that a long film does
not drift: what a window does to them would be handed on to the next, which does it again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SHIFT, MAX_STRETCH = 16.0, 1.15  # limits of a colour correction: of the mean in grey levels, of the contrast
SHARPNESS_TOLERANCE = 1.05  # the factor of sharpness that is left alone
MAX_DETAIL = 1.4  # the factor by which fine detail is strengthened or weakened at most
BLURS = 3  # that leave a frame without its fine detail
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Statistics:
    """Of a window's frames. mean, deviation: of brightness, red less brightness and blue less brightness, in grey
    levels, (3,). sharpness: the mean square of the Laplacian of the brightness, in grey levels squared."""

    mean: Tensor
    deviation: Tensor
    sharpness: float

    @classmethod
    def of(cls, frames_FCYX: Tensor) -> Statistics:
        mean, square, sharpness = torch.zeros(3), torch.zeros(3), 0.0
        for frame_CYX in frames_FCYX:  # all at once took more memory than decoding them
            parts, share = _to_parts(frame_CYX), 1 / len(frames_FCYX)
            mean += share * parts.mean(dim=(1, 2))
            square += share * parts.square().mean(dim=(1, 2))
            sharpness += share * _laplacian(frame_CYX).square().mean().item()
        return cls(mean, (square - mean.square()).clamp(min=0).sqrt(), sharpness)


def recorded(chunks: Iterator[Tensor], group: int, statistics: dict[int, Statistics]) -> Iterator[Tensor]:
    """Pass the chunks on, and record their statistics as the target of later windows of the same colour group."""
    chunks_seen: list[Tensor] = []
    for chunk in chunks:
        chunks_seen.append(chunk)
        yield chunk
    statistics[group] = Statistics.of(torch.cat(chunks_seen))


def match(frames_FCYX: Tensor, target: Statistics) -> Tensor:
    """The uint8 frames with colours, contrast and sharpness moved towards the target's, within limits: they must not
    drift, but what happens in a film may change them."""
    return match_sharpness(match_colours(frames_FCYX, target), target)


def followed(first: Statistics, source_first: Statistics, source: Statistics) -> Statistics:
    """The target of a later window of an edit, whose source may change by itself: what the edit made of the first
    window, changed as the source has changed since. first: of the first window. source_first, source: of the frames
    that it and the later window started from."""
    contrast = source.deviation / source_first.deviation.clamp(min=1)
    detail = source.sharpness / source_first.sharpness if source_first.sharpness else 1.0
    return Statistics(
        first.mean + source.mean - source_first.mean,
        first.deviation * contrast,
        first.sharpness * detail,
    )


def nearer(target: Statistics, matched_FCYX: Tensor, shown_FCYX: Tensor) -> Statistics | None:
    """A target by which a window comes nearer to the sharpness of ``target`` than with it; None where it is near
    enough. matched: its frames, matched by ``target``. shown: those of them that the film shows, blended."""
    reached = Statistics.of(shown_FCYX).sharpness
    if not reached or target.sharpness / SHARPNESS_TOLERANCE <= reached <= target.sharpness * SHARPNESS_TOLERANCE:
        return None
    return replace(target, sharpness=Statistics.of(matched_FCYX).sharpness * target.sharpness / reached)


def match_colours(frames_FCYX: Tensor, target: Statistics) -> Tensor:
    """uint8 frames with the mean and deviation of brightness and of both differences of colour moved towards the
    target's, by MAX_SHIFT grey levels and a factor of MAX_STRETCH at most."""
    current = Statistics.of(frames_FCYX)
    stretch = (target.deviation / current.deviation.clamp(min=1)).clamp(1 / MAX_STRETCH, MAX_STRETCH)
    shift = (target.mean - current.mean).clamp(-MAX_SHIFT, MAX_SHIFT)
    mean, shift, stretch = (v.view(3, 1, 1) for v in (current.mean, shift, stretch))
    return _each(frames_FCYX, lambda f: _to_colours((_to_parts(f) - mean) * stretch + mean + shift))


def match_sharpness(frames_FCYX: Tensor, target: Statistics) -> Tensor:
    """uint8 frames whose sharpness is within a factor of SHARPNESS_TOLERANCE of the target's, as far as strengthening
    or weakening the finest detail by a factor of MAX_DETAIL does that. Detail is what a small blur removes."""
    detail = _detail_factor(frames_FCYX, target.sharpness)
    if detail == 1:
        return frames_FCYX
    return _each(frames_FCYX, lambda f: f.float() + (detail - 1) * (f.float() - _softened(f)))


def _detail_factor(frames_FCYX: Tensor, target: float) -> float:
    """By how much to multiply the detail of the frames: the Laplacian of a frame plus ``gain`` times its detail has the
    energy own + 2 gain cross + gain^2 fine."""
    own = cross = fine = 0.0
    for frame_CYX in frames_FCYX:
        laplacian, detail = _laplacian(frame_CYX), _laplacian(frame_CYX.float() - _softened(frame_CYX))
        own += laplacian.square().mean().item() / len(frames_FCYX)
        cross += (laplacian * detail).mean().item() / len(frames_FCYX)
        fine += detail.square().mean().item() / len(frames_FCYX)
    wanted = min(max(own, target / SHARPNESS_TOLERANCE), target * SHARPNESS_TOLERANCE)
    if wanted == own or fine == 0:
        return 1.0
    gain = (-cross + math.sqrt(max(0.0, cross**2 - fine * (own - wanted)))) / fine
    return min(max(1 + gain, 1 / MAX_DETAIL), MAX_DETAIL)


def _each(frames_FCYX: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """uint8 frames of what ``change`` makes of each, in grey levels; no frame is in memory twice."""
    changed = torch.empty_like(frames_FCYX)
    for frame_CYX, place in zip(frames_FCYX, changed, strict=True):
        place.copy_(_to_uint8(change(frame_CYX)))
    return changed


def _softened(frame_CYX: Tensor) -> Tensor:
    """A frame blurred by (1 2 1) / 4 in both directions, BLURS times."""
    blurred = F.pad(frame_CYX.float()[None], (BLURS, BLURS, BLURS, BLURS), mode="replicate")[0]
    for _ in range(BLURS):
        rows = (blurred[:, :-2] + 2 * blurred[:, 1:-1] + blurred[:, 2:]) / 4
        blurred = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    return blurred


def _laplacian(frame_CYX: Tensor) -> Tensor:
    """Of the brightness, without the outermost pixels."""
    luma = _luma(frame_CYX.float())
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return 4 * luma[1:-1, 1:-1] - around


def _luma(frame_CYX: Tensor) -> Tensor:
    return (frame_CYX * torch.tensor(LUMA).view(3, 1, 1)).sum(dim=0)


def _to_parts(frame_CYX: Tensor) -> Tensor:
    """(brightness, red less brightness, blue less brightness) of RGB, which vary less together than colours do."""
    colours = frame_CYX.float()
    luma = _luma(colours)
    return torch.stack([luma, colours[0] - luma, colours[2] - luma])


def _to_colours(parts_CYX: Tensor) -> Tensor:
    luma, red, blue = parts_CYX
    red, blue = red + luma, blue + luma
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack([red, green, blue])


def _to_uint8(frame_CYX: Tensor) -> Tensor:
    return frame_CYX.round().clamp(0, 255).to(torch.uint8)
