"""What every part of the benchmark of faults is given, and what it returns.

A part is a module with ``measure(settings) -> Iterator[Row]``. A row is yielded as soon as it is known; a later row of
the same name takes its place, so that a part that runs for hours can say how far it is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from minitrain.eval.verdicts import Row

__all__ = ["Part", "Row", "Settings"]


@dataclass(frozen=True)
class Settings:
    """Of one run of a part. seconds: after which the part begins nothing more. folder: of its own and empty at first,
    for everything that the part writes. cases: the part's cases to run, all where none is named."""

    seconds: float
    seed: int
    folder: Path
    cases: tuple[str, ...] = ()

    @property
    def random(self) -> random.Random:
        """A generator that begins with the seed each time it is asked for."""
        return random.Random(self.seed)

    def wants(self, case: str) -> bool:
        """Whether a case is to be run."""
        return not self.cases or case in self.cases

    def log(self, name: str, record: Mapping[str, Any]) -> None:
        """Append one record to ``NAME.jsonl`` in the part's folder, to be read while the part runs."""
        with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=True) + "\n")


class Part(Protocol):
    """A module that measures."""

    def measure(self, settings: Settings) -> Iterator[Row]:
        """Rows of the table."""
        ...
