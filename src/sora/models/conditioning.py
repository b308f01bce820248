"""The known pixels of a canvas, as the inputs of a network: shared by all families with a causal video VAE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from sora.engine.canvas import Canvas


def known_latent_mask(known_B1FYX: Tensor, space: int, time: int = 4) -> Tensor:
    """Pack a mask of known pixels into latents: (B, time, T, H, W) float, 1 where all of the space x space pixels that
    the latent covers in that frame are known. The first frame, which has a latent of its own, fills all of that
    latent's ``time`` channels."""
    first = known_B1FYX[:, :, :1].expand(-1, -1, time - 1, -1, -1)
    known = torch.cat([first, known_B1FYX], dim=2).float()
    packed = -F.max_pool3d(-known, (1, space, space))
    return rearrange(packed, "b 1 (t f) h w -> b f t h w", f=time)


def known_pixel_mask(canvas: Canvas) -> Tensor:
    """The canvas's mask of known pixels with its axes in the order of networks: (1, 1, F, Y, X) bool."""
    return canvas.known_F1YX.permute(1, 0, 2, 3)[None]


def masked_video(canvas: Canvas) -> Tensor:
    """The canvas's frames with the unknown pixels grey (0): (1, 3, F, Y, X) float in [-1, 1]."""
    pixels = torch.where(canvas.known_F1YX, canvas.frames_FCYX / 127.5 - 1, torch.zeros(()))
    return rearrange(pixels, "f c y x -> 1 c f y x")
