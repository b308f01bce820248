"""What a part finds, and what it runs on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

GIB = 2**30


@dataclass(frozen=True)
class Result:
    """One number. value: what was measured, in ``unit``. target: in words; met: whether it is met, None for none."""

    what: str
    value: float
    unit: str = ""
    target: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        return f"{self.value:.4g} {self.unit}".strip() + (f" ({self.note})" if self.note else "")

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "yes" if self.met else "no"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Machine:
    """device: a GPU, or the CPU, on which ``small`` sizes only show that a part runs."""

    device: torch.device
    small: bool

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def empty_cache(self) -> None:
        """Give back what the allocator keeps, so that one measurement does not shape the next."""
        if self.is_cuda:
            torch.cuda.empty_cache()

    def seconds(self, work: Callable[[], object], runs: int = 5, warm_ups: int = 2) -> float:
        """The median of some runs."""
        for _ in range(warm_ups):
            work()
        found = []
        for _ in range(runs):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - began)
        return sorted(found)[len(found) // 2]

    def peak(self, work: Callable[[], object]) -> int:
        """Bytes that a work allocates at most on a card, over what was there before; 0 on the CPU."""
        if not self.is_cuda:
            work()
            return 0
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        self.wait()
        return torch.cuda.max_memory_allocated() - before
