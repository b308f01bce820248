"""Augmentations that make rendered clips look generated, so that the judge does not depend on the renderer's
crispness."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(x: Tensor) -> Tensor:
    """Clips with the defects of a generative model and of a video codec, each defect in half of them: (B, F, 3, Y, X)
    in about [-1, 1]."""
    for defect, strength in ((_blend_in_time, 0.5), (_blur, 1.0), (_blocky, 0.4), (_subsample_chroma, 1.0)):
        x = _on_half(x, defect, strength)
    x = _on_half(x, _zoom_and_shift, None)
    x = _on_half(x, lambda some: some + 0.08 * torch.randn_like(some), 1.0)
    light = 1 + 0.1 * torch.randn(len(x), 1, 1, 1, 1, device=x.device)
    return x * light + 0.05 * torch.randn(len(x), 1, 3, 1, 1, device=x.device)


def _on_half(x: Tensor, defect: Callable[[Tensor], Tensor], strength: float | None) -> Tensor:
    """Apply ``defect`` to half of the clips, mixed in by up to ``strength``; fully if that is None."""
    chosen = torch.randperm(len(x), device=x.device)[: (len(x) + 1) // 2]
    some = x[chosen]
    defective = defect(some)
    if strength is not None:
        defective = some.lerp(defective, strength * torch.rand(len(some), 1, 1, 1, 1, device=x.device))
    return x.index_copy(0, chosen, defective)


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)


def _blocky(x: Tensor) -> Tensor:
    """Replace squares of four pixels by their mean."""
    return F.interpolate(F.avg_pool2d(x.flatten(0, 1), 4), scale_factor=4.0).view_as(x)


def _blend_in_time(x: Tensor) -> Tensor:
    """Mix each frame with the one before and the one after."""
    before, after = torch.cat([x[:, :1], x[:, :-1]], dim=1), torch.cat([x[:, 1:], x[:, -1:]], dim=1)
    return (x + 0.5 * before + 0.5 * after) / 2


def _subsample_chroma(x: Tensor) -> Tensor:
    """Halve the resolution of the colours and keep that of the brightness, as 4:2:0 does."""
    grey = x.mean(dim=2, keepdim=True)
    half = F.avg_pool2d((x - grey).flatten(0, 1), 2)
    return grey + F.interpolate(half, scale_factor=2.0).view_as(x)


def _zoom_and_shift(x: Tensor) -> Tensor:
    """Magnify clips by up to a tenth and shift them by up to three pixels, each by its own amount; the edge is repeated
    outside the picture."""
    batch, frames, _, height, width = x.shape
    zoom = 1 + 0.1 * (2 * torch.rand(batch, 2, device=x.device) - 1)
    shift = 6 / width * (2 * torch.rand(batch, 2, device=x.device) - 1)
    theta = torch.cat([torch.diag_embed(zoom), shift[..., None]], dim=2)
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    flat = x.flatten(1, 2)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).unflatten(1, (frames, 3))
