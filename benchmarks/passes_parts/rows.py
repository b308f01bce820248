"""What is measured: sizes of networks and canvases, and the arithmetic that a pass of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from sora.models.wan.layout import CONFIGS
from sora.networks.wan.config import WanConfig

WORDS = 512
"""Places of text, padding too, as Wan's pipelines give them."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """shape: of the latents, (T, H, W). times: whether each token has a time of its own; the first latent frame's is 0,
    as where it is known. guided: a step of two passes, for the prompt and its negative, instead of one pass. runs: of
    each work. ablates: whether the optimisations are disabled one by one too."""

    config: WanConfig
    shape: Shape
    per_token_timesteps: bool = False
    guided: bool = False
    runs: int = 5
    ablates: bool = True

    @property
    def tokens(self) -> int:
        return prod(self.config.token_shape(self.shape))

    @property
    def teraflop(self) -> float:
        """Of one pass: two operations a weight and token, and a score's two products of a head's channels."""
        c, n = self.config, self.tokens
        per_token = 6 * c.dim**2 + 2 * c.dim * c.ffn_dim
        per_word = 2 * c.dim**2
        linear = c.num_layers * (n * per_token + WORDS * per_word) + WORDS * (c.text_dim + c.dim) * c.dim
        attention = c.num_layers * n * (n + WORDS) * c.dim
        return (2 * linear + 4 * attention) / 1e12


def scaled(heads: int, layers: int) -> WanConfig:
    """A narrower, shallower Wan whose feed-forward is as wide, relative to its tokens, as the 1.3B's. The text has few
    channels, since it is embedded once a pass: with a few layers its full width would weigh far more than with
    thirty."""
    ffn = round(heads * 128 * 8960 / 1536 / 64) * 64
    return WanConfig(num_layers=layers, heads=heads, ffn_dim=ffn, text_dim=64)


PICTURE, SMALL, MIDDLE = (1, 60, 104), (3, 24, 26), (5, 30, 52)
"""Latents of 1,560 tokens (one picture of 832x480), 468, and 1,950."""

CPU: dict[str, Row] = {
    "width 384, 468 tokens": Row(scaled(3, 4), SMALL, runs=6),
    "width 384, 1,950 tokens": Row(scaled(3, 2), MIDDLE),
    "width 768, 468 tokens": Row(scaled(6, 2), SMALL),
    "width 768, 1,950 tokens": Row(scaled(6, 1), MIDDLE, ablates=False),
    "width 1536, 468 tokens": Row(scaled(12, 2), SMALL, runs=4, ablates=False),
    "width 1536, 1,560 tokens": Row(scaled(12, 1), PICTURE, runs=4, ablates=False),
    "width 384, 1,950 tokens, a time each": Row(scaled(3, 2), MIDDLE, per_token_timesteps=True),
    "width 384, 468 tokens, guided step": Row(scaled(3, 2), SMALL, guided=True),
}
"""Scaled to one core: heads of 128 channels and 512 places of text as published, fewer heads and layers."""

QUICK: dict[str, Row] = {
    "width 384, 468 tokens": Row(scaled(3, 2), SMALL, runs=4),
    "width 384, 468 tokens, a time each": Row(scaled(3, 2), SMALL, runs=4, per_token_timesteps=True),
    "width 384, 468 tokens, guided step": Row(scaled(3, 2), SMALL, runs=4, guided=True),
}

CUDA: dict[str, Row] = {
    "Wan 2.1 1.3B, 832x480, 81 frames": Row(CONFIGS["wan2.1-1.3b"], (21, 60, 104)),
    "Wan 2.1 1.3B, 832x480, 81 frames, guided step": Row(CONFIGS["wan2.1-1.3b"], (21, 60, 104), guided=True),
    "Wan 2.2 TI2V-5B, 1280x704, 121 frames": Row(CONFIGS["wan2.2-ti2v-5b"], (31, 44, 80), per_token_timesteps=True),
    "Wan 2.1 14B, 832x480, 81 frames": Row(CONFIGS["wan2.1-14b"], (21, 60, 104)),
}
"""True sizes."""

EXACT: dict[str, Row] = {
    "width 384, 104 tokens": Row(scaled(3, 3), (2, 8, 26)),
    "width 384, 104 tokens, a time each": Row(scaled(3, 3), (2, 8, 26), per_token_timesteps=True),
    "width 384, 104 tokens, guided step": Row(scaled(3, 3), (2, 8, 26), guided=True),
}
"""Of the exactness gate: small, since a CPU may compute in bfloat16 by software."""

TINY: dict[str, Row] = {
    "tiny": Row(scaled(1, 2), (2, 4, 6), runs=3),
    "tiny, a time each": Row(scaled(1, 2), (2, 4, 6), per_token_timesteps=True, runs=3),
    "tiny, guided step": Row(scaled(1, 2), (2, 4, 6), guided=True, runs=3),
}
"""To see that the script runs; its figures mean nothing."""


def named(device: str, wanted: str | None, *, quick: bool) -> dict[str, Row]:
    """wanted: "tiny", or parts of names with semicolons between; None is all. quick: few and small ones, on a
    CPU."""
    if wanted == "tiny":
        return TINY
    rows = CUDA if device == "cuda" else QUICK if quick else CPU
    return {name: row for name, row in rows.items() if wanted is None or any(p in name for p in wanted.split(";"))}
