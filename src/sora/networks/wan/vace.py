"""Wan's transformer with a control branch: VACE (arXiv 2503.07598; github.com/ali-vilab/VACE).

A second, smaller stack of blocks processes the control latents and produces hints, which are added to the tokens after
some of the layers. Parameters carry the names of diffusers' ``WanVACETransformer3DModel``, so its files load strictly.

Axis letters as in ``networks.wan.dit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sora.networks.wan.blocks import Block, BlockKV, TextContext, TimestepIndex
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import BlockInputs, CrossAttnCache, SharedTimesteps, StepCache, WanDiT


class ControlBlock(Block):
    """A block of the control branch: it returns the control tokens for the next block and a hint for the latents'
    tokens.

    first: whether the latents' tokens are added to the control tokens before the block.
    """

    def __init__(self, config: WanConfig, first: bool) -> None:
        super().__init__(config)
        self.proj_in = nn.Linear(config.dim, config.dim) if first else None
        self.proj_out = nn.Linear(config.dim, config.dim)

    def forward(  # type: ignore[override]
        self,
        control_BND: Tensor,
        start_BND: Tensor | None,
        context: TextContext | BlockKV,
        modulation_BU6D: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
        text_mask_BL: Tensor | None = None,
        timestep_index: TimestepIndex | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (control tokens for the next block, hint). start: the latents' tokens before layer 0, for the first
        block."""
        if self.proj_in is not None:
            control_BND = self.proj_in(control_BND) + start_BND
        control_BND = super().forward(control_BND, context, modulation_BU6D, rotary_emb, text_mask_BL, timestep_index)
        return control_BND, self.proj_out(control_BND)


class WanVACE(WanDiT):
    """A ``WanDiT`` guided by a control video. ValueError for a config without vace_layers."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        if not config.vace_layers:
            raise ValueError("a control branch needs layers to add its hints to; expected vace_layers, from 0 on")
        self.vace_patch_embedding = nn.Conv3d(config.vace_in_channels, config.dim, config.patch, config.patch)
        self.vace_blocks = nn.ModuleList([ControlBlock(config, first=layer == 0) for layer in config.vace_layers])

    def forward(
        self,
        x_BCTHW: Tensor,
        timestep_B_or_BN: Tensor | SharedTimesteps,
        text: Tensor | CrossAttnCache,
        text_mask_BL: Tensor | None = None,
        *,
        image_BLD: Tensor | None = None,
        fps: float | None = None,
        step_cache: StepCache | None = None,
        control_BCTHW: Tensor | None = None,
        control_scale: float | Sequence[float] = 1.0,
    ) -> Tensor:
        """As ``WanDiT.forward``, with two more parameters:

        control_BCTHW: C = vace_in_channels, all else as x; None leaves the branch out, and the network is plain Wan.
        control_scale: the weight of each hint; one number, or one for each of vace_layers.

        ValueError where these do not fit x or the network.
        """
        scales = self._scales(control_scale)
        if control_BCTHW is None:
            return super().forward(
                x_BCTHW, timestep_B_or_BN, text, text_mask_BL, image_BLD=image_BLD, fps=fps, step_cache=step_cache
            )
        self._check(control_BCTHW, x_BCTHW)
        start_BND, time_BUD, inputs = self._prepare_inputs(
            x_BCTHW, timestep_B_or_BN, text, text_mask_BL, image_BLD, fps
        )
        control_BND = self._embed_patches(control_BCTHW, self.vace_patch_embedding)
        branch, layers = ControlBranch(self, inputs, control_BND, start_BND, scales), len(self.blocks)
        del control_BND
        if step_cache is None:
            tokens = [start_BND]
            del start_BND
            x_BND = branch.run(range(layers), tokens)
        else:
            after_BND = branch.run(range(1), [start_BND])
            x_BND = step_cache.run(start_BND, after_BND, lambda tokens: branch.run(range(1, layers), [tokens]))
        return self._project_out(x_BND, time_BUD, inputs.timestep_index, x_BCTHW)

    def blocks_in_order(self) -> list[nn.Module]:
        """As ``WanDiT.blocks_in_order``, for a pass with a control."""
        hint_of_layer = {layer: place for place, layer in enumerate(self.config.vace_layers)}
        called: list[nn.Module] = []
        for layer, block in enumerate(self.blocks):
            called += [block, self.vace_blocks[hint_of_layer[layer]]] if layer in hint_of_layer else [block]
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
class ControlBranch:
    """One pass through both stacks of blocks. Each hint is computed when it is needed, so that one hint is in memory at
    a time, not one for each layer."""

    network: WanVACE
    inputs: BlockInputs
    control_BND: Tensor
    start_BND: Tensor | None
    scales: tuple[float, ...]

    def run(self, layers: range, tokens: list[Tensor]) -> Tensor:
        """Return the tokens after these layers and their hints. tokens: as of ``WanDiT._run_blocks``."""
        x_BND = tokens.pop()
        for layer in layers:
            block = self.network.blocks[layer]
            x_BND = block(x_BND, *self.inputs.for_block(block))
            if layer in self.network.config.vace_layers:
                hint = self.network.config.vace_layers.index(layer)
                x_BND = torch.add(x_BND, self._hint(hint), alpha=self.scales[hint])
        return x_BND

    def _hint(self, hint: int) -> Tensor:
        block = self.network.vace_blocks[hint]
        self.control_BND, hint_BND = block(self.control_BND, self.start_BND, *self.inputs.for_block(block))
        self.start_BND = None  # only the first wants it
        return hint_BND


def build_transformer(config: WanConfig) -> WanDiT:
    """Build the network of these sizes, with a control branch where ``config`` has vace_layers."""
    return WanVACE(config) if config.vace_layers else WanDiT(config)
