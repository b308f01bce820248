"""The transformer of Wan 2.1 (arXiv 2503.20314; github.com/Wan-Video/Wan2.1), at any size.

Tokens of a latent video attend to one another and to text; the time of the diffusion scales, shifts and gates every
block. Parameters carry the names of diffusers' ``WanTransformer3DModel``, so its files load strictly.

Axis letters: B batch; C channels; T H W latents; N tokens; L text; D width; in attention, h heads and k head channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sora.networks.layers import attention, layer_norm, rms_norm, rope, rope_tables, timestep_embedding


@dataclass(frozen=True)
class WanConfig:
    """Sizes. The defaults are Wan 2.1 T2V-1.3B; the 14B has 40 layers, 40 heads and an ffn_dim of 13824.

    head_dim: even. in_channels: latents and whatever condition stands beside them. text_dim: of the text encoder.
    freq_dim: sinusoids of the time. patch: latents behind one token along (T, H, W).
    cross_attn_norm: a learnt layer norm before cross-attention.
    """

    num_layers: int = 30
    heads: int = 12
    head_dim: int = 128
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    ffn_dim: int = 8960
    patch: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    cross_attn_norm: bool = True

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.heads * self.head_dim

    def token_shape(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Tokens along (T, H, W) for latents of that shape. ValueError where they do not divide."""
        if any(size % p for size, p in zip(latent_shape, self.patch, strict=True)):
            raise ValueError(f"latents of {latent_shape} (T, H, W) do not divide into patches of {self.patch}")
        t, h, w = (size // p for size, p in zip(latent_shape, self.patch, strict=True))
        return t, h, w


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
    """Multi-head attention with an RMS norm of queries and keys across all heads."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.to_q, self.to_k, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q, self.norm_k = RMSNorm(dim, config.eps), RMSNorm(dim, config.eps)

    def forward(
        self,
        x_BND: Tensor,
        context_BMD: Tensor,
        tables: tuple[Tensor, Tensor] | None = None,
        mask_BM: Tensor | None = None,
    ) -> Tensor:
        """x looks at context. tables: of ``rope_tables``, given for self-attention alone."""
        q = self._split(self.norm_q(self.to_q(x_BND)))
        k = self._split(self.norm_k(self.to_k(context_BMD)))
        v = self._split(self.to_v(context_BMD))
        if tables is not None:
            q, k = rope(q, *tables), rope(k, *tables)
        return self.to_out[0](rearrange(attention(q, k, v, mask_BM), "B h N k -> B N (h k)"))

    def _split(self, x_BND: Tensor) -> Tensor:
        return rearrange(x_BND, "B N (h k) -> B h N k", h=self.heads)


class Gelu(nn.Module):
    """A linear map and the tanh form of GELU."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim_in, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        # The middle place is where the files count a dropout.
        self.net = nn.Sequential(Gelu(dim, hidden), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Perceptron(nn.Module):
    """Two linear maps around an activation: of time (SiLU) or of text (tanh GELU)."""

    def __init__(self, dim_in: int, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1, self.activation, self.linear_2 = nn.Linear(dim_in, dim), activation, nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(self.activation(self.linear_1(x)))


class Conditions(nn.Module):
    """Time and text, brought to the width of the tokens."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.freq_dim = config.freq_dim
        self.time_embedder = Perceptron(config.freq_dim, config.dim, nn.SiLU())
        self.time_proj = nn.Linear(config.dim, 6 * config.dim)
        self.text_embedder = Perceptron(config.text_dim, config.dim, nn.GELU(approximate="tanh"))

    def forward(self, t_BN: Tensor, text_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The time's embedding (B, N, D), its six modulations (B, N, 6, D), and the text (B, L, D). N may be 1."""
        waves = timestep_embedding(t_BN, self.freq_dim).to(self.time_embedder.linear_1.weight.dtype)
        time_BND = self.time_embedder(waves).type_as(text_BLD)
        six_BN6D = self.time_proj(F.silu(time_BND)).unflatten(-1, (6, -1))
        return time_BND, six_BN6D, self.text_embedder(text_BLD)


class Block(nn.Module):
    """Self-attention, cross-attention to text, feed-forward. Norms, modulation and residual sums are in float32."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.attn1 = Attention(config)
        self.attn2 = Attention(config)
        self.norm2 = nn.LayerNorm(config.dim, config.eps) if config.cross_attn_norm else None
        self.ffn = FeedForward(config.dim, config.ffn_dim)
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 6, config.dim))

    def forward(
        self,
        x_BND: Tensor,
        text_BLD: Tensor,
        six_BN6D: Tensor,
        tables: tuple[Tensor, Tensor],
        text_mask_BL: Tensor | None,
    ) -> Tensor:
        six = (self.scale_shift_table + six_BN6D.float()).unbind(dim=2)
        shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = six

        seen = modulate(x_BND, shift, scale, self.eps)
        x_BND = add_gated(x_BND, self.attn1(seen, seen, tables), gate)
        x_BND = x_BND + self.attn2(self._before_text(x_BND), text_BLD, mask_BM=text_mask_BL)
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


class WanDiT(nn.Module):
    """Latents, time and text in; velocity (noise - data) out. Freshly made weights are torch's own: load a file, or
    call ``init_weights`` before training."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        # A convolution in name, for its parameters; it runs as one matrix product over patches, which is faster on
        # CPUs and, unlike Conv3d, alike on every device.
        self.patch_embedding = nn.Conv3d(config.in_channels, config.dim, config.patch, config.patch)
        self.condition_embedder = Conditions(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.proj_out = nn.Linear(config.dim, config.out_channels * math.prod(config.patch))
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(
        self, x_BCTHW: Tensor, t_B_or_BN: Tensor, text_BLD: Tensor, text_mask_BL: Tensor | None = None
    ) -> Tensor:
        """The velocity, of shape (B, out_channels, T, H, W) and the dtype of the weights.

        x_BCTHW: float, C = in_channels; H and W (and T) multiples of the patch, else ValueError.
        t_B_or_BN: the time in [0, 1000], 1000 pure noise; one a sample, or one a token in row-major (T, H, W) order.
        text_BLD: the text encoder's output, D = text_dim.
        text_mask_BL: bool, True where a word is; None lets every place be seen, padding too, as Wan does.
        """
        shape = x_BCTHW.shape[2], x_BCTHW.shape[3], x_BCTHW.shape[4]
        tables = rope_tables(self.config.token_shape(shape), self.config.head_dim, x_BCTHW.device)
        t_BN = t_B_or_BN[:, None] if t_B_or_BN.ndim == 1 else t_B_or_BN
        x_BND = self._embed_patches(x_BCTHW)
        time_BND, six_BN6D, text_BLD = self.condition_embedder(t_BN, text_BLD.type_as(x_BND))
        for block in self.blocks:
            x_BND = block(x_BND, text_BLD, six_BN6D, tables, text_mask_BL)
        shift, scale = (self.scale_shift_table + time_BND.float()[:, :, None]).unbind(dim=2)
        return self._join_patches(self.proj_out(modulate(x_BND, shift, scale, self.config.eps)), shape)

    def _embed_patches(self, x_BCTHW: Tensor) -> Tensor:
        p, q, r = self.config.patch
        weight = self.patch_embedding.weight
        patches = rearrange(x_BCTHW, "B C (T p) (H q) (W r) -> B (T H W) (C p q r)", p=p, q=q, r=r)
        return F.linear(patches.type_as(weight), weight.flatten(1), self.patch_embedding.bias)

    def _join_patches(self, x_BNP: Tensor, shape: tuple[int, int, int]) -> Tensor:
        p, q, r = self.config.patch
        t, h, w = self.config.token_shape(shape)
        return rearrange(x_BNP, "B (T H W) (p q r C) -> B C (T p) (H q) (W r)", T=t, H=h, W=w, p=p, q=q, r=r)

    @torch.no_grad()
    def init_weights(self) -> None:
        """Weights to train from: Xavier in the blocks and patches, std 0.02 in the embeddings of time and text (as
        Wan), modulation tables of std dim^-0.5, and a zero output, so that training starts from velocity 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, RMSNorm | nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, Block):
                nn.init.normal_(module.scale_shift_table, std=self.config.dim**-0.5)
        for embedder in (self.condition_embedder.time_embedder, self.condition_embedder.text_embedder):
            nn.init.normal_(embedder.linear_1.weight, std=0.02)
            nn.init.normal_(embedder.linear_2.weight, std=0.02)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        nn.init.zeros_(self.patch_embedding.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.scale_shift_table, std=self.config.dim**-0.5)
        nn.init.zeros_(self.proj_out.weight)
