"""Everything from nothing, or further: ``python -m minitrain all --budget 30m``.

The budget is split by the preset's shares. A stage that took more than its share leaves less to the later ones and the
whole still ends in time; what stages take beside their training is measured and reckoned with in the next call. A later
call adds its time to what is there.

Some stages run in processes of their own, beside the first ones. What the transformer needs of them is waited for; what
can be carried away is written as soon as the transformer is trained, and again at the end.
"""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from minitrain import judge, publish, scores
from minitrain.background_stage import Beside
from minitrain.stages import FIXED, STAGES, Job, Session, Stage, begun
from sora.errors import InputError, ModelError

UNITS = {"s": 1, "m": 60, "h": 3600}
RESERVE = 0.02  # of the budget, for what comes after the last stage
LEAST = 1.0  # seconds of training below which a stage is left out
MEASURED = "stages.json"
TRANSFORMER = "dit"
SPARED = ("judge", "distil", "score")  # stages without which the others are worth having


def seconds_of(budget: str) -> float:
    """'30m', '2h', '90s', '1h30m' or plain seconds. Raises InputError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", budget.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != budget.strip().lower():
        raise InputError(f"{budget!r} is no budget; write 90s, 30m, 2h or 1h30m")
    seconds = sum(float(number) * UNITS[unit or "s"] for number, unit in parts)
    if seconds <= 0:
        raise InputError(f"a budget of {budget!r} leaves no time; write 90s, 30m, 2h or 1h30m")
    return seconds


def train_all(
    job: Job,
    seconds: float,
    *,
    stages: Mapping[str, Stage] = STAGES,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, float]:
    """Run the stages for that long in all; the seconds that each took. What the transformer stands on is trained until
    its own training begins and left alone afterwards. Raises ModelError, at the very end, where a stage failed without
    which the others are worth having."""
    session = Session()
    helpers = _start_beside(job, seconds, stages)
    try:
        call = Call(replace(job, session=session), seconds * (1 - RESERVE), stages, helpers, clock)
        return call.run()
    finally:
        session.close()
        for helper in helpers:
            helper.stop()


def _start_beside(job: Job, seconds: float, stages: Mapping[str, Stage]) -> list[Beside]:
    """Stages in processes of their own. A judge that is there already stays."""
    left_alone: set[str] = set(FIXED) if begun(job.runs) else set()
    if (job.runs / "judge" / judge.FILE).is_file():
        left_alone.add("judge")
    return [
        Beside(name, partial(stages[name], job, share * seconds / 60), job.runs / f"{name}.log")
        for name, share in job.preset.beside.items()
        if name not in left_alone
    ]


class Call:
    """One run of all stages in their order."""

    def __init__(
        self,
        job: Job,
        seconds: float,
        stages: Mapping[str, Stage],
        helpers: list[Beside],
        clock: Callable[[], float],
    ) -> None:
        self.job, self.stages, self.helpers, self.clock = job, stages, helpers, clock
        self.end = clock() + seconds
        self.beside = dict(job.preset.seconds) | _measured(job.runs)
        self.took: dict[str, float] = {}
        self.failed: list[str] = []

    def run(self) -> dict[str, float]:
        later = begun(self.job.runs)
        shares = {name: share for name, share in self.job.preset.shares.items() if not (later and name in FIXED)}
        for i, name in enumerate(shares):
            self._wait_before(name)
            rest = list(shares)[i:]
            training = self._left(rest) * shares[name] / sum(shares[other] for other in rest)
            if training < LEAST:
                print(f"{name} is left out: {training:.0f} s are too few for it", flush=True)
                continue
            self._stage(name, training)
            if name == TRANSFORMER:
                _deliver(self.job)
        if "score" not in self.failed:
            _deliver(self.job)
        if self.failed:
            raise ModelError(f"{' and '.join(self.failed)} failed, see above; everything else is in {self.job.runs}")
        return self.took

    def _left(self, rest: list[str]) -> float:
        """Seconds of training that are left for these stages together."""
        usual = sum(self.beside.values()) / max(1, len(self.beside))
        return self.end - self.clock() - sum(self.beside.get(other, usual) for other in rest)

    def _stage(self, name: str, training: float) -> None:
        print(f"{name}: {training:.0f} s of training", flush=True)
        began = self.clock()
        try:
            self.stages[name](self.job, training / 60)
        except Exception:
            if name not in SPARED:
                raise
            traceback.print_exc()
            self.failed.append(name)
        self.took[name] = self.clock() - began
        self.beside[name] = max(0.0, self.took[name] - training)
        _note(self.job.runs, self.beside)

    def _wait_before(self, name: str) -> None:
        """The transformer needs the text encoder, scores need the judge. A text encoder that failed in its own process
        is trained in this one."""
        needed = {TRANSFORMER: FIXED, "score": ("judge",)}.get(name, ())
        for helper in [helper for helper in self.helpers if helper.name in needed]:
            self.helpers.remove(helper)
            if not helper.join(max(0.0, self.end - self.clock()) if helper.name in SPARED else None):
                if helper.name in SPARED:
                    self.failed.append(helper.name)
                else:
                    self._stage(helper.name, self.job.preset.beside[helper.name] * max(0.0, self.end - self.clock()))


def _deliver(job: Job) -> None:
    """Write what can be carried away, once there is a transformer."""
    if not all((job.runs / part / f"{part}.safetensors").is_file() for part in publish.PARTS):
        return
    made = scores.card(job.runs, job.world, job.device, job.command)
    made["scores"] = scores.last(job.runs).get("scores", {})
    scores.write(job.runs, made)
    print(f"to carry away: {publish.export(job.runs)}", flush=True)


def _measured(runs: Path) -> dict[str, float]:
    path = runs / MEASURED
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _note(runs: Path, beside: Mapping[str, float]) -> None:
    rounded = {name: round(value, 1) for name, value in beside.items()}
    (runs / MEASURED).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
