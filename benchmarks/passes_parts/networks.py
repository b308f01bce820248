"""One set of random weights for diffusers' network and ours, and what both are given."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

from passes_parts.rows import WORDS, Row
from sora.models.wan import KEY_MAPS
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT

ModuleT = TypeVar("ModuleT", bound=nn.Module)
TIMESTEP = 640.0


@dataclass(frozen=True)
class PassInputs:
    """times_B_or_BN: in [0, 1000]. text_BLD: the prompt's and, for a guided step, the negative's, both read."""

    x_BCTHW: Tensor
    times_B_or_BN: Tensor
    text_BLD: Tensor

    def to(self, dtype: torch.dtype) -> PassInputs:
        """Latents and text in another number format; times stay as they are."""
        return PassInputs(self.x_BCTHW.to(dtype), self.times_B_or_BN, self.text_BLD.to(dtype))


def pass_inputs(row: Row, device: str, dtype: torch.dtype, seed: int = 0) -> PassInputs:
    """Noise for latents and text, half of whose places are padding (zeros), as in a prompt of 256 words."""
    torch.manual_seed(seed)
    x = torch.randn(1, row.config.in_channels, *row.shape)
    text = torch.randn(2 if row.guided else 1, WORDS, row.config.text_dim)
    text[:, WORDS // 2 :] = 0
    times = torch.full((1, row.tokens), TIMESTEP) if row.per_token_timesteps else torch.full((1,), TIMESTEP)
    if row.per_token_timesteps:
        times[:, : row.tokens // row.shape[0]] = 0
    return PassInputs(x.to(device, dtype), times.to(device), text.to(device, dtype))


def theirs(config: WanConfig, device: str, dtype: torch.dtype, seed: int = 0) -> WanTransformer3DModel:
    """Diffusers' network as ``from_pretrained(torch_dtype=...)`` gives it: what it keeps in float32 stays so.

    Weights are of std fan_in^-0.5 and norms near 1, so that what goes through is about 1 throughout; every bias, norm
    and table counts.
    """
    with _made_in(dtype), torch.device(device):
        network = WanTransformer3DModel(
            patch_size=config.patch,
            num_attention_heads=config.heads,
            attention_head_dim=config.head_dim,
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            text_dim=config.text_dim,
            freq_dim=config.freq_dim,
            ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
            cross_attn_norm=config.cross_attn_norm,
            eps=config.eps,
        )
        torch.manual_seed(seed)
        for name, parameter in network.named_parameters():
            if re.search(KEY_MAPS["transformer"].float32, name):
                parameter.data = parameter.data.float()
            _fill(name, parameter)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _fill(name: str, parameter: Tensor) -> None:
    if "table" in name:
        parameter.normal_(std=0.3)
    elif parameter.ndim > 1:
        parameter.normal_(std=parameter[0].numel() ** -0.5)
    else:
        parameter.normal_(std=0.1).add_(1.0 if "norm" in name and name.endswith("weight") else 0.0)


def ours(reference: WanTransformer3DModel, config: WanConfig) -> WanDiT:
    """Our network on the very tensors of the reference."""
    with torch.device("meta"):
        network = WanDiT(config)
    network.load_state_dict(reference.state_dict(), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def another(network: ModuleT) -> ModuleT:
    """A copy to change, which shares all tensors with the network."""
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def weight_bytes(network: nn.Module) -> int:
    """What the parameters take, each tensor once."""
    held = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in network.parameters()}
    return sum(held.values())


@contextmanager
def _made_in(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
