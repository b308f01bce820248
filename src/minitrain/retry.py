"""Training that breaks off goes on: at a lower rate after numbers that are none, with a smaller batch out of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minitrain import checkpoint
from minitrain.optim import Both
from minitrain.training_loop import STATE, Budget, Loss, NotFinite, train

TRIES = 3
LOWER = 0.4  # of the learning rate, after a loss that is not finite
LEAST = 0.01  # of the budget: with less time left, another try is not worth it


@dataclass(frozen=True)
class Attempt:
    """rate: factor of the learning rates. batch: share of the batch."""

    rate: float = 1.0
    batch: float = 1.0

    def clips(self, count: int) -> int:
        """Of a batch of that many."""
        return max(1, int(self.batch * count))


def left(end: float) -> float:
    """Minutes until a moment of the monotonic clock; a second at least, so that late stages are not without weights."""
    return _minutes(end - time.monotonic())


def _minutes(seconds: float) -> float:
    return max(1.0, seconds) / 60


Setup = Callable[[Attempt], "tuple[Both, Loss]"]


def persist(
    model: nn.Module,
    setup: Setup,
    budget: Budget,
    folder: Path,
    begin: Callable[[], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    **how: Any,
) -> Attempt:
    """``loop.train`` for the budget, again from the last state where it broke off, or from ``begin``'s weights where
    there is none. setup: the optimiser and the loss of an attempt. how: as in ``train``. Returns the attempt that
    lasted. Raises what the last one of TRIES raised."""
    end, attempt = clock() + 60 * budget.minutes, Attempt()
    for tried in range(TRIES):
        optimiser, loss = setup(attempt)
        try:
            train(model, optimiser, replace(budget, minutes=_minutes(end - clock())), folder, loss, **how)
            return attempt
        except (NotFinite, torch.OutOfMemoryError) as error:
            if tried == TRIES - 1 or end - clock() < LEAST * 60 * budget.minutes:
                raise
            attempt = _after(error, attempt)
            print(f"{error}\ngoing on at {attempt.rate:g} of the rate, {attempt.batch:g} of the batch", flush=True)
        model.zero_grad(set_to_none=True)
        if not checkpoint.exists(folder / STATE):
            begin()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise AssertionError("the last try returns or raises")


def _after(error: Exception, attempt: Attempt) -> Attempt:
    if isinstance(error, torch.OutOfMemoryError):
        return replace(attempt, batch=attempt.batch / 2)
    return replace(attempt, rate=attempt.rate * LOWER)
