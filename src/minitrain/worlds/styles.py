"""Visual styles applied to finished frames: pencil, pixels, neon, watercolour. They look the same at every size."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.299, 0.587, 0.114)
CELL = 4  # 128ths of the short side, of a pixel in the pixel style


def apply_style(frames_FCYX: Tensor, style: str) -> Tensor:
    """(F, 3, Y, X) uint8 to the same in one of scene.STYLES."""
    if style == "flat":
        return frames_FCYX
    unit = min(frames_FCYX.shape[-2:]) / 128
    return STYLE_FILTERS[style](frames_FCYX.float() / 255, unit).mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _blur(x: Tensor, reach: float) -> Tensor:
    """A box blur of ``reach`` pixels to each side, applied twice."""
    k = 2 * max(1, round(reach)) + 1
    for _ in range(2):
        x = F.avg_pool2d(x, k, 1, k // 2, count_include_pad=False)
    return x


def _grey(x: Tensor) -> Tensor:
    return (x * torch.tensor(GREY, device=x.device)[:, None, None]).sum(dim=1, keepdim=True)


def _edges(x: Tensor, unit: float) -> Tensor:
    """(F, 1, Y, X) in [0, 1]: how much the brightness or colour changes within a 128th of the short side."""
    step = max(1, round(unit))
    smooth = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    wide = F.pad(smooth, (step, step, step, step), mode="replicate")
    across = wide[..., step:-step, 2 * step :] - wide[..., step:-step, : -2 * step]
    down = wide[..., 2 * step :, step:-step] - wide[..., : -2 * step, step:-step]
    return (across.abs() + down.abs()).amax(dim=1, keepdim=True).clamp(0, 1)


def _pixel_coordinates(x: Tensor, unit: float) -> tuple[Tensor, Tensor]:
    """Each pixel's (y, x) in 128ths of the short side."""
    height, width = x.shape[-2:]
    rows = (torch.arange(height, device=x.device) + 0.5)[:, None] / unit
    return rows, (torch.arange(width, device=x.device) + 0.5) / unit


@lru_cache(maxsize=64)
def _paper(height: int, width: int, unit: float, device: str) -> Tensor:
    """(1, 1, Y, X) in [-1, 1]: the grain of paper, the same for every film."""
    size = (round(height / unit / 2), round(width / unit / 2))
    grain = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(7)) * 2 - 1
    return F.interpolate(grain, (height, width), mode="bilinear").to(device)


def _pencil(x: Tensor, unit: float) -> Tensor:
    grey, (rows, columns) = _grey(x), _pixel_coordinates(x, unit)
    paper = 0.96 + 0.02 * _paper(x.shape[-2], x.shape[-1], unit, str(x.device))
    one = torch.sin((rows + columns) * 1.7) * 0.5 + 0.5
    other = torch.sin((rows - columns) * 1.7) * 0.5 + 0.5
    shade = one * (0.75 - grey).clamp(0, 1) * 0.5 + other * (0.45 - grey).clamp(0, 1) * 0.4
    line = (_edges(x, 0.6 * unit) * 1.5 - 0.1).clamp(0, 0.75)
    drawn = (paper - 0.12 * (1 - grey) - shade - line).clamp(0.08, 1)
    return drawn * torch.tensor((1.0, 0.99, 0.96), device=x.device)[:, None, None]


def _pixel(x: Tensor, unit: float) -> Tensor:
    size = [max(1, round(side / (CELL * unit))) for side in x.shape[-2:]]
    small = F.interpolate(x, (size[0], size[1]), mode="area")
    return F.interpolate((small * 10).round() / 10, x.shape[-2:], mode="nearest")


def _neon(x: Tensor, unit: float) -> Tensor:
    edges = (_edges(x, unit) * 2.4 - 0.15).clamp(0, 1)
    vivid = x - 0.8 * x.amin(dim=1, keepdim=True)
    vivid = vivid / vivid.amax(dim=1, keepdim=True).clamp_min(0.08)
    line = edges * (0.25 + 0.75 * vivid)
    night = 0.2 * x * torch.tensor((0.8, 0.6, 1.3), device=x.device)[:, None, None]
    night = night + torch.tensor((0.04, 0.01, 0.09), device=x.device)[:, None, None]
    return night + line + 0.9 * _blur(line, 2.5 * unit)


def _watercolour(x: Tensor, unit: float) -> Tensor:
    paper = _paper(x.shape[-2], x.shape[-1], unit, str(x.device))
    wet, far = _blur(x, unit), _blur(x, 3 * unit)
    pooled = wet + 0.5 * (wet - far)  # pigment gathers where a colour ends
    washed = 1 - 0.82 * (1 - (0.8 * pooled + 0.2 * x)) - 0.1 * _edges(wet, unit)
    vivid = washed + 0.25 * (washed - _grey(washed))
    return vivid * (1 + 0.025 * paper) + 0.08 * _blur(paper, 2 * unit)


STYLE_FILTERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "pencil": _pencil,
    "pixel": _pixel,
    "neon": _neon,
    "watercolour": _watercolour,
}
