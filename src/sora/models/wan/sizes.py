"""The sizes that the memory estimate of a Wan model depends on: of its networks, and of what is painted.

Each can be read from its network, best on the meta device, where that takes no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from sora.memory import WeightsSize
from sora.memory.needs import count
from sora.models.wan import vae_work
from sora.models.wan.vae_work import VAESizes

if TYPE_CHECKING:
    from torch import nn


NOTHING = WeightsSize()


@dataclass(frozen=True)
class Transformer:
    """A Wan transformer. weights: of one expert, of which ``in_blocks`` parameters are in its ``blocks`` blocks and
    ``largest`` in the largest; only blocks can be offloaded. width, head_dim, ffn: channels of a token, of a head, and
    inside the feed-forward. channels: of the input, with the control latents, of which
    there are ``control_channels``. text: (tokens, channels) of text. patch:
    latents of a token. experts: how many such networks the model has."""

    weights: WeightsSize
    in_blocks: int
    largest: int
    blocks: int
    width: int
    head_dim: int
    ffn: int
    channels: int = 16
    text: tuple[int, int] = (512, 4096)
    patch: tuple[int, int, int] = (1, 2, 2)
    experts: int = 1
    control_channels: int = 0

    @classmethod
    def of(cls, network: nn.Module, bytes_per_parameter: float = 2.0, *, experts: int = 1) -> Transformer:
        """The sizes of a ``WanDiT`` or a ``WanVACE``, which needs no weights."""
        config: Any = network.config
        control_channels = config.vace_in_channels if config.vace_layers else 0
        blocks: Any = [*network.blocks, *(network.vace_blocks if control_channels else ())]  # type: ignore[misc]
        return cls(
            WeightsSize.of(network, bytes_per_parameter),
            in_blocks=count(blocks),
            largest=max(count([block]) for block in blocks),
            blocks=len(blocks),
            width=config.dim,
            head_dim=config.head_dim,
            ffn=config.ffn_dim,
            channels=config.in_channels + control_channels,
            text=(512, config.text_dim),
            patch=config.patch,
            experts=experts,
            control_channels=control_channels,
        )


@dataclass(frozen=True)
class TextEncoder:
    """A UMT5 encoder. weights, in_blocks, blocks: as in ``Transformer``; all blocks have one size. width, ffn: channels
    of a token, and inside the feed-forward. heads: of attention. tokens: of the longest text."""

    weights: WeightsSize
    in_blocks: int
    blocks: int
    width: int
    ffn: int
    heads: int
    tokens: int = 512

    @classmethod
    def of(cls, network: nn.Module, bytes_per_parameter: float = 2.0) -> TextEncoder:
        """The sizes of a ``UMT5``, which needs no weights."""
        config: Any = network.config
        blocks: Any = network.encoder.block  # type: ignore[union-attr]
        return cls(
            WeightsSize.of(network, bytes_per_parameter),
            count(blocks),
            len(blocks),
            config.d_model,
            config.d_ff,
            config.heads,
        )


@dataclass(frozen=True, kw_only=True)
class Autoencoder(VAESizes):
    """A Wan VAE in memory. itemsize: bytes of a number in its feature maps. tile_by_tile: whether all frames of one
    tile are decoded before the next tile; otherwise the feature caches of all tiles stay on the device. copies: whether
    convolutions copy what goes in and comes out into another order in memory, as cuDNN does in float32. fused: whether
    norms before convolutions are one kernel, which makes nothing on the way."""

    weights: WeightsSize
    itemsize: int = 4
    tile_by_tile: bool = False
    copies: bool = False
    fused: bool = False

    @classmethod
    def of(cls, network: nn.Module, itemsize: int = 4, *, copies: bool = False, fused: bool = False) -> Autoencoder:
        """The sizes of a ``WanVAE``, which needs no weights. itemsize: bytes of a number in weights and feature
        maps."""
        sizes: Any = vars(vae_work.sizes_of(network.config))  # type: ignore[arg-type]
        return cls(**sizes, weights=WeightsSize.of(network, itemsize), itemsize=itemsize, copies=copies, fused=fused)


@dataclass(frozen=True)
class Workload:
    """What is painted, and with which networks. latents: (C, T, H, W) of the largest canvas. references: pictures
    that are shown with it, a latent of its size for each. image: an image encoder's weights. prompts: 2 with a negative
    prompt, else 1. batch: 2 where both run as one batch, else 1. windows: canvases of this size that are sampled at
    once, of each of which there is a batch. itemsize: bytes of a number in the transformer's computations. float8:
    whether its layers multiply in float8 where they are not quantized. step_cache: whether there is one. encodes:
    whether pixels are known, so that the VAE's encoder runs. scores: how many attention scores are in memory at once,
    ``layers.MPS_ATTENTION_LIMIT`` on MPS; 0 where attention is fused. unified: as in ``memory.Needs``. processes: that
    paint together. ulysses_degree: how many of them share the tokens of a pass."""

    transformer: Transformer
    text: TextEncoder
    vae: Autoencoder
    latents: tuple[int, int, int, int]
    image: WeightsSize = NOTHING
    batch: int = 2
    itemsize: int = 2
    encodes: bool = False
    scores: int = 0
    unified: bool = False
    references: int = 0
    windows: int = 1
    prompts: int = 2
    float8: bool = False
    step_cache: bool = False
    processes: int = 1
    ulysses_degree: int = 1

    @property
    def sampled_latents(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of what is sampled: the canvas, and the references before it."""
        channels, length, height, width = self.latents
        return channels, self.references + length, height, width

    @property
    def tokens(self) -> int:
        """How many tokens one sample has."""
        return prod(self.sampled_latents[1:]) // prod(self.transformer.patch)

    @property
    def own_tokens(self) -> int:
        """The most of them that one process computes."""
        return -(-self.tokens // self.ulysses_degree)
