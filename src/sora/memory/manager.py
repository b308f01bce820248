"""Which memory plan a model follows, and what it does where memory runs out all the same: the next rung."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from sora.memory.choose import fallback, plan_memory
from sora.memory.free import measure_free
from sora.memory.needs import Needs
from sora.memory.plans import MemoryPlan

Result = TypeVar("Result")


class ManagedNetworks(Protocol):
    """The networks of one model, loaded as a plan says."""

    plan: MemoryPlan

    @property
    def device(self) -> torch.device: ...

    def apply_plan(self, plan: MemoryPlan) -> None:
        """From now on. What another plan has loaded goes."""
        ...

    def unload(self) -> None:
        """Everything goes; what is asked for next is loaded again, by the plan of that time."""
        ...


@dataclass
class MemoryManager:
    """needs: of the painting at hand, None while nobody has said."""

    networks: ManagedNetworks
    needs: Needs | None = None

    def choose_plan(self, needs: Needs, forced: str | None = None) -> str:
        """Chooses the plan and says it in a line for a person. forced: a name of ``memory.NAMES``. Raises OutOfMemory
        and UsageError."""
        self.needs = needs
        plan, line = plan_memory(needs, measure_free(self.networks.device), forced)
        self.networks.apply_plan(plan)
        return line

    def retry_on_oom(self, phase: str, work: Callable[[], Result]) -> Result:
        """The work's result; where memory runs out, after another try on every rung below. phase: of
        ``memory.PHASES``. Raises OutOfMemory."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                self.fall_back(phase, error)

    def fall_back(self, phase: str, error: torch.OutOfMemoryError) -> None:
        """To the next plan that takes less in this phase; all networks go. Raises OutOfMemory where there is none, and
        the error itself where nobody has said what is painted."""
        if self.needs is None:
            raise error
        self.networks.unload()
        self.networks.apply_plan(fallback(self.needs, self.networks.plan, phase, measure_free(self.networks.device))[0])
