"""The transformer of Wan 2.1 and 2.2 (arXiv 2503.20314; github.com/Wan-Video/Wan2.1), at any size.

Tokens of a latent video attend to one another, to text and, in some networks, to image tokens; the timestep scales,
shifts and gates every block. Parameters carry the names of diffusers' ``WanTransformer3DModel``, and of its
``SkyReelsV2Transformer3DModel`` where the frame rate is an input, so their files load strictly.

Axis letters: B batch; C channels; T H W latents; N tokens; U distinct timesteps; L text or image tokens; D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sora.networks.layers import AttentionFunction, layer_norm, rope_tables, timestep_embedding
from sora.networks.wan.blocks import (
    Block,
    BlockKV,
    FeedForward,
    RMSNorm,
    TanhGELU,
    TextContext,
    TimestepIndex,
    modulate,
)
from sora.networks.wan.config import WanConfig

LORA_TARGETS = (
    *("to_q", "to_k", "to_v", "to_out.0"),  # of attention
    *("ffn.net.0.proj", "ffn.net.2"),
    *("text_embedder.linear_1", "text_embedder.linear_2"),
)
"""The linear maps that a LoRA changes: the ends of their names."""


@dataclass(frozen=True)
class CrossAttnCache:
    """Keys and values of text and image tokens for the cross-attention of every block. They are the same at every
    timestep of a clip, so ``WanDiT.cache_context`` computes them once.

    kv_by_block: by the block's ``id``, so that the cache keeps no network alive. batch_size: number of samples.
    """

    kv_by_block: Mapping[int, BlockKV]
    batch_size: int


@dataclass(frozen=True)
class SharedTimesteps:
    """Timesteps that many tokens share. distinct_BU: in [0, 1000]. index: which of them each token has."""

    distinct_BU: Tensor
    index: TimestepIndex


@dataclass(frozen=True)
class BlockInputs:
    """What every block takes besides the tokens; fields as the parameters of ``Block.forward``."""

    context: TextContext | CrossAttnCache
    modulation_BU6D: Tensor
    rotary_emb: tuple[Tensor, Tensor]
    text_mask_BL: Tensor | None
    timestep_index: TimestepIndex | None

    def share(self, own: slice, tokens: int) -> BlockInputs:
        """The same for a share of the tokens. tokens: how many there are in all."""
        cos_NK, sin_NK = self.rotary_emb
        modulation, index = self.modulation_BU6D, self.timestep_index
        return replace(
            self,
            modulation_BU6D=modulation[:, own] if index is None and modulation.shape[1] == tokens else modulation,
            rotary_emb=(cos_NK[own], sin_NK[own]),
            timestep_index=None if index is None else _share_of_index(index, own),
        )

    def for_block(self, block: nn.Module) -> tuple[Any, ...]:
        """The arguments of one block, in the order in which it takes them."""
        context = self.context.kv_by_block[id(block)] if isinstance(self.context, CrossAttnCache) else self.context
        return context, self.modulation_BU6D, self.rotary_emb, self.text_mask_BL, self.timestep_index


def _share_of_index(index: TimestepIndex, own: slice) -> TimestepIndex:
    if isinstance(index, Tensor):
        return index[own]
    runs = ((max(i, own.start), min(j, own.stop), u) for i, j, u in index)
    return tuple((i - own.start, j - own.start, u) for i, j, u in runs if i < j)


class StepCache(Protocol):
    """Decides, from what the first block did to the tokens, whether the other blocks have to run."""

    def run(self, before_BND: Tensor, after_BND: Tensor, rest: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the tokens after all blocks: rest(after), or an approximation of it. before, after: the tokens before
        and after the first block."""
        ...


class SequenceParallel(Protocol):
    """Divides the tokens of a pass among several processes. Each runs the blocks on a share of its own."""

    def share_of(self, tokens: int) -> slice:
        """This process's share of so many tokens, which every other tensor of the pass with as many is divided by."""
        ...

    def gather(self, x_BNC: Tensor) -> Tensor:
        """The shares of all processes as one tensor, in order."""
        ...

    def attention(self, inner: AttentionFunction) -> AttentionFunction:
        """Attention among the tokens of all processes, computed through ``inner``."""
        ...


class MLP(nn.Module):
    """Two linear layers around an activation: for the timestep (SiLU) or the text (tanh GELU)."""

    def __init__(self, dim_in: int, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1, self.activation, self.linear_2 = nn.Linear(dim_in, dim), activation, nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(self.activation(self.linear_1(x)))


class ImageProjection(nn.Module):
    """Projects an image encoder's tokens to the transformer's width, between two layer norms."""

    def __init__(self, image_dim: int, dim: int, positions: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(image_dim), nn.LayerNorm(dim)
        self.ff = FeedForward(image_dim, image_dim, dim, nn.GELU())
        self.pos_embed = None if positions is None else nn.Parameter(torch.zeros(1, positions, image_dim))

    def forward(self, image_BLD: Tensor) -> Tensor:
        if self.pos_embed is not None:
            image_BLD = self._join_images(image_BLD, self.pos_embed.shape[1]) + self.pos_embed
        return self._norm(self.ff(self._norm(image_BLD, self.norm1)), self.norm2)

    def _join_images(self, image_BLD: Tensor, positions: int) -> Tensor:
        """The tokens of a sample's images as one sequence, whether they came as one already or as one for each
        image."""
        b, m, d = image_BLD.shape
        if b * m % positions or positions % m:
            raise ValueError(f"images of {m} tokens do not fill {positions} positions; expected a first and a last one")
        return image_BLD.reshape(-1, positions, d)

    def _norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return layer_norm(x, norm.eps, norm.weight, norm.bias).type_as(x)


class ConditionEmbedder(nn.Module):
    """Embeds the timestep, text and image tokens to the transformer's width."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.freq_dim = config.freq_dim
        self.time_embedder = MLP(config.freq_dim, config.dim, nn.SiLU())
        self.time_proj = nn.Linear(config.dim, 6 * config.dim)
        self.text_embedder = MLP(config.text_dim, config.dim, TanhGELU())
        if config.image_dim is not None:
            self.image_embedder = ImageProjection(config.image_dim, config.dim, config.pos_embed_seq_len)

    def embed_timestep(self, t_BU: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The timestep's embedding (B, U, D) and its six modulations (B, U, 6, D). U may be 1."""
        waves = timestep_embedding(t_BU, self.freq_dim).to(self.time_embedder.linear_1.weight.dtype)
        time_BUD = self.time_embedder(waves).to(dtype)
        return time_BUD, self.time_proj(F.silu(time_BUD)).unflatten(-1, (6, -1))


class WanDiT(nn.Module):
    """The Wan transformer: latents, timestep and text in, velocity (noise - data) out. A new network has torch's
    default weights: load a file, or call ``init_weights`` before training. ``networks.wan.vace`` adds a control
    branch."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        # A convolution in name, for its parameters; it runs as one matrix product over patches, which is faster on
        # CPUs and, unlike Conv3d, alike on every device.
        self.patch_embedding = nn.Conv3d(config.in_channels, config.dim, config.patch, config.patch)
        self.condition_embedder = ConditionEmbedder(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.proj_out = nn.Linear(config.dim, config.out_channels * math.prod(config.patch))
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 2, config.dim))
        if config.inject_sample_info:
            self.fps_embedding = nn.Embedding(2, config.dim)
            self.fps_projection = FeedForward(config.dim, config.dim, 6 * config.dim, nn.SiLU())
        self.sequence: SequenceParallel | None = None

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
    ) -> Tensor:
        """Return the velocity, of shape (B, out_channels, T, H, W) and the dtype of the weights.

        x_BCTHW: float, C = in_channels; H and W (and T) multiples of the patch. One sample may serve for a whole batch
            of texts; what does not depend on the text is then computed once.
        timestep_B_or_BN: in [0, 1000], 1000 being pure noise; one for each sample, or one for each token in row-major
            (T, H, W) order, or ``SharedTimesteps``.
        text: the text encoder's output (B, L, D), D = text_dim; or the result of ``cache_context``.
        text_mask_BL: bool, True where there is a text token; None attends to every position, padding too, as Wan does.
        image_BLD: the image encoder's output, D = image_dim, of one image (L = 257); with pos_embed_seq_len of a first
            and a last one, as (B, 514, D) or as (2B, 257, D) with a sample's two next to each other. None attends to
            text alone.
        fps: frames a second, for networks with inject_sample_info, which distinguish 16 from any other rate.
        step_cache: may skip all blocks after the first.

        ValueError where these do not fit one another or the network.
        """
        x_BND, time_BUD, inputs = self._prepare_inputs(x_BCTHW, timestep_B_or_BN, text, text_mask_BL, image_BLD, fps)
        if step_cache is None:
            tokens = [x_BND]
            del x_BND
            x_BND = self._run_blocks(range(len(self.blocks)), tokens, inputs)
        else:
            first, others = range(1), range(1, len(self.blocks))
            after_BND = self._run_blocks(first, [x_BND], inputs)
            x_BND = step_cache.run(x_BND, after_BND, lambda tokens: self._run_blocks(others, [tokens], inputs))
        return self._project_out(x_BND, time_BUD, inputs.timestep_index, x_BCTHW)

    def cache_context(self, text_BLD: Tensor, image_BLD: Tensor | None = None) -> CrossAttnCache:
        """Compute the keys and values of text and image tokens for all passes of a clip; pass the result in place of
        the text. Arguments as in ``forward``.

        The cache takes 2 x L x D numbers for each sample and block, and must be computed anew when weights change.
        """
        context = self._embed_context(text_BLD, image_BLD)
        kv = {id(block): block.attn2.project_context(context) for block in self.blocks_in_order()}  # type: ignore
        return CrossAttnCache(kv, len(context.text_BLD))

    def fuse_qkv(self) -> None:
        """Fuse queries, keys and values of every block's self-attention; see ``Attention.fuse_qkv``."""
        for block in self.blocks_in_order():
            block.attn1.fuse_qkv()  # type: ignore[operator]

    def use_attention(self, own: AttentionFunction, text: AttentionFunction) -> None:
        """Let every block attend through these functions: ``own`` among the tokens, ``text`` to text and image
        tokens."""
        own = own if self.sequence is None else self.sequence.attention(own)
        for block in self.blocks_in_order():
            block.attn1.attend, block.attn2.attend = own, text  # type: ignore[union-attr]

    def use_linear_gelu(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        """Let every feed-forward compute its first layer and the tanh GELU that follows through this function of input,
        weight and bias. Layers that train, carry adapters or have another number format go on as they are."""
        for block in self.blocks_in_order():
            block.ffn.net[0].fused = function  # type: ignore[union-attr, index]

    def parallelize(self, sequence: SequenceParallel) -> None:
        """Compute this process's share of the tokens from now on, and attend to those of all processes."""
        self.sequence = sequence
        for block in self.blocks_in_order():
            block.attn1.attend = sequence.attention(block.attn1.attend)  # type: ignore[union-attr]

    def blocks_in_order(self) -> list[nn.Module]:
        """The blocks in the order in which a forward pass calls them."""
        return list(self.blocks)

    def _run_blocks(self, layers: range, tokens: list[Tensor], inputs: BlockInputs) -> Tensor:
        """tokens: one (B, N, D). It is taken from the list, so that its caller need not keep it for the time that all
        the blocks take."""
        x_BND = tokens.pop()
        for layer in layers:
            block = self.blocks[layer]
            x_BND = block(x_BND, *inputs.for_block(block))
        return x_BND

    def _prepare_inputs(
        self,
        x_BCTHW: Tensor,
        timestep: Tensor | SharedTimesteps,
        text: Tensor | CrossAttnCache,
        text_mask_BL: Tensor | None,
        image_BLD: Tensor | None,
        fps: float | None,
    ) -> tuple[Tensor, Tensor, BlockInputs]:
        """Return tokens (B, N, D), the timestep's embedding, and the blocks' other inputs: of this process's share,
        where several have one each. Arguments as in ``forward``."""
        shape = x_BCTHW.shape[2], x_BCTHW.shape[3], x_BCTHW.shape[4]
        rotary_emb = rope_tables(self.config.token_shape(shape), self.config.head_dim, x_BCTHW.device)
        x_BND = self._embed_patches(x_BCTHW, self.patch_embedding)
        context = text if isinstance(text, CrossAttnCache) else self._embed_context(text, image_BLD)
        batch_size = context.batch_size if isinstance(context, CrossAttnCache) else len(context.text_BLD)
        if len(x_BND) not in (1, batch_size):
            raise ValueError(f"text for {batch_size} samples; expected as many as latents, {len(x_BND)}")
        timestep_index = timestep.index if isinstance(timestep, SharedTimesteps) else None
        t_BU = (
            timestep.distinct_BU
            if isinstance(timestep, SharedTimesteps)
            else timestep[:, None]
            if timestep.ndim == 1
            else timestep
        )
        time_BUD, modulation_BU6D = self.condition_embedder.embed_timestep(t_BU, x_BND.dtype)
        inputs = BlockInputs(context, self._add_fps(modulation_BU6D, fps), rotary_emb, text_mask_BL, timestep_index)
        if self.sequence is None:
            return x_BND, time_BUD, inputs
        tokens = math.prod(self.config.token_shape(shape))
        own = self.sequence.share_of(tokens)
        time_BUD = time_BUD[:, own] if timestep_index is None and time_BUD.shape[1] == tokens else time_BUD
        return x_BND, time_BUD, inputs.share(own, tokens)

    def _embed_context(self, text_BLD: Tensor, image_BLD: Tensor | None) -> TextContext:
        """Embed text and image tokens. Raises ValueError for an image that the network cannot take, and for one whose
        batch differs from the text's."""
        weight = self.patch_embedding.weight
        text_BLD = self.condition_embedder.text_embedder(text_BLD.type_as(weight))
        if image_BLD is None:
            return TextContext(text_BLD)
        if self.config.image_dim is None:
            raise ValueError("this network takes no image (image_dim is None); expected image_BLD = None")
        image_tokens_BLD = self.condition_embedder.image_embedder(image_BLD.type_as(weight))
        if len(image_tokens_BLD) != len(text_BLD):
            raise ValueError(f"images for {len(image_tokens_BLD)} samples; expected as many as texts, {len(text_BLD)}")
        return TextContext(text_BLD, image_tokens_BLD)

    def _add_fps(self, modulation_BU6D: Tensor, fps: float | None) -> Tensor:
        if self.config.inject_sample_info != (fps is not None):
            wanted = "the clip's" if self.config.inject_sample_info else "None, since this network takes no frame rate"
            raise ValueError(f"fps is {fps}; expected {wanted}")
        if fps is None:
            return modulation_BU6D
        which = torch.tensor(0 if fps == 16 else 1, device=modulation_BU6D.device)
        return modulation_BU6D + self.fps_projection(self.fps_embedding(which)).unflatten(-1, (6, -1))

    def _project_out(
        self, x_BND: Tensor, time_BUD: Tensor, timestep_index: TimestepIndex | None, like_BCTHW: Tensor
    ) -> Tensor:
        """Project tokens to a velocity of the time, height and width of ``like_BCTHW``."""
        shift, scale = (self.scale_shift_table + time_BUD.float()[:, :, None]).unbind(dim=2)
        x_BNP = self.proj_out(modulate(x_BND, shift, scale, self.config.eps, timestep_index))
        x_BNP = x_BNP if self.sequence is None else self.sequence.gather(x_BNP)
        p, q, r = self.config.patch
        t, h, w = self.config.token_shape((like_BCTHW.shape[2], like_BCTHW.shape[3], like_BCTHW.shape[4]))
        return rearrange(x_BNP, "B (T H W) (p q r C) -> B C (T p) (H q) (W r)", T=t, H=h, W=w, p=p, q=q, r=r)

    def _embed_patches(self, x_BCTHW: Tensor, embedding: nn.Conv3d) -> Tensor:
        """Tokens (B, N, D): of this process's share, where several have one each."""
        p, q, r = self.config.patch
        patches = rearrange(x_BCTHW, "B C (T p) (H q) (W r) -> B (T H W) (C p q r)", p=p, q=q, r=r)
        if self.sequence is not None:
            patches = patches[:, self.sequence.share_of(patches.shape[1])]
        return F.linear(patches.type_as(embedding.weight), embedding.weight.flatten(1), embedding.bias)

    @torch.no_grad()
    def init_weights(self) -> None:
        """Initialise weights for training: Xavier in the blocks and patches, std 0.02 in the embeddings of timestep and
        text (as Wan), modulation tables of std dim^-0.5, and a zero output, so that training starts from velocity 0."""
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
