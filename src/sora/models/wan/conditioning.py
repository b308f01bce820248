"""How a Wan transformer is conditioned on known pixels: one of four kinds, by what it was trained on.

To add a kind: a function from ``ConditioningInputs`` to ``Conditioning``, and a row in ``CONDITIONERS``.
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
from sora.networks.wan.blocks import TimestepIndex
from sora.networks.wan.dit import SharedTimesteps
from sora.plan.grid import Grid

MAX_RUNS = 32  # of consecutive tokens with one timestep; where there are more, each token has an index instead


@dataclass(frozen=True)
class ConditioningInputs:
    """A canvas and its latents, with the encoder and the grid that they were made with."""

    canvas: Canvas
    latents: Latents
    encode: Callable[[Canvas], Latents]
    grid: Grid


@dataclass(frozen=True)
class Conditioning:
    """What the known pixels of a canvas add to every pass.

    concat_latents: (1, C, T, H, W), concatenated to the noisy latents along the channels. control_latents: (1, C, T, H,
    W), the input of VACE's control branch. control_scales: of its hints, one or one for each. known_latents: latents
    that follow the straight path to their clean values, whatever the network predicts for them, so that any sampler
    ends there. patch: the side of a token in latents, for a network that takes a timestep per token: it sees the known
    latents clean, their tokens at time 0; None for others. share_timesteps: whether tokens with one timestep share its
    embedding.
    """

    concat_latents: Tensor | None = None
    control_latents: Tensor | None = None
    control_scales: tuple[float, ...] = (1.0,)
    known_latents: Latents | None = None
    patch: int | None = None
    share_timesteps: bool = True

    def model_input(self, x: Tensor, timestep: float) -> tuple[Tensor, Tensor | SharedTimesteps]:
        """What the transformer is given for the sampler's x: latents (B, C, T, H, W) and timesteps. timestep: in [0,
        1000]."""
        batch = x.shape[0]
        if self.known_latents is not None and self.patch is not None:
            latents = torch.where(self.known_latents.unknown_B1THW > 0, x, self.known_latents.clean_BCTHW)
            return latents, self._timesteps(timestep)
        if self.concat_latents is not None:
            x = torch.cat([x, self.concat_latents.to(x).expand(batch, -1, -1, -1, -1)], dim=1)
        return x, torch.full((batch,), timestep, device=x.device)

    def _timesteps(self, timestep: float) -> Tensor | SharedTimesteps:
        """Timesteps by token: 0 for known tokens."""
        known_N = self._known_N
        if not self.share_timesteps:
            return ((1 - known_N) * timestep)[None]
        distinct = torch.full((1, 2), timestep, device=known_N.device)
        distinct[:, 1] = 0
        if isinstance(self._runs, tuple) and len(self._runs) == 1:
            return distinct[:, self._runs[0][2]]
        return SharedTimesteps(distinct, self._runs)

    @cached_property
    def _known_N(self) -> Tensor:
        """By token: 1 where it is known, else 0."""
        assert self.known_latents is not None
        return (self.known_latents.unknown_B1THW[0, 0, :, :: self.patch, :: self.patch].flatten() == 0).long()

    @cached_property
    def _runs(self) -> TimestepIndex:
        """Runs of consecutive tokens, each with an index: 0 for the sampler's timestep, 1 for timestep 0."""
        values, counts = self._known_N.cpu().unique_consecutive(return_counts=True)
        if len(values) > MAX_RUNS:
            return self._known_N
        ends = counts.cumsum(0).tolist()
        return tuple(zip([0, *ends], ends, values.tolist(), strict=False))

    def keep_known(self, x: Tensor, t: Tensor, flow: Tensor) -> Tensor:
        """The network's velocity, with that of known latents replaced by the one that leads to their clean values."""
        if self.known_latents is None:
            return flow
        return torch.where(self.known_latents.unknown_B1THW > 0, flow, (x - self.known_latents.clean_BCTHW) / t)


def replace_known(inputs: ConditioningInputs) -> Conditioning:
    """For text-to-video weights: after every step, known latents are at the noise level of the sampler."""
    return Conditioning(known_latents=inputs.latents)


def timestep_per_token(inputs: ConditioningInputs) -> Conditioning:
    """A timestep per token (Wan 2.2 TI2V-5B, SkyReels-V2-DF). A token with any unknown latent is painted as a whole."""
    patch, latents = inputs.grid.patch, inputs.latents
    pooled = F.max_pool3d(latents.unknown_B1THW, (1, patch, patch))
    unknown = pooled.repeat_interleave(patch, dim=3).repeat_interleave(patch, dim=4)
    return Conditioning(known_latents=Latents(latents.clean_BCTHW, unknown), patch=patch)


def concat_channels(inputs: ConditioningInputs) -> Conditioning:
    """Concatenated channels: the packed mask of known frames, and the known latents (Wan I2V, FLF2V, Fun-InP)."""
    clean = inputs.latents.clean_BCTHW
    known = known_latent_mask(known_pixel_mask(inputs.canvas), inputs.grid.space, inputs.grid.time)
    return Conditioning(concat_latents=torch.cat([known.to(clean), clean], dim=1))


def vace_control(inputs: ConditioningInputs) -> Conditioning:
    """VACE's control branch (arXiv 2503.07598): latents of what is kept (inactive) and of what is repainted (reactive),
    and the mask, a channel for each pixel that a latent covers. VACE's mask is 1 where pixels are painted, the opposite
    of ``known``; only this function converts. What is repainted shows the control signal, or grey. References stand
    before the film, as known frames that nothing repaints."""
    canvas, space, lead = inputs.canvas, inputs.grid.space, inputs.latents.lead
    clean = inputs.latents.clean_BCTHW
    reactive = inputs.encode(_control_canvas(canvas)).clean_BCTHW.to(clean)
    mask = (~known_pixel_mask(canvas)).to(clean)
    mask_latents = rearrange(mask, "b 1 f (h p) (w q) -> b (p q) f h w", p=space, q=space)
    mask_latents = F.interpolate(mask_latents, inputs.latents.without_lead.clean_BCTHW.shape[2:], mode="nearest-exact")
    # What is repainted is as long as the film: nothing of it stands before, nor of the mask.
    repainted = torch.cat([reactive, mask_latents], dim=1)
    # Joined, not padded: F.pad of five axes is wrong on MPS.
    repainted = torch.cat([torch.zeros_like(repainted[:, :, :1]).repeat(1, 1, lead, 1, 1), repainted], dim=2)
    control_latents = torch.cat([clean, repainted], dim=1)
    return Conditioning(control_latents=control_latents, control_scales=canvas.guides.scales)


def _control_canvas(canvas: Canvas) -> Canvas:
    """A canvas that knows the control signal where there is one, and nothing else."""
    control, controlled = canvas.guides.control_FCYX, canvas.guides.controlled_F
    if control is None:
        return Canvas(canvas.frames_FCYX, torch.zeros_like(canvas.known_F1YX), canvas.fps)
    shown = ~canvas.known_F1YX
    if controlled is not None:
        shown = shown & controlled.view(-1, 1, 1, 1)
    return Canvas(control, shown, canvas.fps)


CONDITIONERS: dict[str, Callable[[ConditioningInputs], Conditioning]] = {
    "renoise": replace_known,
    "tokens": timestep_per_token,
    "channels": concat_channels,
    "control": vace_control,
}
