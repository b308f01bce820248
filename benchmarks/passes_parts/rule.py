"""From which canvas on both passes of a guided step no longer gain from running as one batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from passes_parts import networks
from passes_parts.rows import Row, Shape, scaled
from sora.models.guidance import GuidedTransformer
from sora.models.wan.layout import CONFIGS
from timing import Timed, by_turns

SHAPES: dict[str, tuple[Shape, ...]] = {
    "cpu": ((1, 12, 16), (1, 24, 26), (3, 24, 26), (4, 32, 32), (5, 30, 52)),
    "cuda": ((1, 30, 52), (1, 60, 104), (5, 60, 104), (9, 60, 104), (21, 60, 104)),
}


def guided_steps(device: str, dtype: torch.dtype) -> Iterator[tuple[int, Timed, Timed]]:
    """(tokens, a step in two passes, in one batch), with the text's keys and values kept."""
    # Several blocks, since one batch does the first one's self-attention once for both.
    config = scaled(3, 4) if device == "cpu" else CONFIGS["wan2.1-1.3b"]
    network = networks.ours(networks.theirs(config, device, dtype), config)
    network.fuse_qkv()
    for shape in SHAPES[device]:
        row = Row(config, shape, guided=True)
        given = networks.pass_inputs(row, device, dtype)
        works = []
        for joins in (False, True):
            passes = GuidedTransformer(given.text_BLD, batch_guidance=lambda joins=joins: joins)
            flows = lambda p=passes, g=given: p.velocities(lambda: network, g.x_BCTHW, g.times_B_or_BN, guided=True)  # noqa: E731
            works.append(torch.inference_mode()(flows))
        apart, joined = by_turns(works, runs=4, warm_ups=1)
        yield row.tokens, apart, joined
