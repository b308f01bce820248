"""Everything from nothing, or further: ``python -m sora.training all --budget 30m``.

The budget is split by the preset's shares. A stage that took more than its share leaves less to the later ones and the
whole still ends in time; what stages take beside their training is measured and reckoned with in the next call. A later
call adds its time to what is there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sora.errors import InputError
from sora.training.stages import FIXED, STAGES, Job, Stage, begun

UNITS = {"s": 1, "m": 60, "h": 3600}
RESERVE = 0.02  # of the budget, for what comes after the last stage
LEAST = 1.0  # seconds of training below which a stage is left out
MEASURED = "stages.json"


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
    its own training begins and left alone afterwards."""
    end = clock() + seconds * (1 - RESERVE)
    later = begun(job.runs)
    shares = {name: share for name, share in job.preset.shares.items() if not (later and name in FIXED)}
    beside = dict(job.preset.seconds) | _measured(job.runs)
    took: dict[str, float] = {}
    for i, (name, share) in enumerate(shares.items()):
        rest = list(shares)[i:]
        usual = sum(beside.values()) / max(1, len(beside))
        left = end - clock() - sum(beside.get(other, usual) for other in rest)
        training = left * share / sum(shares[other] for other in rest)
        if training < LEAST:
            print(f"{name} is left out: {training:.0f} s are too few for it", flush=True)
            continue
        print(f"{name}: {training:.0f} s of training", flush=True)
        began = clock()
        stages[name](job, training / 60)
        took[name] = clock() - began
        beside[name] = max(0.0, took[name] - training)
        _note(job.runs, beside)
    return took


def _measured(runs: Path) -> dict[str, float]:
    path = runs / MEASURED
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _note(runs: Path, beside: Mapping[str, float]) -> None:
    rounded = {name: round(value, 1) for name, value in beside.items()}
    (runs / MEASURED).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
