"""Rendered clips made as rough as painted ones, so that the judge does not hang on the renderer's crispness."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def roughened(x: Tensor) -> Tensor:
    """Clips as a model might have painted and a codec have kept them: each defect in half of them,
    (B, F, 3, Y, X) in about [-1, 1]."""
    for spoil, most in ((_smeared, 0.5), (_blurred, 1.0), (_in_blocks, 0.4), (_coarse_colours, 1.0)):
        x = _some(x, spoil, most)
    x = _some(x, _moved_a_little, None)
    x = _some(x, lambda some: some + 0.08 * torch.randn_like(some), 1.0)
    light = 1 + 0.1 * torch.randn(len(x), 1, 1, 1, 1, device=x.device)
    return x * light + 0.05 * torch.randn(len(x), 1, 3, 1, 1, device=x.device)


def _some(x: Tensor, spoil: Callable[[Tensor], Tensor], most: float | None) -> Tensor:
    """Half of the clips, each mixed with what ``spoil`` makes of it by up to ``most``; wholly that where None."""
    chosen = torch.randperm(len(x), device=x.device)[: (len(x) + 1) // 2]
    some = x[chosen]
    spoilt = spoil(some)
    if most is not None:
        spoilt = some.lerp(spoilt, most * torch.rand(len(some), 1, 1, 1, 1, device=x.device))
    return x.index_copy(0, chosen, spoilt)


def _blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)


def _in_blocks(x: Tensor) -> Tensor:
    """Cells of a latent as flat squares."""
    return F.interpolate(F.avg_pool2d(x.flatten(0, 1), 4), scale_factor=4.0).view_as(x)


def _smeared(x: Tensor) -> Tensor:
    """Each frame mixed with the one before and the one after."""
    before, after = torch.cat([x[:, :1], x[:, :-1]], dim=1), torch.cat([x[:, 1:], x[:, -1:]], dim=1)
    return (x + 0.5 * before + 0.5 * after) / 2


def _coarse_colours(x: Tensor) -> Tensor:
    """Colours at half the resolution under full brightness, as 4:2:0 keeps them."""
    grey = x.mean(dim=2, keepdim=True)
    half = F.avg_pool2d((x - grey).flatten(0, 1), 2)
    return grey + F.interpolate(half, scale_factor=2.0).view_as(x)


def _moved_a_little(x: Tensor) -> Tensor:
    """Clips magnified by up to a tenth and shifted by up to three pixels, each by its own, beyond the edge as at it."""
    batch, frames, _, height, width = x.shape
    zoom = 1 + 0.1 * (2 * torch.rand(batch, 2, device=x.device) - 1)
    shift = 6 / width * (2 * torch.rand(batch, 2, device=x.device) - 1)
    theta = torch.cat([torch.diag_embed(zoom), shift[..., None]], dim=2)
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    flat = x.flatten(1, 2)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).unflatten(1, (frames, 3))
