"""How the benchmarks measure: two works in one process by turns, medians and spread.

Wall time is what a person waits; on a machine that others use too, compare ratios, never seconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

Work = Callable[[], object]
WARM_UPS = 2


@dataclass(frozen=True)
class Timed:
    """Seconds of each run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def seconds_of(work: Work) -> float:
    """Of one run; on a GPU until all its work is done."""
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def by_turns(works: Sequence[Work], runs: int = 6, warm_ups: int = WARM_UPS) -> list[Timed]:
    """Each work ``runs`` times after its warm-ups, in the order A B B A A B ..., so that what slows the machine down
    for a while slows all of them."""
    for work in [w for w in works for _ in range(warm_ups)]:
        work()
    found: list[list[float]] = [[] for _ in works]
    order = list(range(len(works)))
    for run in range(runs):
        for number in order if run % 2 == 0 else reversed(order):
            found[number].append(seconds_of(works[number]))
    return [Timed(tuple(seconds)) for seconds in found]


def ratio(slow: Timed, fast: Timed) -> float:
    """How many times faster: the median of the ratios of runs that stood next to each other."""
    return statistics.median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True))


def peak_memory() -> int:
    """Bytes at most resident in this process so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def forget_peak() -> None:
    """What ``peak_memory`` counts begins anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
