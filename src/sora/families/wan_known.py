"""The four ways in which known regions reach a Wan transformer.

To add one: a function from a ``Scene`` to a ``Way``, and a row in ``WAYS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from sora.canvas import Canvas, Latents
from sora.families.known import known_channels, known_frames
from sora.grid import Grid


@dataclass(frozen=True)
class Scene:
    """What there is to tell: a canvas and its latents, and what they were made with."""

    canvas: Canvas
    latents: Latents
    encode: Callable[[Canvas], Latents]
    grid: Grid


@dataclass(frozen=True)
class Way:
    """What one canvas's known regions add to every pass.

    beside: (1, C, T, H, W) channels behind the state's. control: (1, C, T, H, W) for a branch of its own. held: known
    cells that are led along the straight path to where they belong, whatever the network says of them, so that any
    step rule arrives there. patch: where the network is told of held cells: they stand clean in its sight and their
    tokens, so many cells wide, are at time 0; None where it is not told.
    """

    beside: Tensor | None = None
    control: Tensor | None = None
    held: Latents | None = None
    patch: int | None = None

    def given(self, x: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """The transformer's latents and times for the sampler's state and time: (B, C, T, H, W), and (B,) or (B, N) in
        thousandths. units: 0-d."""
        batch = x.shape[0]
        if self.held is not None and self.patch is not None:
            unknown = self.held.unknown_B1THW
            times = unknown[:, 0, :, :: self.patch, :: self.patch] * units
            return torch.where(unknown > 0, x, self.held.clean_BCTHW), times.flatten(1).expand(batch, -1)
        if self.beside is not None:
            x = torch.cat([x, self.beside.to(x).expand(batch, -1, -1, -1, -1)], dim=1)
        return x, units.expand(batch)

    def settled(self, x: Tensor, t: Tensor, flow: Tensor) -> Tensor:
        """The velocity that the sampler sees, out of the network's."""
        if self.held is None:
            return flow
        return torch.where(self.held.unknown_B1THW > 0, flow, (x - self.held.clean_BCTHW) / t)


def put_back(scene: Scene) -> Way:
    """For weights that know text alone: known cells are at every time where the run's own noise would have them."""
    return Way(held=scene.latents)


def per_token(scene: Scene) -> Way:
    """Time by the token (Wan 2.2 TI2V-5B, SkyReels-V2-DF). A token of which any cell is unknown is painted whole."""
    patch, latents = scene.grid.patch, scene.latents
    pooled = F.max_pool3d(latents.unknown_B1THW, (1, patch, patch))
    unknown = pooled.repeat_interleave(patch, dim=3).repeat_interleave(patch, dim=4)
    return Way(held=Latents(latents.clean_BCTHW, unknown), patch=patch)


def channels(scene: Scene) -> Way:
    """Channels that say which frames of a cell are known, and the known latents (Wan I2V, FLF2V, Fun-InP)."""
    clean = scene.latents.clean_BCTHW
    known = known_channels(known_frames(scene.canvas), scene.grid.space, scene.grid.time)
    return Way(beside=torch.cat([known.to(clean), clean], dim=1))


def control(scene: Scene) -> Way:
    """A branch of its own sees what stays (inactive), what is painted over (reactive) and the mask, a channel for each
    pixel of a cell, 1 where paint goes (VACE, arXiv 2503.07598). Only here is known-ness turned into that mask."""
    clean, space = scene.latents.clean_BCTHW, scene.grid.space
    nothing = Canvas(scene.canvas.frames_FCYX, torch.zeros_like(scene.canvas.known_F1YX), scene.canvas.fps)
    reactive = scene.encode(nothing).clean_BCTHW
    paint = (~known_frames(scene.canvas)).to(clean)
    cells = rearrange(paint, "b 1 f (h p) (w q) -> b (p q) f h w", p=space, q=space)
    cells = F.interpolate(cells, clean.shape[2:], mode="nearest-exact")
    return Way(control=torch.cat([clean, reactive.to(clean), cells], dim=1))


WAYS: dict[str, Callable[[Scene], Way]] = {
    "renoise": put_back,
    "tokens": per_token,
    "channels": channels,
    "control": control,
}
