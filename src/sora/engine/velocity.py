"""The velocity of a rectified flow, as samplers call it, and what it remembers between calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.profiler import record_function

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> noise - data, of x's shape. t: a 0-d float32 tensor on the CPU, in [0, 1], 1 is pure noise."""


@dataclass(frozen=True)
class StatefulVelocity:
    """A velocity whose result depends on earlier calls, as with a step cache. state: what it remembers, as tensors by
    name. restore: takes what ``state`` gave, so that the next call is as it would have been."""

    velocity: Velocity
    state: Callable[[], dict[str, Tensor]]
    restore: Callable[[Mapping[str, Tensor]], None]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.velocity(x, t)


def state_of(velocity: Velocity) -> dict[str, Tensor]:
    """What a velocity remembers between calls; empty for one that remembers nothing."""
    return velocity.state() if isinstance(velocity, StatefulVelocity) else {}


def restore_state(velocity: Velocity, state: Mapping[str, Tensor]) -> None:
    """Give a velocity back what ``state_of`` returned for it, or for one bound to the same."""
    if isinstance(velocity, StatefulVelocity):
        velocity.restore(state)


def wrapped(inner: Velocity, outer: Velocity) -> Velocity:
    """``outer``, which calls ``inner`` and remembers nothing itself, with what ``inner`` remembers."""
    return StatefulVelocity(outer, inner.state, inner.restore) if isinstance(inner, StatefulVelocity) else outer


def profiled(name: str, velocity: Velocity) -> Velocity:
    """The same velocity, each call of which is recorded under ``name`` in a profile."""

    def recorded(x: Tensor, t: Tensor) -> Tensor:
        with record_function(name):
            return velocity(x, t)

    return wrapped(velocity, recorded)
