"""What a workload needs memory for, in plain numbers that a model family provides. Imports nothing heavy.

How much memory a network takes while it runs, besides its weights, only the family knows: it provides functions of the
plan's decisions, in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


@dataclass(frozen=True)
class WeightsSize:
    """parameters: how many. bytes_per_parameter: in memory between uses: 4 float32, 2 bfloat16, 1 float8, 0.5625
    Q4_K."""

    parameters: int = 0
    bytes_per_parameter: float = 2.0

    @property
    def bytes(self) -> int:
        return round(self.parameters * self.bytes_per_parameter)

    @classmethod
    def of(cls, network: nn.Module, bytes_per_parameter: float = 2.0) -> WeightsSize:
        """The size of a network's weights."""
        return cls(count([network]), bytes_per_parameter)


@dataclass(frozen=True)
class NetworkSize:
    """A network whose blocks can be offloaded. block_parameters: parameters in its ``block_count`` blocks;
    largest_block: in the largest of them."""

    weights: WeightsSize = WeightsSize()
    block_parameters: int = 0
    block_count: int = 0
    largest_block: int = 0


class SamplingBytes(Protocol):
    """Bytes that one pass of the transformer takes besides its weights, with everything that the sampler holds."""

    def __call__(self, *, sequential_guidance: bool, quantized: bool, caches_text: bool) -> int:
        """sequential_guidance: prompt and negative prompt run one after the other, where both would be one batch.
        quantized: weights are dequantized on every use. caches_text: keys and values of the text stay for all passes of
        a clip."""
        ...


BytesByTile = Callable[[int | None], int]
"""Bytes that the autoencoder takes besides its weights, by the most latents along a tile's side; None for no tiles."""


@dataclass(frozen=True)
class Needs:
    """What a workload needs memory for. transformer: one of ``experts`` networks of this size that are used in turn.
    text, image: the encoders. vae: the autoencoder. latent_side: latents of the longer side of one window.
    sampling_bytes, decoding_bytes, encoding_bytes: see ``SamplingBytes`` and ``BytesByTile``; encoding_bytes is None
    where no pixel is known. text_bytes: what the text encoder takes besides its weights. converted_bytes: of one
    transformer's weights once they are loaded and have been converted to a smaller format on the device; None where
    they are not converted. batches_guidance: whether prompt and negative prompt are one batch. dtype_bytes: of a number
    that the transformer computes with. unified_memory: whether the device's memory is the machine's own, so that
    offloading gains nothing (CPU, MPS). processes: that paint it together, each with a transformer and an autoencoder
    of its own, on a device of its own or in one unified memory; sampling_bytes are those of one of them."""

    transformer: NetworkSize
    vae: WeightsSize
    latent_side: int
    sampling_bytes: SamplingBytes
    decoding_bytes: BytesByTile
    encoding_bytes: BytesByTile | None = None
    text: NetworkSize = NetworkSize()
    image: WeightsSize = WeightsSize()
    text_bytes: int = 0
    converted_bytes: int | None = None
    experts: int = 1
    batches_guidance: bool = False
    dtype_bytes: int = 4
    unified_memory: bool = False
    processes: int = 1


def count(networks: Iterable[nn.Module]) -> int:
    """Parameters of all of them."""
    return sum(parameter.numel() for network in networks for parameter in network.parameters())
