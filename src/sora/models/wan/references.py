"""Reference pictures as VACE is given them: each whole on a white still of the film's size."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sora.engine.canvas import Canvas

MULTIPLE = 8  # a picture's sides are brought to multiples of it first


def still_of(picture_CYX: Tensor, canvas: Canvas) -> Tensor:
    """A reference, uint8 RGB (3, y, x), as a still (1, 3, 1, Y, X) in [-1, 1] of the canvas's size: as large as fits,
    in the middle of white. Resized twice, as diffusers' ``WanVACEPipeline`` does."""
    _, height, width = canvas.shape
    picture = _in_multiples(picture_CYX).float() / 127.5 - 1
    scale = min(height / picture.shape[1], width / picture.shape[2])
    fitted = int(picture.shape[1] * scale), int(picture.shape[2] * scale)
    resized = F.interpolate(picture[None], fitted, mode="bilinear", align_corners=False)[0]
    still = torch.ones(3, height, width)
    top, left = (height - fitted[0]) // 2, (width - fitted[1]) // 2
    still[:, top : top + fitted[0], left : left + fitted[1]] = resized
    return still[None, :, None]


def _in_multiples(picture_CYX: Tensor) -> Tensor:
    height, width = (max(MULTIPLE, side // MULTIPLE * MULTIPLE) for side in picture_CYX.shape[1:])
    if (height, width) == tuple(picture_CYX.shape[1:]):
        return picture_CYX
    image = Image.fromarray(picture_CYX.permute(1, 2, 0).contiguous().numpy())
    resized = image.resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)
