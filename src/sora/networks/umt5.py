"""The text encoder of Wan: the encoder half of UMT5 (arXiv 2304.09151; google/umt5-xxl), at any size.

A T5 encoder (arXiv 1910.10683) whose every layer has relative positions of its own. Parameters carry the names of
transformers' ``UMT5EncoderModel``.

Axis letters: B batch; L words; D width; H heads; K channels of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sora.networks.layers import rms_norm
from sora.networks.sizes import check_parameters, epsilon, whole_number, whole_numbers


@dataclass(frozen=True)
class UMT5Config:
    """Sizes. The defaults are google/umt5-xxl.

    d_model: width of a word. d_kv: channels of a head. d_ff: width inside the feed-forward. buckets: kinds of distance
    between words, even. max_distance: words from which on all distances are alike.
    """

    vocab: int = 256384
    d_model: int = 4096
    d_kv: int = 64
    d_ff: int = 10240
    num_layers: int = 24
    heads: int = 64
    buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> UMT5Config:
        """From transformers' config.json. ValueError for a size that is missing and for another activation."""
        kind = config.get("feed_forward_proj", "gated-gelu")
        if kind != "gated-gelu":
            raise ValueError(f"the text encoder's feed-forward is {kind!r}; UMT5's is 'gated-gelu'")
        sizes = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
        found = whole_numbers(config, sizes, "the text encoder")
        check_parameters(found[4], max(found[1], found[2] * found[5]), found[3])
        return cls(
            *found,
            buckets=whole_number(config.get(_BUCKETS, cls.buckets), _BUCKETS, 2),
            max_distance=whole_number(config.get(_DISTANCE, cls.max_distance), _DISTANCE),
            eps=epsilon(config.get("layer_norm_epsilon", cls.eps), "layer_norm_epsilon"),
        )


_BUCKETS, _DISTANCE = "relative_attention_num_buckets", "relative_attention_max_distance"


@lru_cache(maxsize=4)
def distance_buckets(length: int, buckets: int, max_distance: int, device: torch.device) -> Tensor:
    """(L, L) int64 in [0, buckets): how far and to which side word j (columns) lies from word i (rows).

    Half of the buckets are for words that come later. Of each half, half count single words and the rest grow with
    the logarithm of the distance, up to ``max_distance`` (arXiv 1910.10683). The last few lengths are remembered.

    Made on the CPU: powers of two fall on edges between buckets, where other devices' logarithms round otherwise; and
    outside inference mode, so that a table first wanted for sampling still serves training.
    """
    side = buckets // 2
    exact = side // 2
    with torch.inference_mode(False), torch.no_grad():
        positions = torch.arange(length, device="cpu")
        offsets = positions[None, :] - positions[:, None]
        share = torch.log(offsets.abs().clamp(min=1).float() / exact) / math.log(max_distance / exact)
        far = (exact + (share * (side - exact)).long()).clamp(max=side - 1)
        distance = offsets.abs()
        return (torch.where(distance < exact, distance, far) + (offsets > 0) * side).to(device)


class Norm(nn.Module):
    """The learnt weight of an RMS norm; what comes out has the dtype of the weight."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps).to(self.weight.dtype)


class SelfAttention(nn.Module):
    """Multi-head attention whose scores are not scaled and have a learnt bias for each distance."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        inner = config.heads * config.d_kv
        self.heads = config.heads
        self.q, self.k, self.v = (nn.Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.d_model, bias=False)
        self.relative_attention_bias = nn.Embedding(config.buckets, config.heads)

    def forward(self, x_BLD: Tensor, buckets_LL: Tensor, mask_BL: Tensor | None) -> Tensor:
        q, k, v = (
            rearrange(project(x_BLD), "B L (H K) -> B H L K", H=self.heads) for project in (self.q, self.k, self.v)
        )
        # Contiguous, since fused kernels copy a strided bias at every call.
        bias = rearrange(self.relative_attention_bias(buckets_LL), "L M H -> 1 H L M").type_as(q).contiguous()
        if mask_BL is not None:
            bias = bias.masked_fill(~mask_BL[:, None, None, :], torch.finfo(bias.dtype).min)
        # The fused kernel keeps scores and softmax in float32, whatever the dtype of q.
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return self.o(rearrange(seen, "B H L K -> B L (H K)"))


class AttentionLayer(nn.Module):
    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.SelfAttention = SelfAttention(config)
        self.layer_norm = Norm(config.d_model, config.eps)

    def forward(self, x_BLD: Tensor, buckets_LL: Tensor, mask_BL: Tensor | None) -> Tensor:
        return x_BLD + self.SelfAttention(self.layer_norm(x_BLD), buckets_LL, mask_BL)


class GatedGelu(nn.Module):
    """wo(gelu(wi_0 x) * wi_1 x), with the tanh form of GELU (arXiv 2002.05202)."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x)
        return self.wo(hidden.float() if self.wo.weight.dtype == torch.float32 else hidden)


class FeedForwardLayer(nn.Module):
    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.DenseReluDense = GatedGelu(config)
        self.layer_norm = Norm(config.d_model, config.eps)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config), FeedForwardLayer(config)])

    def forward(self, x_BLD: Tensor, buckets_LL: Tensor, mask_BL: Tensor | None) -> Tensor:
        x_BLD = clamp_float16(self.layer[0](x_BLD, buckets_LL, mask_BL))
        return clamp_float16(self.layer[1](x_BLD))


def clamp_float16(x: Tensor) -> Tensor:
    """Return x, finite: float16 that overflows is clamped 1000 below its largest number, as transformers does."""
    if x.dtype != torch.float16:
        return x
    most = torch.finfo(torch.float16).max
    limit = torch.where(x.isinf().any(), most - 1000, most)
    return x.clamp(-limit, limit)


class Encoder(nn.Module):
    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.block = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.final_layer_norm = Norm(config.d_model, config.eps)

    def forward(self, x_BLD: Tensor, buckets_LL: Tensor, mask_BL: Tensor | None) -> Tensor:
        for block in self.block:
            x_BLD = block(x_BLD, buckets_LL, mask_BL)
        return self.final_layer_norm(x_BLD)


class UMT5(nn.Module):
    """Word ids in, one vector a word out. Freshly made weights are torch's own: load a file."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab, config.d_model)
        self.encoder = Encoder(config)

    def forward(self, ids_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """(B, L, d_model), of the dtype of the weights.

        ids_BL: int64 in [0, vocab). mask_BL: bool, True where a word is; words are not touched by what is masked, and
        what stands at masked places means nothing. None: all are words.
        """
        c = self.config
        buckets = distance_buckets(ids_BL.shape[1], c.buckets, c.max_distance, ids_BL.device)
        return self.encoder(self.shared(ids_BL), buckets, mask_BL)
