"""Which layers of a Wan transformer multiply in float8 under ``--speed fast``."""

from __future__ import annotations

from torch import nn

from sora.networks.wan.blocks import ActivatedLinear, FeedForward, TanhGELU
from sora.networks.wan.dit import WanDiT
from sora.runtime.float8 import Float8Linear, convert_to_float8, pays

CONTEXT_LAYERS = ("attn2.to_k", "attn2.to_v", "attn2.add_k_proj", "attn2.add_v_proj")
"""Of text and image tokens, a few hundred of which are multiplied once a clip: there is no time to save."""


def convert_blocks_to_float8(dit: WanDiT) -> None:
    """Let the linear layers of the blocks multiply in float8 where that pays: those that all tokens of the video go
    through and that are wide enough (``float8.pays``). Call it once the weights are on the device where they will be
    used, and before ``fuse_qkv``."""
    for block in dit.blocks_in_order():
        convert_block_to_float8(block)


def convert_block_to_float8(block: nn.Module) -> None:
    """``convert_blocks_to_float8`` for one block."""
    convert_to_float8([block], lambda path, linear: path not in CONTEXT_LAYERS and pays(linear))
    for module in block.modules():
        if isinstance(module, FeedForward):
            _fuse_activation(module)


def _fuse_activation(ffn: FeedForward) -> None:
    """Let the second layer apply the GELU as it rounds its inputs."""
    first, second = ffn.net[0], ffn.net[2]
    if not isinstance(first, ActivatedLinear) or not isinstance(second, Float8Linear):
        return
    if isinstance(first.activation, TanhGELU):
        first.activation, second.gelu = nn.Identity(), True
