"""Composites sprites onto clips, in batches on any device: each sprite is sampled from its atlas inside a small box a
frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

OUTSIDE = -9.0  # a sampling coordinate that finds only transparency


@dataclass(frozen=True)
class RenderTarget:
    """frames_BFCYX: uint8 RGB. opacity_BFRYX: uint8, the visible opacity of each role."""

    frames_BFCYX: Tensor
    opacity_BFRYX: Tensor


@dataclass(frozen=True)
class SpriteBatch:
    """N sprites through the F frames of their clips. clip_N: which clip. pose_NFP: x, y, side in pixels, angle in
    radians counter-clockwise. source_NFP: x, y, side in pixels of the picture in the atlas. flip_N: -1 to mirror, 1 as
    it is. role_N: which opacity channel it writes."""

    atlas_NCAW: Tensor
    clip_N: Tensor
    pose_NFP: Tensor
    source_NFP: Tensor
    flip_N: Tensor
    role_N: Tensor


def box_corners(pose_NFP: Tensor, box: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Top left (y, x) of each sprite's box, kept inside the picture."""
    y = (pose_NFP[..., 1] - box[0] / 2).round().clamp(0, size[0] - box[0])
    x = (pose_NFP[..., 0] - box[1] / 2).round().clamp(0, size[1] - box[1])
    return torch.stack([y, x], dim=-1).long()


def sample_sprites(stamps: SpriteBatch, corner_NF2: Tensor, box: tuple[int, int]) -> Tensor:
    """(N, F, 4, *box) float in [0, 255]: the sprites as they appear in their boxes, premultiplied RGBA."""
    device, (n, f) = corner_NF2.device, corner_NF2.shape[:2]
    y = corner_NF2[..., 0, None] + torch.arange(box[0], device=device) + 0.5 - stamps.pose_NFP[..., 1, None]
    x = corner_NF2[..., 1, None] + torch.arange(box[1], device=device) + 0.5 - stamps.pose_NFP[..., 0, None]
    angle, side = stamps.pose_NFP[..., 3], stamps.pose_NFP[..., 2].clamp(min=1e-6)
    cos, sin = (angle.cos() / side)[..., None, None], (angle.sin() / side)[..., None, None]
    x, y = x[:, :, None, :], y[:, :, :, None]
    u, v = (x * cos - y * sin) * stamps.flip_N[:, None, None, None], x * sin + y * cos
    inside = (u.abs() <= 0.5) & (v.abs() <= 0.5)
    left, top, edge = (stamps.source_NFP[..., i, None, None] for i in range(3))
    high, wide = stamps.atlas_NCAW.shape[-2:]
    grid_x = torch.where(inside, (left + (u + 0.5) * edge) * (2 / wide) - 1, OUTSIDE)
    grid_y = torch.where(inside, (top + (v + 0.5) * edge) * (2 / high) - 1, OUTSIDE)
    grid = torch.stack([grid_x, grid_y], dim=-1).reshape(n, f * box[0], box[1], 2)
    found = F.grid_sample(stamps.atlas_NCAW.float(), grid, padding_mode="zeros", align_corners=False)
    return found.reshape(n, 4, f, *box).transpose(1, 2)


def paste(clips: RenderTarget, stamps: SpriteBatch, box: tuple[int, int]) -> None:
    """Composite the sprites over the clips, in place. No two of the N may be of one clip. box: (height, width) that
    each sprite fits in, at most the clips' own."""
    size = clips.frames_BFCYX.shape[-2:]
    corner = box_corners(stamps.pose_NFP, box, (size[0], size[1]))
    sampled = sample_sprites(stamps, corner, box)
    composite_over(clips.frames_BFCYX, sampled[:, :, :3], sampled[:, :, 3:], stamps.clip_N, corner)
    own = torch.arange(clips.opacity_BFRYX.shape[2], device=sampled.device) == stamps.role_N[:, None]
    marks = sampled[:, :, 3:] * own[:, None, :, None, None]
    composite_over(clips.opacity_BFRYX, marks, sampled[:, :, 3:], stamps.clip_N, corner)


def composite_over(
    canvas_BFCYX: Tensor, look_NFCYX: Tensor, alpha_NF1YX: Tensor, clip_N: Tensor, corner_NF2: Tensor
) -> None:
    """canvas = sprite + (1 - alpha) * canvas inside the boxes, rounded to 8 bits, in place."""
    if canvas_BFCYX.device.type == "cpu":
        _composite_slices(canvas_BFCYX, look_NFCYX, alpha_NF1YX, clip_N, corner_NF2)
        return
    _, frames, channels, height, width = canvas_BFCYX.shape
    device, box = canvas_BFCYX.device, look_NFCYX.shape[-2:]
    rows = corner_NF2[..., 0, None] + torch.arange(box[0], device=device)
    columns = corner_NF2[..., 1, None] + torch.arange(box[1], device=device)
    frame = clip_N[:, None] * frames + torch.arange(frames, device=device)
    plane = frame[:, :, None] * channels + torch.arange(channels, device=device)
    index = ((plane[..., None] * height + rows[:, :, None]) * width)[..., None] + columns[:, :, None, None]
    flat, index = canvas_BFCYX.view(-1), index.reshape(-1)
    under = flat.gather(0, index).view(look_NFCYX.shape)
    mixed = look_NFCYX + under * (1 - alpha_NF1YX / 255)
    flat.scatter_(0, index, mixed.round_().clamp_(0, 255).to(torch.uint8).reshape(-1))


def _composite_slices(canvas: Tensor, look: Tensor, alpha: Tensor, clips: Tensor, corner: Tensor) -> None:
    """The same, box by box: a CPU copies slices five times faster than it gathers single pixels."""
    height, width = look.shape[-2:]
    rest = 1 - alpha / 255
    for n, clip in enumerate(clips.tolist()):
        for f, (y, x) in enumerate(corner[n].tolist()):
            under = canvas[clip, f, :, y : y + height, x : x + width]
            under.copy_((under * rest[n, f]).add_(look[n, f]).round_().clamp_(0, 255))
