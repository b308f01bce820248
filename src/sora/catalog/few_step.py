"""Weights that were distilled to paint in few steps without guidance: how their makers sample with them, by what files
and folders are called.

Sources: FastVideo's ``DmdDenoisingStage``, which has a schedule of shift 8 for all its models, and its
``dmd_denoising_steps``; LightX2V's ``WanStepDistillScheduler`` with its ``denoising_step_list`` of 1000, 750, 500 and
250 before a shift of 5; the model cards of the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sora.catalog.spec import Defaults

MAX_STEPS = 16  # more are not few


@dataclass(frozen=True)
class FewStep:
    """How distilled weights are sampled. shift, sampler, timesteps: as in ``Defaults``; None and empty where their
    makers leave them as they are."""

    steps: int
    shift: float | None = None
    sampler: str | None = None
    timesteps: tuple[float, ...] = ()

    def of(self, defaults: Defaults) -> Defaults:
        """The defaults of a model, in so few steps. No step can be spared, so that there is no step cache."""
        changed: dict[str, Any] = {"steps": self.steps, "draft_steps": self.steps, "timesteps": self.timesteps}
        changed |= {"guidance": 1.0, "guidance_low": None, "cache_threshold": 0.0}
        changed |= {"shift": self.shift or defaults.shift, "sampler": self.sampler or defaults.sampler}
        return replace(defaults, **changed)

    @property
    def described(self) -> str:
        """For a person."""
        more = [f"shift {self.shift:g}"] * (self.shift is not None) + [f"sampler {self.sampler}"] * bool(self.sampler)
        return ", ".join([f"{self.steps} steps", *more]) + " and guidance 1"

    def in_steps(self, steps: int) -> FewStep:
        """The same in another number of steps."""
        return replace(self, steps=steps)


LIGHTX2V = FewStep(4, shift=5.0, sampler="euler", timesteps=(1000.0, 937.5, 2500 / 3, 625.0))
FASTWAN = FewStep(3, shift=8.0, sampler="lcm", timesteps=(1000.0, 757.0, 522.0))

BY_WORD: Mapping[str, FewStep] = {
    "lightx2v": LIGHTX2V,
    "lightning": LIGHTX2V,
    "seko": LIGHTX2V,
    r"(?:step|cfg)[-_ ]?distill(?:ed)?": LIGHTX2V,
    r"fastwan(?:fullattn)?": FASTWAN,
    r"caus[-_ ]?vid": FewStep(8),
    r"acc[-_ ]?vid": FewStep(8),
    r"self[-_ ]?forcing": FewStep(4),
    r"fusion[-_ ]?x": FewStep(8),
    r"distill(?:ed)?": FewStep(4),
    "dmd": FewStep(4),
    "turbo": FewStep(4),
    "hyper": FewStep(8),
}
"""Words in the names of published few-step weights, the most telling first."""

_STEPS = re.compile(r"(?<![a-z0-9.])([1-9][0-9]?)(?:steps?|[-_ ]steps?(?![-_ ]?[0-9]))(?![a-z])")


def named(name: str) -> FewStep | None:
    """What a name tells: a number of steps, or a whole word of a published distillation, or both. None for neither."""
    name = name.lower()
    numbers = [int(match[1]) for match in _STEPS.finditer(name) if int(match[1]) <= MAX_STEPS]
    words = [kind for word, kind in BY_WORD.items() if re.search(rf"(?<![a-z]){word}(?![a-z])", name)]
    kind = next(iter(words), None)
    return (kind or FewStep(numbers[0])).in_steps(numbers[0]) if numbers else kind
