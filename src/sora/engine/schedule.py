"""The times at which a clip is sampled: the same for all its windows, however long each is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from sora.engine import sampler
from sora.engine.model import Scheduled

if TYPE_CHECKING:
    from sora.engine.engine import Settings
    from sora.engine.model import Model
    from sora.plan.grid import Grid
    from sora.plan.plan import Plan


def schedule(model: Model, settings: Settings, strength: float, tokens: int) -> Tensor:
    """Times in [0, 1] that fall to 0, float32 on the CPU: the last ``strength`` in (0, 1] of a whole run's. tokens: of
    the canvas that is painted, which count where the settings name none."""
    tokens = tokens if settings.tokens is None else settings.tokens
    if isinstance(model, Scheduled):
        return model.schedule(settings.sampler, settings.steps, settings.shift, strength, tokens)
    return sampler.timesteps_for_strength(settings.steps, settings.shift, strength)


def largest_tokens(plan: Plan, grid: Grid) -> int | None:
    """Tokens of the largest window of a plan, without pictures that are sampled along; None for a plan of one window,
    which is the canvas itself.

    A model whose schedule depends on them would denoise a short last window at other times than those before it, and
    the same noise level would not be the same share of the way in both.
    """
    if len(plan.windows) < 2:
        return None
    _, *latents = grid.latent_shape(max(window.frames for window in plan.windows), *plan.format.model_size)
    return latents[0] * latents[1] * latents[2] // grid.patch**2
