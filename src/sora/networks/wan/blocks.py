"""The blocks of a Wan transformer: self-attention, cross-attention to text and image tokens, and feed-forward.

Axis letters: B batch; N tokens; U distinct timesteps; L text tokens; M keys; D width; in attention, h heads and k
channels of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sora.networks.layers import AttentionFunction, attention, layer_norm, rms_norm, rope, tanh_gelu
from sora.networks.wan.config import WanConfig
from sora.networks.wan.graph_inputs import MODULATIONS, graph_inputs

TimestepIndex = tuple[tuple[int, int, int], ...] | Tensor
"""Which distinct timestep each token has: runs of tokens, (first token, one past the last, index) in order; or, where
there are too many runs, one index for each token, int64 (N)."""

TOKEN_CHUNK = 4096  # tokens modulated at once by timesteps of their own, so that these take little memory


class TextContext(NamedTuple):
    """What a block cross-attends to, embedded to its width: text (B, L, D) and, where there is an image, image tokens
    (B, M, D)."""

    text_BLD: Tensor
    image_BMD: Tensor | None = None


class BlockKV(NamedTuple):
    """Keys and values of one block's cross-attention, each (B, h, M, k)."""

    keys: Tensor
    values: Tensor
    image_keys: Tensor | None = None
    image_values: Tensor | None = None


class RMSNorm(nn.Module):
    """An RMS norm over all heads together, with a learnt weight."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


@runtime_checkable
class RowwiseLinear(Protocol):
    """A linear layer of another kind than ``nn.Linear`` all of whose tensors have a row for each channel out, so that
    several with the same inputs are one whose tensors are theirs joined."""

    def row_tensors(self) -> dict[str, Tensor]:
        """By the names of the attributes, in the order in which ``product`` takes them."""
        ...

    @staticmethod
    def product(x: Tensor, *row_tensors: Tensor) -> Tensor: ...

    @staticmethod
    def round_inputs(x: Tensor) -> Any:
        """What several such layers take in place of the same x, so that it is rounded once."""
        ...


class FusedLinear(NamedTuple):
    """Several linear layers in one matrix product. kind: of each layer. tensors: theirs joined, which ``product`` takes
    after the input."""

    kind: type[nn.Module]
    product: Callable[..., Tensor]
    tensors: tuple[Tensor, ...]


class Attention(nn.Module):
    """Multi-head attention with an RMS norm of queries and keys across all heads.

    with_image: whether there are keys and values of image tokens too. The two results are added. attend: the function
    through which every attention goes, which ``WanDiT.use_attention`` replaces.
    """

    def __init__(self, config: WanConfig, with_image: bool = False) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.to_q, self.to_k, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q, self.norm_k = RMSNorm(dim, config.eps), RMSNorm(dim, config.eps)
        if with_image:
            self.add_k_proj, self.add_v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_added_k = RMSNorm(dim, config.eps)
        self.attend: AttentionFunction = attention
        self._fused: FusedLinear | None = None

    def forward(self, x_BND: Tensor, rotary_emb: tuple[Tensor, Tensor]) -> Tensor:
        """Self-attention of the tokens. rotary_emb: (cosines, sines) of ``rope_tables``."""
        # A compiled block never fuses them: one graph then serves networks that can and networks that cannot, and
        # products of thousands of tokens gain nothing by it.
        fused = None if torch.compiler.is_compiling() else self._fused
        if fused is not None and all(_is_frozen(m, fused.kind) for m in (self.to_q, self.to_k, self.to_v)):
            q, k, v = fused.product(x_BND, *fused.tensors).chunk(3, dim=-1)
            q, k = self._rotate(self.norm_q, q, rotary_emb), self._rotate(self.norm_k, k, rotary_emb)
        else:  # one after the other, so that no more stands at once than must
            x = self._inputs_of_three(x_BND)
            q = self._rotate(self.norm_q, self.to_q(x), rotary_emb)
            k = self._rotate(self.norm_k, self.to_k(x), rotary_emb)
            v = self.to_v(x)
        return self._out(self.attend(q, k, self._split(v)))

    def _inputs_of_three(self, x_BND: Tensor) -> Any:
        """The tokens as the layers of queries, keys and values take them."""
        kind = type(self.to_q)
        if not hasattr(kind, "round_inputs") or type(self.to_k) is not kind or type(self.to_v) is not kind:
            return x_BND
        return kind.round_inputs(x_BND)  # type: ignore[operator]

    def cross_attend(self, x_BND: Tensor, kv: BlockKV, mask_BM: Tensor | None = None) -> Tensor:
        """Cross-attention to cached keys and values. x may be one sample, which then serves for the whole batch of
        ``kv``."""
        q = self._split(self.norm_q(self.to_q(x_BND)))
        q = q.expand(len(kv.keys), -1, -1, -1)
        seen_BhNk = self.attend(q, kv.keys, kv.values, mask_BM)
        if kv.image_keys is not None and kv.image_values is not None:
            seen_BhNk = seen_BhNk + self.attend(q, kv.image_keys, kv.image_values)
        return self._out(seen_BhNk)

    def project_context(self, context: TextContext) -> BlockKV:
        """Keys and values of text and image tokens, for ``cross_attend``."""
        keys = self._split(self.norm_k(self.to_k(context.text_BLD)))
        values = self._split(self.to_v(context.text_BLD))
        if context.image_BMD is None:
            return BlockKV(keys, values)
        image_keys = self._split(self.norm_added_k(self.add_k_proj(context.image_BMD)))
        return BlockKV(keys, values, image_keys, self._split(self.add_v_proj(context.image_BMD)))

    @torch.no_grad()
    def fuse_qkv(self) -> None:
        """Compute queries, keys and values in one matrix product from now on, where no gradients are wanted. The
        weights keep their names and become views of one tensor. Weights that are dequantized on every use and weights
        on different devices are left as they are. Call it once the weights are on the device where they will be
        used."""
        maps = [self.to_q, self.to_k, self.to_v]
        tensors = [_row_tensors(m) for m in maps]
        kinds = {
            (type(m), *((t.dtype, t.device) for t in rows.values())) for m, rows in zip(maps, tensors, strict=True)
        }
        if len(kinds) != 1 or not all(tensors):
            return
        joined = {name: torch.cat([rows[name] for rows in tensors]) for name in tensors[0]}
        for name, tensor in joined.items():
            for m, view in zip(maps, tensor.chunk(3), strict=True):
                getattr(m, name).data = view
        product = maps[0].product if isinstance(maps[0], RowwiseLinear) else F.linear
        self._fused = FusedLinear(type(maps[0]), product, tuple(joined.values()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        self._fused = None  # weights that move or change dtype are no longer parts of one tensor
        return super()._apply(fn, recurse)

    def _rotate(self, norm: RMSNorm, x_BND: Tensor, rotary_emb: tuple[Tensor, Tensor]) -> Tensor:
        cos_NK, sin_NK = rotary_emb
        return rope(self._split(norm(x_BND)), cos_NK, sin_NK)

    def _split(self, x_BND: Tensor) -> Tensor:
        return x_BND.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _out(self, seen_BhNk: Tensor) -> Tensor:
        return self.to_out[0](seen_BhNk.transpose(1, 2).flatten(2))


def _is_frozen(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the module is a linear layer of this kind that does not train and carries no adapter."""
    return type(module) is kind and not module.weight.requires_grad  # type: ignore[union-attr]


def _row_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a linear layer that can be fused, in the order in which its product takes them; none of others."""
    if isinstance(module, RowwiseLinear):
        return module.row_tensors()
    return dict(module.named_parameters()) if type(module) is nn.Linear else {}


class ActivatedLinear(nn.Module):
    """A linear layer and an activation. fused: computes both from x, weight and bias, where no gradients are wanted."""

    def __init__(self, dim_in: int, dim_out: int, activation: nn.Module) -> None:
        super().__init__()
        self.proj, self.activation = nn.Linear(dim_in, dim_out), activation
        self.fused: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        differentiates = torch.is_grad_enabled() and x.requires_grad
        if self.fused is not None and _is_frozen(self.proj, nn.Linear) and not differentiates:
            return self.fused(x, self.proj.weight, self.proj.bias)
        y = self.proj(x)
        if isinstance(self.activation, TanhGELU) and not (torch.is_grad_enabled() and y.requires_grad):
            return tanh_gelu(y, in_place=True)
        return self.activation(y)


class FeedForward(nn.Module):
    def __init__(self, dim_in: int, hidden: int, dim_out: int, activation: nn.Module) -> None:
        super().__init__()
        # The middle place is where the files count a dropout.
        self.net = nn.Sequential(ActivatedLinear(dim_in, hidden, activation), nn.Identity(), nn.Linear(hidden, dim_out))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TanhGELU(nn.Module):
    """The tanh approximation of GELU (Hendrycks & Gimpel, arXiv 1606.08415)."""

    def forward(self, x: Tensor) -> Tensor:
        return tanh_gelu(x)


class BlockLayers(NamedTuple):
    """What a block consists of, whatever its class; as ``Block`` has it."""

    attn1: Attention
    attn2: Attention
    norm2: nn.LayerNorm | None
    ffn: FeedForward
    scale_shift_table: Tensor
    eps: float


def update_gathered(
    layers: BlockLayers,
    x_BND: Tensor,
    kv: BlockKV,
    rows_RD: Tensor,
    index_BN: Tensor,
    rotary_emb: tuple[Tensor, Tensor],
    text_mask_BL: Tensor | None,
) -> Tensor:
    """The tokens after a block, from ``graph_inputs``. This is what is compiled: the compiler gathers each modulation
    where it uses it, and one graph serves all blocks, those of a control branch too."""
    first_BN = MODULATIONS * index_BN
    modulation = [layers.scale_shift_table[0, i] + rows_RD[first_BN + i].float() for i in range(MODULATIONS)]
    return _update(layers, x_BND, kv, modulation, rotary_emb, text_mask_BL)


def _update(
    layers: BlockLayers,
    x_BND: Tensor,
    kv: BlockKV,
    modulation: Sequence[Tensor],
    rotary_emb: tuple[Tensor, Tensor],
    text_mask_BL: Tensor | None,
    timestep_index: TimestepIndex | None = None,
) -> Tensor:
    """modulation: shift, scale and gate of attention and of feed-forward, as ``modulate`` takes them."""
    shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = modulation
    # What is modulated has no name, so that it is let go when it has been used.
    y_BND = layers.attn1(modulate(x_BND, shift, scale, layers.eps, timestep_index), rotary_emb)
    x_BND = add_gated(x_BND, y_BND, gate, timestep_index)
    del y_BND
    x_BND = x_BND + layers.attn2.cross_attend(_before_text(x_BND, layers), kv, text_mask_BL)
    y_BND = layers.ffn(modulate(x_BND, shift_ffn, scale_ffn, layers.eps, timestep_index))
    return add_gated(x_BND, y_BND, gate_ffn, timestep_index)


def _before_text(x_BND: Tensor, layers: BlockLayers) -> Tensor:
    if layers.norm2 is None:
        return x_BND
    return layer_norm(x_BND, layers.eps, layers.norm2.weight, layers.norm2.bias).type_as(x_BND)


class Block(nn.Module):
    """Self-attention, cross-attention to text and image tokens, and feed-forward. Norms, modulation and residual sums
    are computed in float32. compilable: the function that may be compiled. graph: runs it compiled, and returns None
    where that cannot be done; itself None where it is not tried."""

    compilable = staticmethod(update_gathered)

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.attn1 = Attention(config)
        self.attn2 = Attention(config, with_image=config.image_dim is not None)
        self.norm2 = nn.LayerNorm(config.dim, config.eps) if config.cross_attn_norm else None
        self.ffn = FeedForward(config.dim, config.ffn_dim, config.dim, TanhGELU())
        self.scale_shift_table = nn.Parameter(torch.zeros(1, MODULATIONS, config.dim))
        self.graph: Callable[..., Tensor | None] | None = None

    def forward(
        self,
        x_BND: Tensor,
        context: TextContext | BlockKV,
        modulation_BU6D: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
        text_mask_BL: Tensor | None = None,
        timestep_index: TimestepIndex | None = None,
    ) -> Tensor:
        """Return the tokens after the block; (1, N, D) becomes (B, N, D) where the context has B samples.

        context: text and image tokens, or their cached keys and values. modulation: shift, scale and gate of attention
        and feed-forward, one for each sample (U = 1), for each token (U = N) or, with ``timestep_index``, for each
        distinct timestep. rotary_emb: (cosines, sines) of ``rope_tables``.
        """
        kv = context if isinstance(context, BlockKV) else self.attn2.project_context(context)
        if self.graph is not None:
            x, rows_RD, index_BN = graph_inputs(x_BND, kv, rotary_emb, modulation_BU6D, timestep_index)
            updated_BND = self.graph(self._layers, x, kv, rows_RD, index_BN, rotary_emb, text_mask_BL)
            if updated_BND is not None:
                return updated_BND
        modulation = (self.scale_shift_table + modulation_BU6D.float()).unbind(dim=2)
        return _update(self._layers, x_BND, kv, modulation, rotary_emb, text_mask_BL, timestep_index)

    @property
    def _layers(self) -> BlockLayers:
        return BlockLayers(self.attn1, self.attn2, self.norm2, self.ffn, self.scale_shift_table, self.eps)


def modulate(
    x_BND: Tensor, shift: Tensor, scale: Tensor, eps: float, timestep_index: TimestepIndex | None = None
) -> Tensor:
    """norm(x) * (1 + scale) + shift, computed in float32. shift, scale: (B, U, D), as in ``Block.forward``."""
    gain = 1 + scale
    if timestep_index is None:
        return _affine_norm(x_BND, gain, shift, eps)
    slices = _token_slices(timestep_index)
    return torch.cat([_affine_norm(x_BND[:, i:j], gain[:, rows], shift[:, rows], eps) for i, j, rows in slices], dim=1)


def _affine_norm(x_BND: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    if shift.shape[:2] == (1, 1):  # then it is a layer norm's own weight and bias
        return layer_norm(x_BND, eps, gain[0, 0], shift[0, 0]).type_as(x_BND)
    return torch.addcmul(shift, layer_norm(x_BND, eps), gain).type_as(x_BND)


def add_gated(x_BND: Tensor, y_BND: Tensor, gate: Tensor, timestep_index: TimestepIndex | None = None) -> Tensor:
    """x + y * gate, computed in float32. gate: (B, U, D), as in ``Block.forward``."""
    if timestep_index is not None:
        parts = [add_gated(x_BND[:, i:j], y_BND[:, i:j], gate[:, rows]) for i, j, rows in _token_slices(timestep_index)]
        return torch.cat(parts, dim=1)
    if x_BND.dtype == torch.float32:
        return torch.addcmul(x_BND, y_BND.float(), gate)
    return x_BND.float().addcmul_(y_BND.float(), gate).type_as(x_BND)  # the copy in float32 may be overwritten


def _token_slices(timestep_index: TimestepIndex) -> Iterator[tuple[int, int, slice | Tensor]]:
    """(first token, one past the last, the rows of the distinct timesteps that these tokens use)."""
    if isinstance(timestep_index, tuple):
        yield from ((i, j, slice(u, u + 1)) for i, j, u in timestep_index)
        return
    for i in range(0, len(timestep_index), TOKEN_CHUNK):
        yield i, min(i + TOKEN_CHUNK, len(timestep_index)), timestep_index[i : i + TOKEN_CHUNK]
