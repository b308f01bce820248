"""The training loop that all networks share: a time budget, a log, an average of the weights, checkpoints to resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from sora.training.optim import Both

LONGEST_STEP = 60.0  # seconds; what a step takes beyond it, the machine slept


@dataclass(frozen=True)
class Budget:
    """minutes: of training in all, resumed runs counted together. warmup and cooldown: shares of it in which the
    learning rate rises from nothing and falls to nothing."""

    minutes: float
    warmup: float = 0.01
    cooldown: float = 0.35

    def factor(self, seconds: float) -> float:
        """The learning rate's factor after ``seconds`` of training."""
        done = min(1.0, seconds / (60 * self.minutes))
        return min(1.0, (done + 1e-3) / self.warmup, max(0.0, 1 - done) / self.cooldown)


class Average:
    """Exponential moving average of a module's parameters, corrected for its start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        keep = min(self.decay, self.updates / (self.updates + 9))
        for name, p in model.named_parameters():
            self.values[name].lerp_(p, 1 - keep)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights and the averaged ones; a second call puts them back."""
        for name, p in model.named_parameters():
            held = p.detach().clone()
            p.copy_(self.values[name])
            self.values[name] = held


def train(
    model: nn.Module,
    optimiser: Both,
    budget: Budget,
    folder: Path,
    loss: Callable[[float], tuple[Tensor, dict[str, float]]],
    *,
    average: float = 0.995,
    every: float = 120.0,
    report: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train until the budget is spent, resuming ``folder``/state.pt where there is one.

    loss: given the share of the budget spent, a scalar to descend and figures to log. report: called with averaged
    weights every ``every`` seconds, its figures are logged too. The model is left with the averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ema = Average(model, average)
    step, spent = _resume(folder / "state.pt", model, optimiser, ema)
    mark, figures = time.monotonic(), {}
    last = mark
    while spent < 60 * budget.minutes:
        value, parts = loss(spent / (60 * budget.minutes))
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step(budget.factor(spent))
        ema.update(model)
        step += 1
        for name, part in parts.items():
            figures.setdefault(name, []).append(part)
        now = time.monotonic()
        spent, last = spent + min(now - last, LONGEST_STEP), now
        if now - mark >= every or spent >= 60 * budget.minutes:
            line = {k: round(fmean(v), 5) for k, v in figures.items()}
            ema.swap(model)
            if report:
                line |= {k: round(v, 5) for k, v in report(step).items()}
            ema.swap(model)
            _note(folder / "log.jsonl", {"step": step, "seconds": round(spent), **line})
            _save(folder / "state.pt", model, optimiser, ema, step, spent)
            mark, figures = time.monotonic(), {}
            last = mark  # reports and checkpoints are not charged to the budget
    ema.swap(model)


def _note(path: Path, line: dict[str, float]) -> None:
    print(json.dumps(line), flush=True)
    with path.open("a") as log:
        log.write(json.dumps(line) + "\n")


def _save(path: Path, model: nn.Module, optimiser: Both, ema: Average, step: int, spent: float) -> None:
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": ema.values,
        "updates": ema.updates,
        "step": step,
        "spent": spent,
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, model: nn.Module, optimiser: Both, ema: Average) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    ema.values, ema.updates = state["average"], state["updates"]
    return state["step"], state["spent"]
