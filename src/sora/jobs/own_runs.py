"""What paintings took on this machine, for the prediction of the next: how many times the seconds that a device's rates
promise, by device, number format, model and phase. No words, no paths, no names of a person's own files.

A file of the state folder holds it. One that is missing, damaged or of other rates is as good as empty, and nothing
fails because it cannot be written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sora.runtime import rates
from sora.storage import atomic, regular, state

MAX_RECORDS, MAX_FILE_BYTES, MAX_NAME = 200, 1 << 18, 120
NEWEST = 0.4  # what the newest run counts, in a mean of logarithms, once there are several
MAX_RATIO = 1000.0  # between seconds and those of the rates, either way


@dataclass(frozen=True)
class Measured:
    """How a phase went. ratio: its seconds by those of the rates. runs: how many of them are in it. busy: whether other
    programs kept the CPU busy meanwhile."""

    ratio: float
    runs: int = 1
    busy: bool = False


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


Records = dict[str, dict[str, Measured]]
"""By key and phase."""


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


def _phases(value: Any) -> dict[str, Measured]:
    if not isinstance(value, dict) or len(value) > MAX_RECORDS:
        return {}
    found = {str(name): _measured(each) for name, each in value.items()}
    return {name: each for name, each in found.items() if each is not None}


def _measured(value: Any) -> Measured | None:
    if not isinstance(value, dict):
        return None
    ratio, runs, busy = value.get("ratio"), value.get("runs"), value.get("busy")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        return None
    if type(runs) is not int or not 1 <= runs <= 1 << 30 or not isinstance(busy, bool):
        return None
    return Measured(float(ratio), runs, busy)


def add(key: RunKey, ratios: Mapping[str, float], *, busy: bool) -> None:
    """Add what one painting took. ratios: by phase; those out of range are left out. busy: whether other programs kept
    the CPU busy: such a run counts only while there is no other."""
    usable = {name: ratio for name, ratio in ratios.items() if 1 / MAX_RATIO <= ratio <= MAX_RATIO}
    if not usable:
        return
    records = read()
    phases = records.pop(key.text, {})
    records[key.text] = phases | {name: _joined(phases.get(name), ratio, busy) for name, ratio in usable.items()}
    with suppress(OSError):
        _write(dict(list(records.items())[-MAX_RECORDS:]))


def _joined(before: Measured | None, ratio: float, busy: bool) -> Measured:
    if before is None or (before.busy and not busy):
        return Measured(ratio, 1, busy)
    if busy and not before.busy:
        return before
    share = max(NEWEST, 1 / (before.runs + 1))
    mean = math.exp((1 - share) * math.log(before.ratio) + share * math.log(ratio))
    return Measured(mean, before.runs + 1, busy)


def _write(records: Records) -> None:
    runs = {
        key: {name: {"ratio": round(m.ratio, 4), "runs": m.runs, "busy": m.busy} for name, m in phases.items()}
        for key, phases in records.items()
    }
    data = json.dumps({"rates": rates.VERSION, "runs": runs}, indent=1).encode()
    file().parent.mkdir(parents=True, exist_ok=True)
    atomic.write(file(), data, replace=True, durable=False)


def of(records: Records, key: RunKey) -> dict[str, Measured]:
    """What is known of such paintings, by phase; what is missing is the mean of other models of the family."""
    family = [phases for name, phases in records.items() if name.startswith(key.of_family) and name != key.text]
    names = {name for phases in family for name in phases}
    return {name: _mean([phases[name] for phases in family if name in phases]) for name in names} | records.get(
        key.text, {}
    )


def _mean(several: list[Measured]) -> Measured:
    ratio = math.exp(sum(math.log(each.ratio) for each in several) / len(several))
    return Measured(ratio, 0, any(each.busy for each in several))
