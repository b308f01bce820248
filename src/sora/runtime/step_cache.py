"""A step cache: where the first block does to the tokens about what it did at an earlier step, the other blocks are
taken to do what they did then. After the first-block cache of ParaAttention (github.com/chengzeyi/ParaAttention) and
TeaCache (Liu et al., arXiv 2411.19108). It changes the picture, and waits for the device once a pass.

Axis letters: B batch; N tokens; D width.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class FirstBlockCache:
    """For one run over falling times with one text. threshold: the most that the first block's change may differ, as a
    share of its own mean size, for the others to be spared; 0 spares nothing."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.calls = self.skipped = 0
        self._last: tuple[Tensor, Tensor] | None = None

    def run(self, before_BND: Tensor, after_BND: Tensor, rest: Callable[[Tensor], Tensor]) -> Tensor:
        """The tokens after all blocks: rest(after), or after and what the others added at the last step in full."""
        self.calls += 1
        change_BND = after_BND - before_BND
        if self._last is not None and self._is_similar(change_BND, self._last[0]):
            self.skipped += 1
            return after_BND + self._last[1]
        end_BND = rest(after_BND)
        self._last = change_BND, end_BND - after_BND
        return end_BND

    def _is_similar(self, change_BND: Tensor, last_BND: Tensor) -> bool:
        if change_BND.shape != last_BND.shape:
            return False
        return bool((change_BND - last_BND).abs().mean() < self.threshold * last_BND.abs().mean())
