"""What a person sees on stderr while sora works: notes, a progress bar where there is a terminal, and the clock."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sora.errors import printable

if TYPE_CHECKING:
    from sora.engine.progress import ProgressEvent

Listener = Callable[["ProgressEvent"], None]

PHASES = ("start", "load", "encode", "sample", "decode", "write")
"""Of a painting. start: what is checked and read before. load: torch and the model. write: what is left of encoding
after the last frame is decoded, and the look at the finished file."""


class Clock:
    """Seconds spent in each phase; the engine's events mark where one phase ends and the next begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._mark = time.perf_counter()
        self._phase = ""

    def lap(self, phase: str) -> None:
        """All time since the last mark belongs to ``phase``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._mark
        self._mark = now

    def on_event(self, event: ProgressEvent) -> None:
        """An event that opens a phase (nothing done yet) closes the one before; any other tells of its own."""
        self.lap(self._phase if event.done == 0 and self._phase else event.phase)
        self._phase = event.phase

    def rounded_seconds(self) -> dict[str, float]:
        return {phase: round(seconds, 3) for phase, seconds in self.seconds.items()}

    def summary(self) -> dict[str, float]:
        """Every phase of a painting, in order and 0 where there was none, and their ``total``."""
        phases = dict.fromkeys(PHASES, 0.0) | self.rounded_seconds()
        return phases | {"total": round(self.total, 3)}

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())


def note(text: str, quiet: bool) -> None:
    """One line for a person, unless they asked for silence."""
    if not quiet:
        typer.echo(printable(text), err=True)


def print_path(path: str | Path) -> None:
    """A path on stdout. A script gets its very bytes, whatever they are, so that it can open the file; a person at a
    terminal gets it as ``printable`` shows it."""
    typer.echo(printable(str(path)) if sys.stdout.isatty() else os.fsencode(path))


@contextmanager
def progress(clock: Clock, label: str, quiet: bool) -> Iterator[Listener]:
    """A listener for the engine's events: it keeps the clock and, on a terminal, a bar."""
    if quiet or not sys.stderr.isatty():
        yield clock.on_event
        return
    from sora.cli import bar

    with bar.steps(clock.on_event, label) as on_event:
        yield on_event
