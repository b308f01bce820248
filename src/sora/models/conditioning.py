"""What a canvas knows, as latents see it: the same for every family whose autoencoder packs ``time`` frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from sora.engine.canvas import Canvas


def known_latent_mask(known_B1FYX: Tensor, space: int, time: int = 4) -> Tensor:
    """(B, time, T, H, W) float: for each latent cell of ``space`` pixels, which of its frames are known in all. The
    first frame, which has a latent to itself, stands for all of that latent's."""
    first = known_B1FYX[:, :, :1].expand(-1, -1, time - 1, -1, -1)
    whole = torch.cat([first, known_B1FYX], dim=2).float()
    cells = -F.max_pool3d(-whole, (1, space, space))
    return rearrange(cells, "b 1 (t f) h w -> b f t h w", f=time)


def known_pixel_mask(canvas: Canvas) -> Tensor:
    """(1, 1, F, Y, X) bool: the canvas's known pixels, in the order networks want."""
    return canvas.known_F1YX.permute(1, 0, 2, 3)[None]


def masked_video(canvas: Canvas) -> Tensor:
    """(1, 3, F, Y, X) float in [-1, 1], unknown pixels grey."""
    pixels = torch.where(canvas.known_F1YX, canvas.frames_FCYX / 127.5 - 1, torch.zeros(()))
    return rearrange(pixels, "f c y x -> 1 c f y x")
