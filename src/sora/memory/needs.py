"""What a painting needs memory for, in plain numbers that a family gives. Imports nothing heavy.

What a network takes beside its weights while it runs is the family's to know: it gives functions of what a plan
decides, in bytes.
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
    """parameters: how many. stored: bytes each takes in memory between uses: 4 float32, 2 bfloat16, 1 float8, 0.5625
    Q4_K."""

    parameters: int = 0
    bytes_per_parameter: float = 2.0

    @property
    def bytes(self) -> int:
        return round(self.parameters * self.bytes_per_parameter)

    @classmethod
    def of(cls, network: nn.Module, bytes_per_parameter: float = 2.0) -> WeightsSize:
        """Those of a network."""
        return cls(count([network]), bytes_per_parameter)


@dataclass(frozen=True)
class NetworkSize:
    """A network of which blocks can be streamed. in_blocks: parameters in its ``blocks`` blocks; largest: in the
    largest of them."""

    weights: WeightsSize = WeightsSize()
    block_parameters: int = 0
    block_count: int = 0
    largest_block: int = 0


class SamplingBytes(Protocol):
    """Bytes that one pass of the transformer takes beside its weights, with all that the sampler holds."""

    def __call__(self, *, sequential_guidance: bool, quantized: bool, caches_text: bool) -> int:
        """one_prompt: a prompt and its negative in turn, where both would go together. quantised: weights are unpacked
        on every use. keeps_text: keys and values of the text stay for all passes of a clip."""
        ...


BytesByTile = Callable[[int | None], int]
"""Bytes that the autoencoder takes beside its weights, by the most latents of a tile's side; None for no tiles."""


@dataclass(frozen=True)
class Needs:
    """A painting, as far as memory goes. transformer: of one of ``experts`` networks of this size that take turns.
    text, image: the encoders. vae: the autoencoder. side: latents of the longer side of what is painted at once.
    sampling, decoding, encoding: see ``Sampling`` and ``Tiled``; encoding is None where no pixel is known. reading:
    bytes that the text encoder takes beside its weights. paired: whether a prompt and its negative go through the
    transformer together. number: bytes of a number the transformer computes with. unified: whether the device's memory
    is the machine's own, so that nothing is gained by streaming out of it (CPU, MPS)."""

    transformer: NetworkSize
    vae: WeightsSize
    latent_side: int
    sampling_bytes: SamplingBytes
    decoding_bytes: BytesByTile
    encoding_bytes: BytesByTile | None = None
    text: NetworkSize = NetworkSize()
    image: WeightsSize = WeightsSize()
    text_bytes: int = 0
    experts: int = 1
    batches_guidance: bool = False
    dtype_bytes: int = 4
    unified_memory: bool = False


def count(networks: Iterable[nn.Module]) -> int:
    """Parameters of all of them."""
    return sum(parameter.numel() for network in networks for parameter in network.parameters())
