"""A step cache: where the first block changes the tokens about as it did at an earlier step, the other blocks' change
is reused. After the first-block cache of ParaAttention (github.com/chengzeyi/ParaAttention) and TeaCache (Liu et al.,
arXiv 2411.19108). It changes the picture, and waits for the device once a pass.

Axis letters: B batch; N tokens; D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class FirstBlockCache:
    """For one run over falling timesteps with one text. threshold: how far the first block's change may differ from the
    last one, relative to the mean size of that, for the other blocks to be skipped; 0 skips nothing. calls, skipped:
    how many passes there were, and how many skipped the other blocks. mean: of all tokens, where those that are given
    are a share of them."""

    def __init__(self, threshold: float, mean: Callable[[Tensor], Tensor] = torch.mean) -> None:
        self.threshold, self._mean = threshold, mean
        self.calls = self.skipped = 0
        self._last: tuple[Tensor, Tensor] | None = None

    def run(self, before_BND: Tensor, after_BND: Tensor, rest: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the tokens after all blocks: rest(after), or after plus the others' change at the last full step."""
        self.calls += 1
        change_BND = after_BND - before_BND
        if self._last is not None and self._is_similar(change_BND, self._last[0]):
            self.skipped += 1
            return after_BND + self._last[1]
        end_BND = rest(after_BND)
        self._last = change_BND, end_BND - after_BND
        return end_BND

    @property
    def state(self) -> tuple[Tensor, Tensor] | None:
        """(the first block's change, the other blocks' change) at the last full step, (B, N, D) each; None before
        it."""
        return self._last

    @state.setter
    def state(self, state: tuple[Tensor, Tensor]) -> None:
        self._last = state

    def _is_similar(self, change_BND: Tensor, last_BND: Tensor) -> bool:
        if change_BND.shape != last_BND.shape:
            return False
        return bool(self._mean((change_BND - last_BND).abs()) < self.threshold * self._mean(last_BND.abs()))
