"""Canvases and frames at another size, and parts of them."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sora.engine.canvas import Canvas
from sora.plan.crop import Crop


def crop_canvas(canvas: Canvas, crop: Crop) -> Canvas:
    """The part of the canvas inside the crop."""
    rows, columns = crop.slices
    guides, control = canvas.guides, canvas.guides.control_FCYX
    if control is not None:
        guides = replace(guides, control_FCYX=control[..., rows, columns])
    return Canvas(canvas.frames_FCYX[..., rows, columns], canvas.known_F1YX[..., rows, columns], canvas.fps, guides)


def to_uint8(chunk_FCYX: Tensor, size: tuple[int, int]) -> Tensor:
    """Convert frames in [-1, 1] to uint8 on the CPU, at ``size``; rounded on their device, to move one byte a
    number."""
    if chunk_FCYX.shape[-2:] != torch.Size(size):
        chunk_FCYX = resize(chunk_FCYX.float().cpu(), size)
    return ((chunk_FCYX.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def resize_canvas(canvas: Canvas, size: tuple[int, int]) -> Canvas:
    """Resize a canvas to (height, width). A pixel is known where all the pixels that it covers are known."""
    if canvas.shape[1:] == size:
        return canvas
    guides, control = canvas.guides, canvas.guides.control_FCYX
    if control is not None:
        guides = replace(guides, control_FCYX=_resize_uint8(control, size))
    frames = _resize_uint8(canvas.frames_FCYX, size)
    unknown = F.interpolate((~canvas.known_F1YX).float(), size, mode="area")
    # "area" takes the nearest pixel alone when it enlarges, and all that are covered when it shrinks.
    return Canvas(frames, unknown == 0, canvas.fps, guides)


def _resize_uint8(frames_FCYX: Tensor, size: tuple[int, int]) -> Tensor:
    return resize(frames_FCYX.float(), size).round().clamp(0, 255).to(torch.uint8)


def resize(frames_FCYX: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize float frames to (height, width): bicubic, antialiased."""
    if frames_FCYX.shape[-2:] == torch.Size(size):
        return frames_FCYX
    pieces = [F.interpolate(f[None], size, mode="bicubic", antialias=True) for f in frames_FCYX]  # memory stays flat
    return torch.cat(pieces)
