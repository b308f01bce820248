"""Preprocessing for Wan's CLIP image encoder: what transformers' ``CLIPImageProcessor`` does by default."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images (arXiv 2103.00020), in RGB
STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess(image_YXC: np.ndarray) -> Tensor:
    """Resize, centre-crop and normalise an image: (1, 3, 224, 224) float32.

    image_YXC: uint8 RGB, at least a pixel along each side. Its shorter side becomes 224 (bicubic), the longer one in
    proportion, rounded down; the middle square is kept, less CLIP's mean and over its deviation.
    """
    height, width = image_YXC.shape[:2]
    short_side = min(height, width)
    size = SIDE * width // short_side, SIDE * height // short_side
    resized = np.asarray(Image.fromarray(image_YXC).resize(size, Image.Resampling.BICUBIC))
    y, x = (size[1] - SIDE) // 2, (size[0] - SIDE) // 2
    cropped = resized[y : y + SIDE, x : x + SIDE] / 255
    normalised = (cropped.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(normalised.transpose(2, 0, 1)[None].copy())
