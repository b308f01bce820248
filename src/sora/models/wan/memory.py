"""Which memory plan a Wan model follows, and what it does where memory runs out all the same: the next rung."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from sora import memory
from sora.models.wan import needs as wan_needs
from sora.models.wan.components import Parts

Result = TypeVar("Result")


@dataclass
class Memory:
    """needs: of the painting at hand, None while nobody has said."""

    parts: Parts
    needs: memory.Needs | None = None

    def arrange(self, shape_FYX: tuple[int, int, int], *, encodes: bool, forced: str | None = None) -> str:
        """Chooses the plan for canvases of this shape, and says it in a line for a person.

        encodes: whether anything is known. forced: a name of ``placement.NAMES``. Raises OutOfMemory and UsageError.
        """
        p = self.parts
        self.needs = wan_needs.needs(p.spec, p.places, shape_FYX, p.device, p.dtype, encodes=encodes)
        plan, line = memory.arrange(self.needs, memory.free_on(p.device), forced)
        p.follow(plan)
        return line

    def frugal(self, phase: str, work: Callable[[], Result]) -> Result:
        """The work's result; where memory runs out, after another try on every rung below. phase: of
        ``placement.PHASES``. Raises OutOfMemory."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                self.step_down(phase, error)

    def step_down(self, phase: str, error: torch.OutOfMemoryError) -> None:
        """To the next plan that takes less in this phase; all networks go. Raises OutOfMemory where there is none, and
        the error itself where nobody has said what is painted."""
        if self.needs is None:
            raise error
        self.parts.drop()
        free = memory.free_on(self.parts.device)
        self.parts.follow(memory.next_rung(self.needs, self.parts.plan, phase, free)[0])
