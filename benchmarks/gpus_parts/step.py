"""A step of a transformer of a published size with random weights, shared by the processes of a group. As a module
(``python -m gpus_parts.step``) it is one of these processes, other than the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpu_parts.networks import filled
from passes_parts import rows
from passes_parts.rows import Row
from sora.models.attention import use_fastest_attention
from sora.models.guidance import GuidedTransformer
from sora.networks.wan.dit import SharedTimesteps, WanDiT
from sora.runtime.compile import compile_blocks
from sora.runtime.parallel import worker
from sora.runtime.parallel.config import choose_config
from sora.runtime.parallel.ranks import Ranks
from sora.runtime.speed import DEFAULT_SPEED

SMALL = {name.replace("384", "512"): replace(row, config=rows.scaled(4, 2)) for name, row in rows.QUICK.items()}
"""For a CPU: four heads, which two and four processes can divide."""

ROWS = {**rows.CUDA, **SMALL}


class Step:
    """One step of a row. ranks: None for one process alone."""

    def __init__(self, name: str, device: torch.device, ranks: Ranks | None) -> None:
        self.row, self.device, self.ranks = ROWS[name], device, ranks
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        with torch.device("meta"):
            network = WanDiT(self.row.config)
        self.network = filled(network, device, self.dtype)
        self.network.fuse_qkv()
        if ranks is not None:
            self.network.parallelize(ranks.sequence)
        use_fastest_attention(self.network, self.row.shape, device, self.dtype, DEFAULT_SPEED)
        if device.type == "cuda":
            compile_blocks(self.network.blocks_in_order())
        guided, size = self.row.guided, 1 if ranks is None else ranks.size
        config = choose_config(size, self.row.config.heads, guided=guided)
        assert config is not None, f"{size} processes cannot divide {name}"
        self.config = config
        text = torch.randn(2 if guided else 1, rows.WORDS, self.row.config.text_dim, device=device, dtype=self.dtype)
        halves = ranks if config.cfg_degree == 2 else None
        mean = torch.mean if ranks is None else ranks.sequence.mean
        self.transformer = GuidedTransformer(text, halves=halves, mean=mean)

    def latents(self) -> Tensor:
        return torch.randn(1, self.row.config.in_channels, *self.row.shape, device=self.device, dtype=self.dtype)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        if self.ranks is not None:
            self.ranks.use(self.config)
        return self.transformer.velocities(
            lambda: self.network, x, _times(self.row, self.device), guided=self.row.guided
        )


def _times(row: Row, device: torch.device) -> Tensor | SharedTimesteps:
    """The first latent frame's is 0 where each token has its own."""
    if not row.per_token_timesteps:
        return torch.full((1,), 700, device=device)
    frame = row.tokens // row.shape[0]
    distinct = torch.tensor([[700, 0]], device=device)
    return SharedTimesteps(distinct, ((0, frame, 1), (frame, row.tokens, 0)))


def prepare(job: str, ranks: Ranks) -> Callable[[Any], Any]:
    """job: a row's name. A message is the latents of a step."""
    step = Step(job, ranks.device, ranks)

    def handle(x: Tensor) -> None:
        step(x)

    return handle


if __name__ == "__main__":
    worker.serve(prepare)
