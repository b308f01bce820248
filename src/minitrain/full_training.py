"""Train every stage, from scratch or further: ``python -m minitrain all --budget 30m``.

The preset's shares divide the budget between the stages. A stage that takes more than its share leaves less to the
later ones, and the whole still ends in time; each stage's overhead beyond its training time is measured and taken into
account by the next call. A later call adds its time to the existing state.

Some stages run in background processes while the first ones train. The transformer waits for those that it needs. The
model is exported as soon as the transformer is trained, and again at the end.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import re
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from minitrain import judge, publish, scores
from minitrain.stages import FROZEN_STAGES, STAGES, SharedClips, Stage, TrainingJob, transformer_has_begun
from sora.errors import InputError, ModelError

SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600}
RESERVE = 0.02  # of the budget, for what comes after the last stage
MIN_TRAINING_SECONDS = 1.0  # seconds of training below which a stage is left out
OVERHEAD_FILE = "stages.json"
TRANSFORMER_STAGE = "dit"
OPTIONAL_STAGES = ("judge", "distil", "score")  # stages without which the others are worth having


def parse_budget(budget: str) -> float:
    """Seconds of a budget such as '30m', '2h', '90s', '1h30m' or plain seconds. Raises InputError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", budget.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != budget.strip().lower():
        raise InputError(f"{budget!r} is not a budget; write 90s, 30m, 2h or 1h30m")
    seconds = sum(float(number) * SECONDS_PER_UNIT[unit or "s"] for number, unit in parts)
    if seconds <= 0:
        raise InputError(f"a budget of {budget!r} leaves no time; write 90s, 30m, 2h or 1h30m")
    return seconds


class BackgroundStage:
    """A forked process whose output goes to the file ``log``. It must be started before anything touches a graphics
    card."""

    def __init__(self, name: str, work: Callable[[], None], log: Path) -> None:
        self.name, self.log, self._work = name, log, work
        self._process = mp.get_context("fork").Process(target=self._run, daemon=False)
        self._process.start()

    def _run(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with self.log.open("w", buffering=1) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            torch.set_num_threads(1)
            try:
                self._work()
            except BaseException:
                traceback.print_exc(file=log)
                os._exit(1)
        os._exit(0)

    def join(self, seconds: float | None = None) -> bool:
        """Wait at most ``seconds`` for the process to end, then kill it. Returns whether it succeeded; if it did not,
        the end of its log is printed."""
        self._process.join(seconds)
        if self._process.exitcode == 0:
            return True
        self.stop()
        print(f"{self.name} failed in the background:\n{self.log.read_text()[-1500:]}", flush=True)
        return False

    def stop(self) -> None:
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def train_all(
    job: TrainingJob,
    seconds: float,
    *,
    stages: Mapping[str, Stage] = STAGES,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, float]:
    """Run all stages within that many seconds; returns the seconds that each took. The networks that the transformer
    depends on are trained until its own training begins and stay frozen afterwards. Raises ModelError at the very end
    if an optional stage failed."""
    session = SharedClips()
    background = _start_background_stages(job, seconds, stages)
    try:
        training = FullTraining(replace(job, session=session), seconds * (1 - RESERVE), stages, background, clock)
        return training.run()
    finally:
        session.close()
        for helper in background:
            helper.stop()


def _start_background_stages(job: TrainingJob, seconds: float, stages: Mapping[str, Stage]) -> list[BackgroundStage]:
    """Start the background stages. A judge that exists already is not trained again."""
    skipped: set[str] = set(FROZEN_STAGES) if transformer_has_begun(job.runs) else set()
    if (job.runs / "judge" / judge.FILE).is_file():
        skipped.add("judge")
    return [
        BackgroundStage(name, partial(stages[name], job, share * seconds / 60), job.runs / f"{name}.log")
        for name, share in job.preset.background.items()
        if name not in skipped
    ]


class FullTraining:
    """One run of all stages in their order."""

    def __init__(
        self,
        job: TrainingJob,
        seconds: float,
        stages: Mapping[str, Stage],
        background: list[BackgroundStage],
        clock: Callable[[], float],
    ) -> None:
        self.job, self.stages, self.background, self.clock = job, stages, background, clock
        self.deadline = clock() + seconds
        self.overhead = dict(job.preset.overhead) | _read_overhead(job.runs)
        self.seconds_taken: dict[str, float] = {}
        self.failed: list[str] = []

    def run(self) -> dict[str, float]:
        later = transformer_has_begun(self.job.runs)
        shares = {
            name: share for name, share in self.job.preset.shares.items() if not (later and name in FROZEN_STAGES)
        }
        for i, name in enumerate(shares):
            self._join_needed(name)
            rest = list(shares)[i:]
            training = self._seconds_left(rest) * shares[name] / sum(shares[other] for other in rest)
            if training < MIN_TRAINING_SECONDS:
                print(f"{name} is skipped: {training:.0f} s are too few for it", flush=True)
                continue
            self._run_stage(name, training)
            if name == TRANSFORMER_STAGE:
                _export(self.job)
        if "score" not in self.failed:
            _export(self.job)
        if self.failed:
            raise ModelError(f"{' and '.join(self.failed)} failed, see above; everything else is in {self.job.runs}")
        return self.seconds_taken

    def _seconds_left(self, rest: list[str]) -> float:
        """Seconds of training that are left for the remaining stages together."""
        usual = sum(self.overhead.values()) / max(1, len(self.overhead))
        return self.deadline - self.clock() - sum(self.overhead.get(other, usual) for other in rest)

    def _run_stage(self, name: str, training: float) -> None:
        print(f"{name}: {training:.0f} s of training", flush=True)
        began = self.clock()
        try:
            self.stages[name](self.job, training / 60)
        except Exception:
            if name not in OPTIONAL_STAGES:
                raise
            traceback.print_exc()
            self.failed.append(name)
        self.seconds_taken[name] = self.clock() - began
        self.overhead[name] = max(0.0, self.seconds_taken[name] - training)
        _write_overhead(self.job.runs, self.overhead)

    def _join_needed(self, name: str) -> None:
        """Wait for the background stages that the stage ``name`` needs: the text encoder for the transformer, the judge
        for the scores. A text encoder that failed in the background is trained in this process."""
        needed = {TRANSFORMER_STAGE: FROZEN_STAGES, "score": ("judge",)}.get(name, ())
        for helper in [helper for helper in self.background if helper.name in needed]:
            self.background.remove(helper)
            if not helper.join(max(0.0, self.deadline - self.clock()) if helper.name in OPTIONAL_STAGES else None):
                if helper.name in OPTIONAL_STAGES:
                    self.failed.append(helper.name)
                else:
                    self._run_stage(
                        helper.name, self.job.preset.background[helper.name] * max(0.0, self.deadline - self.clock())
                    )


def _export(job: TrainingJob) -> None:
    """Write the card and the exported files once there is a transformer."""
    if not all((job.runs / part / f"{part}.safetensors").is_file() for part in publish.NETWORKS):
        return
    card = scores.build_card(job.runs, job.world, job.device, job.command)
    card["scores"] = scores.read_card(job.runs).get("scores", {})
    scores.write_card(job.runs, card)
    print(f"exported: {publish.export(job.runs)}", flush=True)


def _read_overhead(runs: Path) -> dict[str, float]:
    path = runs / OVERHEAD_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write_overhead(runs: Path, overhead: Mapping[str, float]) -> None:
    rounded = {name: round(value, 1) for name, value in overhead.items()}
    (runs / OVERHEAD_FILE).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
