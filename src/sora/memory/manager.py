"""Which memory plan a model follows, and its fallback when memory runs out all the same."""

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
        """Follow this plan from now on. What another plan has loaded is unloaded."""
        ...

    def unload(self) -> None:
        """Unload everything; networks are loaded again when they are next used, by the plan of that time."""
        ...


@dataclass
class MemoryManager:
    """Applies a memory plan to one model's networks. needs: of the current workload, None until it is known."""

    networks: ManagedNetworks
    needs: Needs | None = None

    def choose_plan(self, needs: Needs, forced: str | None = None) -> str:
        """Choose and apply a plan; returns a line that describes it. forced: a name of ``memory.PLAN_NAMES``. Raises
        OutOfMemory and UsageError."""
        self.needs = needs
        plan, line = plan_memory(needs, measure_free(self.networks.device), forced)
        self.networks.apply_plan(plan)
        return line

    def retry_on_oom(self, phase: str, work: Callable[[], Result]) -> Result:
        """Return the work's result, retrying with every smaller plan when memory runs out. phase: of ``memory.PHASES``.
        Raises OutOfMemory."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                self.fall_back(phase, error)

    def fall_back(self, phase: str, error: torch.OutOfMemoryError) -> None:
        """Unload all networks and apply the next plan that takes less in this phase. Raises OutOfMemory where there is
        none, and ``error`` itself where the needs are not known."""
        if self.needs is None:
            raise error
        self.networks.unload()
        self.networks.apply_plan(fallback(self.needs, self.networks.plan, phase, measure_free(self.networks.device))[0])
