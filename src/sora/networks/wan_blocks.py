"""What a Wan transformer is built of: attention, feed-forward, and the block they make.

Axis letters: B batch; N tokens; L places of text; M what is looked at; D width; in attention, h heads and k head
channels.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from sora.networks.layers import attention, layer_norm, rms_norm, rope
from sora.networks.wan_sizes import WanConfig


class RMSNorm(nn.Module):
    """The learnt weight of an RMS norm over all heads together."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Multi-head attention with an RMS norm of queries and keys across all heads.

    pictures: whether there are keys and values for a picture's tokens too. What they give is added to the rest.
    """

    def __init__(self, config: WanConfig, pictures: bool = False) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.to_q, self.to_k, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q, self.norm_k = RMSNorm(dim, config.eps), RMSNorm(dim, config.eps)
        if pictures:
            self.add_k_proj, self.add_v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_added_k = RMSNorm(dim, config.eps)

    def forward(
        self,
        x_BND: Tensor,
        context_BMD: Tensor,
        tables: tuple[Tensor, Tensor] | None = None,
        mask_BM: Tensor | None = None,
        image_BMD: Tensor | None = None,
    ) -> Tensor:
        """x looks at context and at the image. tables: of ``rope_tables``, given for self-attention alone."""
        q = self._split(self.norm_q(self.to_q(x_BND)))
        k = self._split(self.norm_k(self.to_k(context_BMD)))
        v = self._split(self.to_v(context_BMD))
        if tables is not None:
            q, k = rope(q, *tables), rope(k, *tables)
        seen_BhNk = attention(q, k, v, mask_BM)
        if image_BMD is not None:
            k = self._split(self.norm_added_k(self.add_k_proj(image_BMD)))
            seen_BhNk = seen_BhNk + attention(q, k, self._split(self.add_v_proj(image_BMD)))
        return self.to_out[0](rearrange(seen_BhNk, "B h N k -> B N (h k)"))

    def _split(self, x_BND: Tensor) -> Tensor:
        return rearrange(x_BND, "B N (h k) -> B h N k", h=self.heads)


class Activated(nn.Module):
    """A linear map and an activation."""

    def __init__(self, dim_in: int, dim_out: int, activation: nn.Module) -> None:
        super().__init__()
        self.proj, self.activation = nn.Linear(dim_in, dim_out), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.proj(x))


class FeedForward(nn.Module):
    def __init__(self, dim_in: int, hidden: int, dim_out: int, activation: nn.Module) -> None:
        super().__init__()
        # The middle place is where the files count a dropout.
        self.net = nn.Sequential(Activated(dim_in, hidden, activation), nn.Identity(), nn.Linear(hidden, dim_out))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """Self-attention, cross-attention to text and pictures, feed-forward. Norms, modulation and residual sums are in
    float32."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.attn1 = Attention(config)
        self.attn2 = Attention(config, pictures=config.image_dim is not None)
        self.norm2 = nn.LayerNorm(config.dim, config.eps) if config.cross_attn_norm else None
        self.ffn = FeedForward(config.dim, config.ffn_dim, config.dim, nn.GELU(approximate="tanh"))
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 6, config.dim))

    def forward(
        self,
        x_BND: Tensor,
        text_BLD: Tensor,
        six_BN6D: Tensor,
        tables: tuple[Tensor, Tensor],
        text_mask_BL: Tensor | None,
        image_BMD: Tensor | None = None,
    ) -> Tensor:
        six = (self.scale_shift_table + six_BN6D.float()).unbind(dim=2)
        shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = six

        seen = modulate(x_BND, shift, scale, self.eps)
        x_BND = add_gated(x_BND, self.attn1(seen, seen, tables), gate)
        asking = self._before_text(x_BND)
        x_BND = x_BND + self.attn2(asking, text_BLD, mask_BM=text_mask_BL, image_BMD=image_BMD)
        return add_gated(x_BND, self.ffn(modulate(x_BND, shift_ffn, scale_ffn, self.eps)), gate_ffn)

    def _before_text(self, x_BND: Tensor) -> Tensor:
        if self.norm2 is None:
            return x_BND
        return layer_norm(x_BND, self.eps, self.norm2.weight, self.norm2.bias).type_as(x_BND)


def modulate(x_BND: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """norm(x) * (1 + scale) + shift, in float32 inside."""
    return torch.addcmul(shift, layer_norm(x_BND, eps), 1 + scale).type_as(x_BND)


def add_gated(x_BND: Tensor, y_BND: Tensor, gate: Tensor) -> Tensor:
    """x + y * gate, in float32 inside."""
    return torch.addcmul(x_BND.float(), y_BND.float(), gate).type_as(x_BND)
