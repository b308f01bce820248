"""What paintings took on this machine, for the prediction of the next: the seconds of each phase next to those that a
device's rates promised for its terms, by device, number format and model. No words, no paths, no names of a person's
own files.

A file of the state folder holds it. One that is missing, damaged or of other rates is as good as empty, and nothing
fails because it cannot be written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from sora.runtime import rates
from sora.storage import atomic, regular, state

MAX_RECORDS, MAX_FILE_BYTES, MAX_NAME = 40, 1 << 20, 120
MAX_PHASES, MAX_RUNS, MAX_TERMS = 6, 8, 8
"""Of one record; runs and terms of one phase. The newest runs are kept."""
PHASE, TERM = re.compile(r"[a-z]{1,16}"), re.compile(r"[a-z]{1,16} [a-z_]{1,24}")
MIN_SECONDS, MAX_SECONDS = 1e-4, 1e7
MAX_RATIO = 1000.0  # between seconds and those of the rates, either way


@dataclass(frozen=True)
class Run:
    """How a phase went once. took: its seconds. promised: those of the rates, by the name of a term. busy: whether
    other programs kept the CPU busy meanwhile."""

    took: float
    promised: Mapping[str, float]
    busy: bool = False

    @property
    def is_usable(self) -> bool:
        total = sum(self.promised.values())
        return total > 0 and MIN_SECONDS <= self.took <= MAX_SECONDS and 1 / MAX_RATIO <= self.took / total <= MAX_RATIO


@dataclass(frozen=True)
class RunKey:
    """What paintings are alike in. device: as ``forecast`` calls it. model: a row of the catalog, or "own". mode: a
    name of ``speed.MODES``."""

    device: str
    dtype: str
    family: str
    model: str
    mode: str

    @property
    def text(self) -> str:
        return " | ".join((self.device, self.dtype, self.family, self.model, self.mode))[:MAX_NAME]

    @property
    def of_family(self) -> str:
        """What the keys of all models of the family begin with."""
        return " | ".join((self.device, self.dtype, self.family, ""))[:MAX_NAME]


Phases = dict[str, tuple[Run, ...]]
"""By phase, the oldest first."""
Records = dict[str, Phases]
"""By key, the one that was added to last at the end."""


def file() -> Path:
    return state.folder() / "own-runs.json"


def read() -> Records:
    """All that is known; empty where the file is missing, damaged or of other rates."""
    try:
        data = regular.read_json(file(), MAX_FILE_BYTES)
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict) or data.get("rates") != rates.VERSION or not isinstance(data.get("runs"), dict):
        return {}
    found = {str(key): _phases(value) for key, value in list(data["runs"].items())[-MAX_RECORDS:]}
    return {key: phases for key, phases in found.items() if phases}


def _phases(value: Any) -> Phases:
    if not isinstance(value, dict) or len(value) > MAX_PHASES:
        return {}
    found = {str(name): _runs(each) for name, each in value.items() if PHASE.fullmatch(str(name))}
    return {name: runs for name, runs in found.items() if runs}


def _runs(value: Any) -> tuple[Run, ...]:
    if not isinstance(value, list):
        return ()
    found = (_run(each) for each in value[-MAX_RUNS:])
    return tuple(run for run in found if run is not None)


def _run(value: Any) -> Run | None:
    if not isinstance(value, dict):
        return None
    took, promised, busy = value.get("took"), value.get("promised"), value.get("busy")
    if not _is_number(took) or not isinstance(busy, bool) or not isinstance(promised, dict):
        return None
    if not 1 <= len(promised) <= MAX_TERMS or not all(map(_is_number, promised.values())):
        return None
    if not all(TERM.fullmatch(str(name)) for name in promised):
        return None
    run = Run(float(took), {str(name): float(each) for name, each in promised.items()}, busy)
    return run if run.is_usable else None


def _is_number(value: Any) -> TypeGuard[float]:
    """Of seconds, which are finite and at least 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS


def add(key: RunKey, runs: Mapping[str, Run]) -> None:
    """Add what one painting took. runs: by phase; those out of range are left out."""
    usable = {name: run for name, run in runs.items() if run.is_usable and math.isfinite(run.took)}
    if not usable:
        return
    records = read()
    phases = records.pop(key.text, {})
    records[key.text] = phases | {name: (*phases.get(name, ()), run)[-MAX_RUNS:] for name, run in usable.items()}
    with suppress(OSError):
        _write(dict(list(records.items())[-MAX_RECORDS:]))


def _write(records: Records) -> None:
    runs = {
        key: {name: [_facts(run) for run in several] for name, several in phases.items()}
        for key, phases in records.items()
    }
    data = json.dumps({"rates": rates.VERSION, "runs": runs}, separators=(",", ":")).encode()
    file().parent.mkdir(parents=True, exist_ok=True)
    atomic.write(file(), data, replace=True, durable=False)


def _facts(run: Run) -> dict[str, Any]:
    promised = {name: float(f"{seconds:.4g}") for name, seconds in run.promised.items() if seconds > 0}
    return {"took": float(f"{run.took:.4g}"), "promised": promised, "busy": run.busy}


def of(records: Records, key: RunKey) -> Phases:
    """The runs of such paintings, by phase: quiet ones where there are any, otherwise those of a busy machine."""
    return {name: _quiet(runs) for name, runs in records.get(key.text, {}).items()}


def of_family(records: Records, key: RunKey) -> tuple[Phases, ...]:
    """The same of other models of the family, and of the same in another mode."""
    others = [phases for name, phases in records.items() if name.startswith(key.of_family) and name != key.text]
    return tuple({name: _quiet(runs) for name, runs in phases.items()} for phases in others)


def _quiet(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    return tuple(run for run in runs if not run.busy) or runs
