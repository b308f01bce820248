"""The four ways in which known regions reach a Wan transformer.

To add one: a function from a ``Scene`` to a ``Way``, and a row in ``WAYS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from sora.engine.canvas import Canvas, Latents
from sora.models.conditioning import known_latent_mask, known_pixel_mask
from sora.networks.wan.blocks import Runs
from sora.networks.wan.dit import Times
from sora.plan.grid import Grid

MAX_RUNS = 32  # of tokens that share a time; where there are more, each token says which it has


@dataclass(frozen=True)
class ConditioningInputs:
    """What there is to tell: a canvas and its latents, and what they were made with."""

    canvas: Canvas
    latents: Latents
    encode: Callable[[Canvas], Latents]
    grid: Grid


@dataclass(frozen=True)
class Conditioning:
    """What one canvas's known regions add to every pass.

    beside: (1, C, T, H, W) channels behind the state's. control: (1, C, T, H, W) for a branch of its own. held: known
    cells that are led along the straight path to where they belong, whatever the network says of them, so that any
    step rule arrives there. patch: where the network is told of held cells: they stand clean in its sight and their
    tokens, so many cells wide, are at time 0; None where it is not told. shares: whether times that tokens share are
    given once.
    """

    concat_latents: Tensor | None = None
    control_latents: Tensor | None = None
    known_latents: Latents | None = None
    patch: int | None = None
    share_timesteps: bool = True

    def model_input(self, x: Tensor, units: int) -> tuple[Tensor, Tensor | Times]:
        """The transformer's latents (B, C, T, H, W) and times for the sampler's state and time. units: in
        thousandths."""
        batch = x.shape[0]
        if self.known_latents is not None and self.patch is not None:
            return torch.where(self.known_latents.unknown_B1THW > 0, x, self.known_latents.clean_BCTHW), self._times(
                units
            )
        if self.concat_latents is not None:
            x = torch.cat([x, self.concat_latents.to(x).expand(batch, -1, -1, -1, -1)], dim=1)
        return x, torch.full((batch,), units, device=x.device)

    def _times(self, units: int) -> Tensor | Times:
        """Of known tokens 0."""
        known_N = self._known_N
        if not self.share_timesteps:
            return ((1 - known_N) * units)[None]
        distinct = torch.full((1, 2), units, device=known_N.device)
        distinct[:, 1] = 0
        if isinstance(self._runs, tuple) and len(self._runs) == 1:
            return distinct[:, self._runs[0][2]]
        return Times(distinct, self._runs)

    @cached_property
    def _known_N(self) -> Tensor:
        """By token, 1 where it is known."""
        assert self.known_latents is not None
        return (self.known_latents.unknown_B1THW[0, 0, :, :: self.patch, :: self.patch].flatten() == 0).long()

    @cached_property
    def _runs(self) -> Runs:
        """Tokens at the run's time (0) and at time 0 (1)."""
        values, counts = self._known_N.cpu().unique_consecutive(return_counts=True)
        if len(values) > MAX_RUNS:
            return self._known_N
        ends = counts.cumsum(0).tolist()
        return tuple(zip([0, *ends], ends, values.tolist(), strict=False))

    def keep_known(self, x: Tensor, t: Tensor, flow: Tensor) -> Tensor:
        """The velocity that the sampler sees, out of the network's."""
        if self.known_latents is None:
            return flow
        return torch.where(self.known_latents.unknown_B1THW > 0, flow, (x - self.known_latents.clean_BCTHW) / t)


def replace_known(scene: ConditioningInputs) -> Conditioning:
    """For weights that know text alone: known cells are at every time where the run's own noise would have them."""
    return Conditioning(known_latents=scene.latents)


def timestep_per_token(scene: ConditioningInputs) -> Conditioning:
    """Time by the token (Wan 2.2 TI2V-5B, SkyReels-V2-DF). A token of which any cell is unknown is painted whole."""
    patch, latents = scene.grid.patch, scene.latents
    pooled = F.max_pool3d(latents.unknown_B1THW, (1, patch, patch))
    unknown = pooled.repeat_interleave(patch, dim=3).repeat_interleave(patch, dim=4)
    return Conditioning(known_latents=Latents(latents.clean_BCTHW, unknown), patch=patch)


def concat_channels(scene: ConditioningInputs) -> Conditioning:
    """Channels that say which frames of a cell are known, and the known latents (Wan I2V, FLF2V, Fun-InP)."""
    clean = scene.latents.clean_BCTHW
    known = known_latent_mask(known_pixel_mask(scene.canvas), scene.grid.space, scene.grid.time)
    return Conditioning(concat_latents=torch.cat([known.to(clean), clean], dim=1))


def vace_control(scene: ConditioningInputs) -> Conditioning:
    """A branch of its own sees what stays (inactive), what is painted over (reactive) and the mask, a channel for each
    pixel of a cell, 1 where paint goes (VACE, arXiv 2503.07598). Only here is known-ness turned into that mask."""
    clean, space = scene.latents.clean_BCTHW, scene.grid.space
    nothing = Canvas(scene.canvas.frames_FCYX, torch.zeros_like(scene.canvas.known_F1YX), scene.canvas.fps)
    reactive = scene.encode(nothing).clean_BCTHW
    paint = (~known_pixel_mask(scene.canvas)).to(clean)
    cells = rearrange(paint, "b 1 f (h p) (w q) -> b (p q) f h w", p=space, q=space)
    cells = F.interpolate(cells, clean.shape[2:], mode="nearest-exact")
    return Conditioning(control_latents=torch.cat([clean, reactive.to(clean), cells], dim=1))


CONDITIONERS: dict[str, Callable[[ConditioningInputs], Conditioning]] = {
    "renoise": replace_known,
    "tokens": timestep_per_token,
    "channels": concat_channels,
    "control": vace_control,
}
