"""The arithmetic of the layers that the networks of several families are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sora.models.work import GIGA, TERA, Work

IN_FRAME, CAUSAL = 3 * 3, 3 * 3 * 3
"""Taps of a 3x3 convolution within a frame, and of one that sees two earlier frames as well."""


@dataclass(frozen=True)
class ConvolutionWork:
    """A convolution, or the attention of the positions of a frame to one another. positions: at which it is computed,
    in all frames together. taps, inputs, outputs: of a convolution, per position. attended: positions that each
    attends to by ``outputs`` channels; 0 for a convolution."""

    positions: float
    taps: int
    inputs: int
    outputs: int
    attended: float = 0

    @property
    def parameters(self) -> int:
        return 0 if self.attended else self.taps * self.inputs * self.outputs

    @property
    def operations(self) -> float:
        each = 4 * self.attended * self.outputs if self.attended else 2 * self.parameters
        return self.positions * each


def work_of(layers: Iterable[ConvolutionWork]) -> Work:
    """Of all layers together."""
    listed = tuple(layers)
    operations = sum(layer.operations for layer in listed) / TERA
    return Work(operations, sum(layer.positions * layer.outputs for layer in listed) / GIGA)


@dataclass(frozen=True)
class TransformerWork:
    """A Wan transformer. layers: its blocks; control_layers: those of its control branch. width, ffn: channels of a
    token, and inside the feed-forward. text: (places, channels) of the text. image: of its image embeddings, (0, 0)
    for none. inputs, outputs: numbers of a patch of latents. control_inputs: of a patch of control latents."""

    layers: int
    width: int
    ffn: int
    text: tuple[int, int]
    inputs: int
    outputs: int
    control_layers: int = 0
    control_inputs: int = 0
    image: tuple[int, int] = (0, 0)

    @property
    def blocks(self) -> int:
        return self.layers + self.control_layers

    @property
    def in_a_block(self) -> int:
        """Parameters of the linear layers of a block: two attentions and the feed-forward."""
        image = 2 * self.width**2 if self.image[0] else 0
        return 8 * self.width**2 + 2 * self.width * self.ffn + image

    @property
    def in_blocks(self) -> int:
        """Parameters of all blocks, with what adds the control branch's hints."""
        hints = (self.control_layers + bool(self.control_layers)) * self.width**2
        return self.blocks * self.in_a_block + hints

    @property
    def parameters(self) -> int:
        outside = self.inputs + self.outputs + self.control_inputs + self.text[1] + 8 * self.width
        return self.in_blocks + self.width * outside

    def linear(self, tokens: int) -> float:
        """Operations of the linear layers in a pass over so many tokens, keys and values of the text left out, which
        are computed once a clip."""
        in_a_block = 6 * self.width**2 + 2 * self.width * self.ffn
        hints = (self.control_layers + bool(self.control_layers)) * self.width**2
        ends = self.width * (self.inputs + self.outputs + self.control_inputs)
        return 2 * tokens * (self.blocks * in_a_block + hints + ends)

    def attention(self, tokens: int) -> float:
        """Operations of the attention of tokens to one another."""
        return 4 * tokens**2 * self.width * self.blocks

    def text_attention(self, tokens: int) -> float:
        """Operations of the attention of tokens to text and image."""
        return 4 * tokens * (self.text[0] + self.image[0]) * self.width * self.blocks

    def elements(self, tokens: int) -> float:
        """Numbers that a pass takes through norms, modulation, rotary embedding and residual sums."""
        return tokens * self.width * self.blocks
