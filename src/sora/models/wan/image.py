"""A picture as Wan's image encoder wants it: what transformers' ``CLIPImageProcessor`` does by default, with Pillow."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's pictures (arXiv 2103.00020), in RGB
STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess(image_YXC: np.ndarray) -> Tensor:
    """(1, 3, 224, 224) float32: the middle square of the picture, less CLIP's mean, over its deviation.

    image_YXC: uint8 RGB, at least a pixel along each side. Its shorter side becomes 224 (bicubic) and the longer one
    in proportion, rounded down; what is longer is cut evenly at both ends.
    """
    height, width = image_YXC.shape[:2]
    shorter = min(height, width)
    size = SIDE * width // shorter, SIDE * height // shorter
    resized = np.asarray(Image.fromarray(image_YXC).resize(size, Image.Resampling.BICUBIC))
    top, left = (size[1] - SIDE) // 2, (size[0] - SIDE) // 2
    square = resized[top : top + SIDE, left : left + SIDE] / 255
    normal = (square.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())
