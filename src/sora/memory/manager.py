"""Which memory plan a model follows, and its fallback when memory runs out all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch

from sora.memory.choose import fallback, phase_fits, plan_memory
from sora.memory.free import FreeMemory, measure_free
from sora.memory.needs import Needs
from sora.memory.plans import TILE, MemoryPlan

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
    """Applies a memory plan to one model's networks. needs: of the current workload, None until it is known. free:
    bytes that were free on the device when the plan was chosen. measure: the memory that is free now for a model on a
    device; None for ``measure_free``."""

    networks: ManagedNetworks
    needs: Needs | None = None
    free: int = 0
    measure: Callable[[torch.device], FreeMemory] | None = None

    def choose_plan(self, needs: Needs, forced: str | None = None) -> str:
        """Choose and apply a plan; returns a line that describes it. forced: a name of ``memory.PLAN_NAMES``. Raises
        OutOfMemory and UsageError."""
        self.needs = needs
        free = self._measured()
        self.free = free.device
        plan, line = plan_memory(needs, free, forced)
        self.networks.apply_plan(plan)
        return line

    def most_that_fit(self, phase: str, most: int, needs_of: Callable[[int], Needs], share: float = 1.0) -> int:
        """The largest number up to ``most``, at least 1, whose needs fit in a phase under the plan that was chosen, in
        this share of the memory that was free then; ``most`` where no plan was chosen."""
        if self.needs is None:
            return most
        free = int(share * self.free)
        fitting = (n for n in range(most, 1, -1) if phase_fits(self.networks.plan, needs_of(n), phase, free))
        return next(fitting, 1)

    def adopt(self, phase: str, needs_of: Callable[[], Needs]) -> bool:
        """Take over needs that changed since the plan was chosen, where they fit in a phase under the plan, or else
        under the same with the autoencoder in tiles. False, and nothing changes, where they do not; True where no plan
        was chosen."""
        if self.needs is None:
            return True
        needs = needs_of()
        for plan in (self.networks.plan, replace(self.networks.plan, tile=TILE)):
            if phase_fits(plan, needs, phase, self.free):
                self.needs = needs
                self.networks.apply_plan(plan)
                return True
        return False

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
        _let_go_of_frames(error)
        self.networks.unload()
        free = self._measured()
        self.networks.apply_plan(fallback(self.needs, self.networks.plan, phase, free)[0])

    def _measured(self) -> FreeMemory:
        return (self.measure or measure_free)(self.networks.device)


def _let_go_of_frames(error: BaseException) -> None:
    """Of the calls that an error and its causes came through, whose tensors would count as memory in use."""
    chain: BaseException | None = error
    while chain is not None:
        chain.__traceback__ = None
        chain = chain.__cause__ or chain.__context__
