"""How many windows of a clip run as one batch through a transformer: shared by all families."""

from __future__ import annotations

import torch

from sora.runtime.speed import Speed

MAX_BATCHED_TOKENS = {"cuda": 8192}
"""The most tokens in one pass of all windows of a batch, by device; guidance may double them. As for both passes of a
guided step (``models.guidance``), it is calculated: with more tokens one window alone fills the device. On a CPU a
batch gains nothing."""

MAX_WINDOWS = 8


def batched_windows(speed: Speed, device: torch.device, tokens: int) -> int:
    """How many windows of so many tokens should run as one batch; 1 is none. A step cache decides for a whole batch
    what it skips, so that with one each window runs alone."""
    if speed.fast or not speed.uses("batched-windows"):
        return 1
    return max(1, min(MAX_WINDOWS, MAX_BATCHED_TOKENS.get(device.type, 0) // tokens))
