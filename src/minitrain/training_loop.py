"""The training loop of all networks: a time budget, a log, an EMA of the weights, a state to resume from.

The learning rate warms up, stays constant, and decays at the end of every run (warm-up, stable, decay: Hu et al. 2024,
MiniCPM, arXiv 2404.06395). The state is saved before the decay, so the next run continues at the full rate as if there
had been none, and many short runs amount to one long training.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitrain import checkpoint
from minitrain.optim import MuonAdamW
from sora.errors import ModelError

MAX_STEP_SECONDS = 60.0  # seconds; in a longer step the machine was suspended
STATE = "state"  # the folder, next to the log

LossFunction = Callable[[float], "tuple[Tensor, dict[str, Any]]"]


class NotFiniteError(ModelError):
    """Weights or losses are NaN or infinite."""


@dataclass(frozen=True)
class Budget:
    """minutes: of this run, including its reports and checkpoints; time of earlier runs does not count. warmup: share
    of the first run in which the learning rate rises from zero. cooldown: share of every run in which it falls to
    zero."""

    minutes: float
    warmup: float = 0.01
    cooldown: float = 0.35

    def factor(self, seconds: float, *, first: bool = True, reserve: float = 0.0) -> float:
        """The learning rate's factor after ``seconds`` of this run, of which ``reserve`` are not for training."""
        done = min(1.0, seconds / max(1e-6, 60 * self.minutes - reserve))
        rise = (done + 1e-3) / self.warmup if first else 1.0
        return min(1.0, rise, max(0.0, 1 - done) / self.cooldown)


class EMA:
    """Exponential moving average of a module's parameters, with bias correction."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        keep = min(self.decay, self.updates / (self.updates + 9))
        weights = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(list(self.values.values()), weights, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights and the averaged ones; a second call restores them."""
        for name, p in model.named_parameters():
            current = p.detach().clone()
            p.copy_(self.values[name])
            self.values[name] = current


@dataclass
class TrainingState:
    """The state of a training, which one run after another continues. spent: seconds of training so far."""

    model: nn.Module
    optimiser: MuonAdamW
    ema: EMA
    folder: Path
    step: int = 0
    spent: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)

    def train_step(self, loss: LossFunction, done: float, lr_factor: float) -> dict[str, Any]:
        """One step of the optimiser and of the averaged weights; returns the loss's figures. done: as ``train`` gives
        it to the loss. lr_factor: of the learning rate."""
        value, figures = loss(done)
        value.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step(lr_factor)
        self.ema.update(self.model)
        self.step += 1
        return figures

    def save(self) -> None:
        """Write the state. Raises NotFiniteError, and leaves the last saved one, if weights are not finite."""
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise NotFiniteError(
                f"weights are not finite after step {self.step}; the state in {self.folder / STATE} is from before,"
                " resume it at a lower learning rate"
            )
        tensors = {f"model/{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"average/{n}": t for n, t in self.ema.values.items()}
        tensors |= self.optimiser.state_tensors() | {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available() and next(self.model.parameters()).is_cuda:
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        counts = {"step": self.step, "spent": self.spent, "updates": self.ema.updates}
        checkpoint.save_state(self.folder / STATE, tensors, counts)

    def resume(self) -> None:
        """Load the folder's state if there is one. Raises ModelError if it belongs to another network."""
        if not checkpoint.exists(self.folder / STATE):
            return
        tensors, counts = checkpoint.load_state(self.folder / STATE)
        try:
            self.model.load_state_dict(_with_prefix(tensors, "model/"))
            values = _with_prefix(tensors, "average/")
            self.ema.values = {n: values[n].to(p) for n, p in self.ema.values.items()}
            self.optimiser.load_state_tensors(_with_prefix(tensors, "optimiser/"))
        except (RuntimeError, KeyError) as error:
            raise ModelError(
                f"the state in {self.folder / STATE} is of another network ({str(error).splitlines()[0]}); train this"
                " one in another folder"
            ) from None
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and next(self.model.parameters()).is_cuda:
            torch.cuda.set_rng_state(tensors["random/cuda"])
        self.step, self.spent, self.ema.updates = counts["step"], counts["spent"], counts["updates"]


def train(
    model: nn.Module,
    optimiser: MuonAdamW,
    budget: Budget,
    folder: Path,
    loss: LossFunction,
    *,
    ema_decay: float = 0.995,
    report_every: float = 120.0,
    report: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train for the budget, resuming ``folder``/state if it exists; the model is left with its averaged weights. On
    SIGTERM it saves its state and exits.

    loss: maps the share of all training (so far and in this run) that is done to (a value, figures for the log).
    ema_decay: of the averaged weights. report: figures about the averaged weights, asked for every ``report_every``
    seconds and at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = TrainingState(model, optimiser, EMA(model, ema_decay), folder)
    state.resume()
    log = Log(folder / "log.jsonl")
    first_step, earlier_seconds, total = state.step, state.spent, 60 * budget.minutes
    is_first_run = first_step == 0
    clock, last_report, reserve, longest_step = Clock(), 0.0, 0.0, 0.0
    in_cooldown = False
    if report and total > 0:  # what it takes is known before the time is shared out, and a fault in it shows at once
        reserve = _report(state, log, clock, report, save=False)
    with stop_on_sigterm() as stopping:
        while clock.used + longest_step + reserve < total or (total > 0 and state.step == first_step):
            if not in_cooldown and state.step > first_step and clock.used >= (total - reserve) * (1 - budget.cooldown):
                in_cooldown = True
                state.save()
            began = clock.used
            done = min(1.0, (earlier_seconds + clock.used) / (earlier_seconds + total))
            log.add(state.train_step(loss, done, budget.factor(clock.used, first=is_first_run, reserve=reserve)))
            clock.tick()
            state.spent = earlier_seconds + clock.used
            longest_step = max(0.9 * longest_step, clock.used - began)
            if stopping.is_set():
                _save_and_exit(state, in_cooldown)
            if clock.used - last_report >= report_every:
                reserve = _report(state, log, clock, report, save=not in_cooldown)
                last_report = clock.used
    if not in_cooldown:
        state.save()
    if log.figures or is_first_run:
        _report(state, log, clock, report, save=False)
    state.ema.swap(model)


def _report(
    state: TrainingState, log: Log, clock: Clock, report: Callable[[int], dict[str, float]] | None, *, save: bool
) -> float:
    """Write figures to the log and save the state; returns the seconds that the report took."""
    before = clock.used
    line: dict[str, float] = {}
    if report:
        state.ema.swap(state.model)
        line = report(state.step)
        state.ema.swap(state.model)
    clock.tick()
    log.write(state.step, clock.used, line)
    seconds = clock.used - before
    if save:
        state.save()
        clock.tick()
    return seconds


def _save_and_exit(state: TrainingState, in_cooldown: bool) -> None:
    if not in_cooldown:
        state.save()
    print(f"stopped at step {state.step}; the state is in {state.folder / STATE}", flush=True)
    raise SystemExit(128 + signal.SIGTERM)


class Clock:
    """Seconds of this run, without those in which the machine was suspended."""

    def __init__(self) -> None:
        self.used, self._last = 0.0, time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self.used, self._last = self.used + min(now - self._last, MAX_STEP_SECONDS), now


class Log:
    """Lines of JSON: the step, the seconds of all runs together, and mean figures since the last line."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text().splitlines() if path.exists() else []
        self.path, self.before = path, json.loads(lines[-1])["seconds"] if lines else 0
        self.figures: dict[str, list[Any]] = {}

    def add(self, figures: dict[str, Any]) -> None:
        for name, part in figures.items():
            self.figures.setdefault(name, []).append(part.detach() if isinstance(part, Tensor) else part)

    def write(self, step: int, seconds: float, more: dict[str, float]) -> None:
        """Write and print a line. Raises NotFiniteError if a figure is not finite."""
        means = {name: sum(float(v) for v in values) / len(values) for name, values in self.figures.items()}
        line = {"step": step, "seconds": round(self.before + seconds, 1)}
        line |= {name: round(value, 5) for name, value in (means | more).items()}
        self.figures = {}
        print(json.dumps(line), flush=True)
        if not all(math.isfinite(v) for v in means.values()):
            raise NotFiniteError(f"the loss is not finite at step {step}; resume the last state at a lower rate")
        with self.path.open("a") as log:
            log.write(json.dumps(line) + "\n")


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """An event that is set when the process receives SIGTERM, instead of the process being terminated."""
    stop_requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop_requested
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    try:
        yield stop_requested
    finally:
        signal.signal(signal.SIGTERM, before)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
