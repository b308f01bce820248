"""Image corruptions that destroy the subject of rendered frames: warped, duplicated, erased in part, blended with
another.

The renderer knows where the subject stands, so only the subject is corrupted. Strong corruptions label a subject as
broken; ``corrupt_mildly`` applies defects within what a viewer forgives, and its pictures still count as whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain.judge_data import Frames

Corruption = Callable[[Frames], Tensor]


def corrupt(frames: Frames) -> Tensor:
    """(N, 3, SIDE, SIDE): each picture with one of CORRUPTIONS, a third of them with two."""
    x = _apply_random(frames, CORRUPTIONS)
    again = torch.rand(len(x), device=x.device) < 1 / 3
    twice = _apply_random(Frames(x, frames.background, frames.cover, frames.labels), CORRUPTIONS)
    return torch.where(again.view(-1, 1, 1, 1), twice, x)


def subject_difference(frames: Frames, pixels: Tensor) -> Tensor:
    """(N,): mean absolute difference of ``pixels`` from the frames' own over the subject, in [0, 2]."""
    far = (pixels - frames.pixels).abs().mean(dim=1, keepdim=True)
    return (far * _soft_mask(frames.cover)).sum(dim=(1, 2, 3)) / frames.cover.sum(dim=(1, 2, 3)).clamp_min(1)


def corrupt_mildly(frames: Frames) -> Tensor:
    """(N, 3, SIDE, SIDE): each picture with a defect that leaves its subject whole."""
    return _apply_random(frames, MILD_CORRUPTIONS)


def _apply_random(frames: Frames, corruptions: tuple[Corruption, ...]) -> Tensor:
    """Apply one corruption, drawn at random, to each picture."""
    out, drawn = frames.pixels.clone(), torch.randint(len(corruptions), (len(frames.pixels),))
    for i, corruption in enumerate(corruptions):
        chosen = (drawn == i).nonzero()[:, 0].to(out.device)
        if len(chosen):
            part = Frames(*(x[chosen] for x in (frames.pixels, frames.background, frames.cover, frames.labels)))
            out[chosen] = corruption(part)
    return out


# Where and how large ------------------------------------------------------------------------------------------------


def _subject_side(cover: Tensor) -> Tensor:
    """(N, 1, 1, 1): the side in pixels of a square of the subject's area, at least 8."""
    return cover.sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(8.0)


def _soft_mask(cover: Tensor) -> Tensor:
    """The subject's mask, dilated by a few pixels, with a soft edge."""
    return F.avg_pool2d(F.max_pool2d(cover, 7, 1, 3), 5, 1, 2)


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """(N, 1, 1, 1) random numbers."""
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device)


def _smooth_noise(x: Tensor, channels: int, low: int, high: int) -> Tensor:
    """(N, channels, Y, X): smooth noise of unit scale, from a grid of ``low`` to ``high`` cells a side."""
    cells = int(torch.randint(low, high + 1, ()))
    noise = torch.randn(len(x), channels, cells, cells, device=x.device)
    return F.interpolate(noise, x.shape[-2:], mode="bicubic", align_corners=False)


def _displace(x: Tensor, moved_N2YX: Tensor) -> Tensor:
    """The pictures sampled with a displacement in pixels (right, down); outside the picture the edge is repeated."""
    height, width = x.shape[-2:]
    theta = torch.eye(2, 3, device=x.device).expand(len(x), -1, -1)
    grid = F.affine_grid(theta, [len(x), 1, height, width], align_corners=False)
    scale = torch.tensor([2 / width, 2 / height], device=x.device)
    return F.grid_sample(x, grid + moved_N2YX.permute(0, 2, 3, 1) * scale, padding_mode="border", align_corners=False)


def _random_patch(cover: Tensor, low: float, high: float) -> Tensor:
    """(N, 1, Y, X) in [0, 1]: smooth patches that cover a random share of the subject, between ``low`` and ``high``."""
    field, inside = _smooth_noise(cover, 1, 4, 8), cover > 0.5
    ranked = field.masked_fill(~inside, -math.inf).flatten(1).sort(dim=1, descending=True).values
    share = low + (high - low) * torch.rand(len(cover), 1, device=cover.device)
    inside_count = inside.flatten(1).sum(dim=1, keepdim=True)
    edge = ranked.gather(1, (share * (inside_count - 1).clamp_min(0)).long())
    edge = torch.where(inside_count > 0, edge, field.flatten(1).amax(dim=1, keepdim=True)).view(-1, 1, 1, 1)
    return ((field - edge) * 4 * 6 ** torch.rand(len(cover), 1, 1, 1, device=cover.device)).sigmoid()


# Ways to break ------------------------------------------------------------------------------------------------------


def warp(frames: Frames, low: float = 0.1, high: float = 0.24) -> Tensor:
    """Warp the subject by smooth noise, of ``low`` to ``high`` shares of its side."""
    reach = _uniform(frames.pixels, low, high) * _subject_side(frames.cover)
    moved = _displace(frames.pixels, _smooth_noise(frames.pixels, 2, 6, 12) * reach)
    return frames.pixels.lerp(moved, _soft_mask(frames.cover))


def shuffle_tiles(frames: Frames) -> Tensor:
    """Cut the subject into square tiles and exchange them."""
    out = frames.pixels.clone()
    for i, (picture, cover) in enumerate(zip(frames.pixels, frames.cover, strict=True)):
        side = (8, 12, 16)[int(torch.randint(3, ()))]
        rows, columns = picture.shape[1] // side, picture.shape[2] // side
        cells = picture.unflatten(2, (columns, side)).unflatten(1, (rows, side)).permute(1, 3, 0, 2, 4).flatten(0, 1)
        on_subject = (F.avg_pool2d(cover[None], side).flatten() > 0.25).nonzero()[:, 0]
        mixed = cells.clone()
        mixed[on_subject] = cells[on_subject[torch.randperm(len(on_subject), device=on_subject.device)]]
        back = mixed.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
        out[i] = back
    soft = F.avg_pool2d(out, 3, 1, 1, count_include_pad=False)
    return out.lerp(soft, _uniform(out, 0.3, 1.0) * _soft_mask(frames.cover))


def duplicate(frames: Frames) -> Tensor:
    """Paste a second copy of the subject, or of a part of it, over the first."""
    x, cover = frames.pixels, frames.cover
    angle, far = _uniform(x, 0, 2 * math.pi), _uniform(x, 0.35, 0.8) * _subject_side(cover)
    shift = torch.cat([angle.cos(), angle.sin()], dim=1) * far
    moved = shift.expand(-1, -1, *x.shape[-2:])
    if torch.rand(()) < 0.3:
        x, cover = x.flip(-1), cover.flip(-1)
    part = _displace(cover, moved) * _random_patch(_displace(cover, moved), 0.5, 1.0)
    return frames.pixels.lerp(_displace(x, moved), part)


def erase(frames: Frames, low: float = 0.35, high: float = 0.7) -> Tensor:
    """Erase parts of the subject: the background shows there. low, high: the erased share."""
    gone = _random_patch(frames.cover, low, high) * _soft_mask(frames.cover)
    return frames.pixels.lerp(frames.background, gone)


def _centre(cover: Tensor) -> Tensor:
    """(N, 2): right and down, in pixels."""
    height, width = cover.shape[-2:]
    across = torch.arange(width, device=cover.device) * cover.sum(dim=(1, 2))
    down = torch.arange(height, device=cover.device) * cover.sum(dim=(1, 3))
    return torch.stack([across.sum(dim=1), down.sum(dim=1)], dim=1) / cover.sum(dim=(1, 2, 3)).clamp_min(1)[:, None]


def blend_with_another(frames: Frames) -> Tensor:
    """Replace about half of the subject with that of the next picture in the batch; erase parts of it if there is
    none."""
    if len(frames.pixels) < 2:
        return erase(frames)
    order = torch.arange(len(frames.pixels), device=frames.pixels.device).roll(1)
    x, cover = frames.pixels[order], frames.cover[order]
    moved = (_centre(cover) - _centre(frames.cover))[:, :, None, None].expand(-1, -1, *x.shape[-2:])
    other, there = _displace(x, moved), _displace(cover, moved)
    part = _random_patch(frames.cover, 0.35, 0.65) * torch.maximum(there, frames.cover * 0.5)
    return frames.pixels.lerp(other, part)


def smear(frames: Frames) -> Tensor:
    """Blur the subject over a fifth of its size, then give it new edges by noise."""
    x, span = frames.pixels, _subject_side(frames.cover)
    moved = [_displace(x, _smooth_noise(x, 2, 10, 16) * 0.12 * span) for _ in range(3)]
    soft = torch.stack(moved).mean(dim=0)
    soft = F.avg_pool2d(soft, 5, 1, 2, count_include_pad=False)
    rough = _displace(soft, _smooth_noise(x, 2, 14, 24) * 0.08 * span)
    rough = rough + 0.25 * _smooth_noise(x, 3, 12, 24) * _uniform(x, 0.0, 1.0)
    return x.lerp(rough, _soft_mask(frames.cover))


def _repeat_part(frames: Frames) -> Tensor:
    """Paste a part of the subject over another part of it."""
    x, cover = frames.pixels, frames.cover
    moved = torch.randn(len(x), 2, 1, 1, device=x.device) * 0.4 * _subject_side(cover)
    part = _random_patch(cover, 0.3, 0.6) * cover
    return x.lerp(_displace(x, moved.expand(-1, -1, *x.shape[-2:])), part)


CORRUPTIONS: tuple[Corruption, ...] = (warp, shuffle_tiles, duplicate, erase, blend_with_another, smear, _repeat_part)


def fray_edges(frames: Frames) -> Tensor:
    """Displace the subject's edges alone."""
    edge = _soft_mask(frames.cover) * (1 - F.avg_pool2d((frames.cover > 0.5).float(), 7, 1, 3) ** 4)
    return frames.pixels.lerp(_displace(frames.pixels, _smooth_noise(frames.pixels, 2, 12, 24) * 1.8), edge)


MILD_CORRUPTIONS: tuple[Corruption, ...] = (
    lambda frames: warp(frames, 0.0, 0.025),
    lambda frames: erase(frames, 0.0, 0.05),
    fray_edges,
)
