"""The training loop that all networks share: a time budget, a log, an average of the weights, a state to go on from.

The learning rate rises, stands, and falls at the end of every run (warm-up, stable, decay: Hu et al. 2024, MiniCPM,
arXiv 2404.06395). The state is kept as it was before the fall, so the next run goes on at the full rate as if there had
been none, and many short runs are one long training.
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
from minitrain.optim import Both
from sora.errors import ModelError

LONGEST_STEP = 60.0  # seconds; what a step takes beyond it, the machine slept
STATE = "state"  # the folder, beside the log

Loss = Callable[[float], "tuple[Tensor, dict[str, Any]]"]


class NotFinite(ModelError):
    """Weights or losses are no numbers any more."""


@dataclass(frozen=True)
class Budget:
    """minutes: of this run, its reports and checkpoints counted in; what earlier runs spent stays spent. warmup: share
    of the first run in which the learning rate rises from nothing. cooldown: share of every run in which it falls to
    nothing again."""

    minutes: float
    warmup: float = 0.01
    cooldown: float = 0.35

    def factor(self, seconds: float, *, first: bool = True, reserve: float = 0.0) -> float:
        """The learning rate's factor after ``seconds`` of this run, of which ``reserve`` are not for training."""
        done = min(1.0, seconds / max(1e-6, 60 * self.minutes - reserve))
        rise = (done + 1e-3) / self.warmup if first else 1.0
        return min(1.0, rise, max(0.0, 1 - done) / self.cooldown)


class Average:
    """Exponential moving average of a module's parameters, corrected for its start."""

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
        """Exchange the model's weights and the averaged ones; a second call puts them back."""
        for name, p in model.named_parameters():
            held = p.detach().clone()
            p.copy_(self.values[name])
            self.values[name] = held


@dataclass
class Run:
    """One run of a training, and the state that it goes on from. spent: seconds of training in that state."""

    model: nn.Module
    optimiser: Both
    ema: Average
    folder: Path
    step: int = 0
    spent: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)

    def keep(self) -> None:
        """Write the state. Raises NotFinite, and leaves the last one, where weights are no longer finite."""
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise NotFinite(
                f"weights are not finite after step {self.step}; the state in {self.folder / STATE} is from before,"
                " go on from it at a lower rate"
            )
        tensors = {f"model/{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"average/{n}": t for n, t in self.ema.values.items()}
        tensors |= self.optimiser.tensors() | {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available() and next(self.model.parameters()).is_cuda:
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        counts = {"step": self.step, "spent": self.spent, "updates": self.ema.updates}
        checkpoint.keep(self.folder / STATE, tensors, counts)

    def resume(self) -> None:
        """Take up the folder's state where there is one. Raises ModelError where it is of another network."""
        if not checkpoint.exists(self.folder / STATE):
            return
        tensors, counts = checkpoint.restore(self.folder / STATE)
        try:
            self.model.load_state_dict(_under(tensors, "model/"))
            values = _under(tensors, "average/")
            self.ema.values = {n: values[n].to(p) for n, p in self.ema.values.items()}
            self.optimiser.take(_under(tensors, "optimiser/"))
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
    optimiser: Both,
    budget: Budget,
    folder: Path,
    loss: Loss,
    *,
    average: float = 0.995,
    every: float = 120.0,
    report: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train for the budget, going on from ``folder``/state where there is one; the model is left with its averaged
    weights. Told to terminate, it keeps its state and exits.

    loss: from the share that is done of all training so far and this run, to (a value, figures for the log).
    report: figures about the averaged weights, asked for every ``every`` seconds and at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(model, optimiser, Average(model, average), folder)
    run.resume()
    log = Log(folder / "log.jsonl")
    begun, base, total = run.step, run.spent, 60 * budget.minutes
    first = begun == 0
    clock, mark, reserve, longest = Clock(), 0.0, 0.0, 0.0
    cooling = False
    if report and total > 0:  # what it takes is known before the time is shared out, and a fault in it shows at once
        reserve = _report(run, log, clock, report, keep=False)
    with told_to_stop() as stopping:
        while clock.used + longest + reserve < total or (total > 0 and run.step == begun):
            if not cooling and run.step > begun and clock.used >= (total - reserve) * (1 - budget.cooldown):
                cooling = True
                run.keep()
            began = clock.used
            value, parts = loss(min(1.0, (base + clock.used) / (base + total)))
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step(budget.factor(clock.used, first=first, reserve=reserve))
            run.ema.update(model)
            run.step += 1
            log.add(parts)
            clock.tick()
            run.spent = base + clock.used
            longest = max(0.9 * longest, clock.used - began)
            if stopping.is_set():
                _leave(run, cooling)
            if clock.used - mark >= every:
                reserve = _report(run, log, clock, report, keep=not cooling)
                mark = clock.used
    if not cooling:
        run.keep()
    if log.figures or first:
        _report(run, log, clock, report, keep=False)
    run.ema.swap(model)


def _report(run: Run, log: Log, clock: Clock, report: Callable[[int], dict[str, float]] | None, *, keep: bool) -> float:
    """Note figures and keep the state; the seconds that the report took."""
    before = clock.used
    line: dict[str, float] = {}
    if report:
        run.ema.swap(run.model)
        line = report(run.step)
        run.ema.swap(run.model)
    clock.tick()
    log.note(run.step, clock.used, line)
    seconds = clock.used - before
    if keep:
        run.keep()
        clock.tick()
    return seconds


def _leave(run: Run, cooling: bool) -> None:
    if not cooling:
        run.keep()
    print(f"told to stop at step {run.step}; the state is in {run.folder / STATE}", flush=True)
    raise SystemExit(128 + signal.SIGTERM)


class Clock:
    """Seconds of this run, without those in which the machine slept."""

    def __init__(self) -> None:
        self.used, self._last = 0.0, time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self.used, self._last = self.used + min(now - self._last, LONGEST_STEP), now


class Log:
    """Lines of JSON: the step, the seconds of all runs together, and mean figures since the last line."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text().splitlines() if path.exists() else []
        self.path, self.before = path, json.loads(lines[-1])["seconds"] if lines else 0
        self.figures: dict[str, list[Any]] = {}

    def add(self, parts: dict[str, Any]) -> None:
        for name, part in parts.items():
            self.figures.setdefault(name, []).append(part.detach() if isinstance(part, Tensor) else part)

    def note(self, step: int, seconds: float, more: dict[str, float]) -> None:
        """Write and print a line. Raises NotFinite where a figure is not finite."""
        means = {name: sum(float(v) for v in values) / len(values) for name, values in self.figures.items()}
        line = {"step": step, "seconds": round(self.before + seconds, 1)}
        line |= {name: round(value, 5) for name, value in (means | more).items()}
        self.figures = {}
        print(json.dumps(line), flush=True)
        if not all(math.isfinite(v) for v in means.values()):
            raise NotFinite(f"the loss is not finite at step {step}; go on from the last state at a lower rate")
        with self.path.open("a") as log:
            log.write(json.dumps(line) + "\n")


@contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """An event that is set when the process is told to terminate, which then waits for us to finish."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
