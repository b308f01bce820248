"""Wan's transformer with a control branch: VACE (arXiv 2503.07598; github.com/ali-vilab/VACE).

A second, thinner row of blocks reads the control latents and gives hints, which are added to the tokens after some of
the layers. Parameters carry the names of diffusers' ``WanVACETransformer3DModel``, so its files load strictly.

Axis letters as in ``wan_dit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sora.networks.wan.blocks import Block, Heard, Runs, Told
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import Given, Said, Skip, Times, WanDiT


class ControlBlock(Block):
    """A block of the branch: it carries the control's tokens on and gives a hint out of them.

    first: whether it also takes the latents' tokens in.
    """

    def __init__(self, config: WanConfig, first: bool) -> None:
        super().__init__(config)
        self.proj_in = nn.Linear(config.dim, config.dim) if first else None
        self.proj_out = nn.Linear(config.dim, config.dim)

    def forward(  # type: ignore[override]
        self,
        control_BND: Tensor,
        start_BND: Tensor | None,
        told: Told | Heard,
        six_BU6D: Tensor,
        tables: tuple[Tensor, Tensor],
        text_mask_BL: Tensor | None = None,
        runs: Runs | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(control's tokens for the next block, the hint). start: the latents' tokens before layer 0, for the first."""
        if self.proj_in is not None:
            control_BND = self.proj_in(control_BND) + start_BND
        control_BND = super().forward(control_BND, told, six_BU6D, tables, text_mask_BL, runs)
        return control_BND, self.proj_out(control_BND)


class WanVACE(WanDiT):
    """A ``WanDiT`` whose latents are led by a control. ValueError for a config without vace_layers."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        if not config.vace_layers:
            raise ValueError("a control branch needs layers to add its hints to; expected vace_layers, from 0 on")
        self.vace_patch_embedding = nn.Conv3d(config.vace_in_channels, config.dim, config.patch, config.patch)
        self.vace_blocks = nn.ModuleList([ControlBlock(config, first=layer == 0) for layer in config.vace_layers])

    def forward(
        self,
        x_BCTHW: Tensor,
        t_B_or_BN: Tensor | Times,
        text: Tensor | Said,
        text_mask_BL: Tensor | None = None,
        *,
        image_BLD: Tensor | None = None,
        fps: float | None = None,
        skip: Skip | None = None,
        control_BCTHW: Tensor | None = None,
        control_scale: float | Sequence[float] = 1.0,
    ) -> Tensor:
        """As ``WanDiT.forward``, and:

        control_BCTHW: C = vace_in_channels, all else as x; None leaves the branch out, and the network is plain Wan.
        control_scale: how much of each hint is added; one number, or one for each of vace_layers.

        ValueError where these do not fit x or the network.
        """
        scales = self._scales(control_scale)
        if control_BCTHW is None:
            return super().forward(x_BCTHW, t_B_or_BN, text, text_mask_BL, image_BLD=image_BLD, fps=fps, skip=skip)
        self._check(control_BCTHW, x_BCTHW)
        start_BND, time_BUD, given = self._enter(x_BCTHW, t_B_or_BN, text, text_mask_BL, image_BLD, fps)
        control_BND = self._embed_patches(control_BCTHW, self.vace_patch_embedding)
        branch, layers = Branch(self, given, control_BND, start_BND, scales), len(self.blocks)
        if skip is None:
            x_BND = branch.through(range(layers), start_BND)
        else:
            after_BND = branch.through(range(1), start_BND)
            x_BND = skip.through(start_BND, after_BND, lambda tokens: branch.through(range(1, layers), tokens))
        return self._leave(x_BND, time_BUD, given.runs, x_BCTHW)

    def turns(self) -> list[nn.Module]:
        """As ``WanDiT.turns``, with a control."""
        places = {layer: place for place, layer in enumerate(self.config.vace_layers)}
        called: list[nn.Module] = []
        for layer, block in enumerate(self.blocks):
            called += [block, self.vace_blocks[places[layer]]] if layer in places else [block]
        return called

    def _scales(self, scale: float | Sequence[float]) -> tuple[float, ...]:
        count = len(self.config.vace_layers)
        scales = tuple(scale) if isinstance(scale, Sequence) else (scale,) * count
        if len(scales) != count:
            raise ValueError(f"{len(scales)} scales of the control; expected one, or {count}, one for each hint")
        return scales

    def _check(self, control_BCTHW: Tensor, x_BCTHW: Tensor) -> None:
        wanted = (x_BCTHW.shape[0], self.config.vace_in_channels, *x_BCTHW.shape[2:])
        if control_BCTHW.shape != wanted:
            raise ValueError(f"a control of {tuple(control_BCTHW.shape)} (B, C, T, H, W); expected {wanted}")


@dataclass
class Branch:
    """One pass through both rows of blocks. A hint is made where it is wanted, so that one is held at a time, not one
    for each layer."""

    network: WanVACE
    given: Given
    control_BND: Tensor
    start_BND: Tensor | None
    scales: tuple[float, ...]

    def through(self, layers: range, x_BND: Tensor) -> Tensor:
        """The tokens after these layers and their hints."""
        for layer in layers:
            block = self.network.blocks[layer]
            x_BND = block(x_BND, *self.given.to(block))
            if layer in self.network.config.vace_layers:
                place = self.network.config.vace_layers.index(layer)
                x_BND = torch.add(x_BND, self._hint(place), alpha=self.scales[place])
        return x_BND

    def _hint(self, place: int) -> Tensor:
        block = self.network.vace_blocks[place]
        self.control_BND, hint_BND = block(self.control_BND, self.start_BND, *self.given.to(block))
        self.start_BND = None  # only the first wants it
        return hint_BND


def build(config: WanConfig) -> WanDiT:
    """The network of these sizes, with a control branch where they have one."""
    return WanVACE(config) if config.vace_layers else WanDiT(config)
