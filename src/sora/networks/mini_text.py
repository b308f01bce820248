"""The embedded model's text encoder: words in, a few slots out.

Learned slots stand before the words; two transformer layers let them read the words, and the slots alone are what the
painter attends to. Training makes each slot answer one question about the caption (see ``training.reading``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MiniTextConfig:
    """vocabulary: number of word ids, 0 being padding and 1 the unknown word. length: words read at most."""

    vocabulary: int
    width: int = 128
    slots: int = 8
    layers: int = 2
    heads: int = 4
    length: int = 32


class MiniText(nn.Module):
    """Word ids to slots."""

    def __init__(self, config: MiniTextConfig) -> None:
        super().__init__()
        self.config = c = config
        self.words = nn.Embedding(c.vocabulary, c.width, padding_idx=0)
        self.places = nn.Parameter(torch.randn(c.length, c.width) * 0.1)
        self.slots = nn.Parameter(torch.randn(c.slots, c.width))
        layer = nn.TransformerEncoderLayer(
            c.width, c.heads, 4 * c.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, c.layers, nn.LayerNorm(c.width), enable_nested_tensor=False)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """ids (B, L <= length), 0 where there is no word, to slots (B, slots, width)."""
        words = self.words(ids_BL) + self.places[: ids_BL.shape[1]]
        slots = self.slots.expand(ids_BL.shape[0], -1, -1)
        absent = torch.cat([ids_BL.new_zeros(slots.shape[:2], dtype=torch.bool), ids_BL == 0], dim=1)
        out = self.layers(torch.cat([slots, words], dim=1), src_key_padding_mask=absent)
        return out[:, : slots.shape[1]]
