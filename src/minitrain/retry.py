"""Restart a training that failed: at a lower learning rate after NaN or infinity, with a smaller batch when memory runs
out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minitrain import checkpoint
from minitrain.optim import MuonAdamW
from minitrain.training_loop import STATE, Budget, LossFunction, NotFiniteError, train

MAX_ATTEMPTS = 3
LR_BACKOFF = 0.4  # factor of the learning rate after a loss that is not finite
MIN_TIME_SHARE = 0.01  # of the budget: with less time left there is no further attempt


@dataclass(frozen=True)
class Attempt:
    """lr_factor: of the learning rates. batch_factor: of the batch size."""

    lr_factor: float = 1.0
    batch_factor: float = 1.0

    def batch_size(self, count: int) -> int:
        """The attempt's batch size, given the full one."""
        return max(1, int(self.batch_factor * count))


def minutes_left(end: float) -> float:
    """Minutes until ``end`` on the monotonic clock; at least a second, so that late stages still write weights."""
    return _minutes(end - time.monotonic())


def _minutes(seconds: float) -> float:
    return max(1.0, seconds) / 60


Setup = Callable[[Attempt], "tuple[MuonAdamW, LossFunction]"]


def train_with_retries(
    model: nn.Module,
    setup: Setup,
    budget: Budget,
    folder: Path,
    init_weights: Callable[[], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Attempt:
    """``training_loop.train`` for the budget, restarted from the last saved state if it fails, or from the weights of
    ``init_weights`` if there is none. setup: the optimiser and the loss of an attempt. options: as in ``train``.
    Returns the attempt that succeeded. Raises what the last of MAX_ATTEMPTS raised."""
    end, attempt = clock() + 60 * budget.minutes, Attempt()
    for attempt_index in range(MAX_ATTEMPTS):
        optimiser, loss = setup(attempt)
        try:
            train(model, optimiser, replace(budget, minutes=_minutes(end - clock())), folder, loss, **options)
            return attempt
        except (NotFiniteError, torch.OutOfMemoryError) as error:
            if attempt_index == MAX_ATTEMPTS - 1 or end - clock() < MIN_TIME_SHARE * 60 * budget.minutes:
                raise
            attempt = _next_attempt(error, attempt)
            print(
                f"{error}\ngoing on at {attempt.lr_factor:g} of the rate, {attempt.batch_factor:g} of the batch",
                flush=True,
            )
        model.zero_grad(set_to_none=True)
        if not checkpoint.exists(folder / STATE):
            init_weights()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise AssertionError("the last try returns or raises")


def _next_attempt(error: Exception, attempt: Attempt) -> Attempt:
    if isinstance(error, torch.OutOfMemoryError):
        return replace(attempt, batch_factor=attempt.batch_factor / 2)
    return replace(attempt, lr_factor=attempt.lr_factor * LR_BACKOFF)
