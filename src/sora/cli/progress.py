"""What a person sees on stderr while sora works: notes, a progress bar where there is a terminal, and the clock."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sora.engine.progress import ProgressEvent

Listener = Callable[["ProgressEvent"], None]

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode: controls, half characters, ends of lines
BIDI_CONTROLS = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

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


def escape_controls(text: str) -> str:
    """Text on one line of a terminal: whatever could move its cursor, colour it or turn its direction is written out,
    since names and words come out of files too."""
    return "".join(_escape(c) if unicodedata.category(c) in UNPRINTABLE or c in BIDI_CONTROLS else c for c in text)


def shorten(text: str, max_characters: int = 1000) -> str:
    """Text of at most so many characters, without its middle: what an error quotes can be longer than what it says."""
    return (
        text
        if len(text) <= max_characters
        else f"{text[: max_characters * 2 // 3]} ... {text[-(max_characters // 4) :]}"
    )


def _escape(c: str) -> str:
    return c.encode("unicode_escape", "surrogatepass").decode("ascii")


def note(text: str, quiet: bool) -> None:
    """One line for a person, unless they asked for silence."""
    if not quiet:
        typer.echo(escape_controls(text), err=True)


@contextmanager
def progress(clock: Clock, label: str, quiet: bool) -> Iterator[Listener]:
    """A listener for the engine's events: it keeps the clock and, on a terminal, a bar."""
    if quiet or not sys.stderr.isatty():
        yield clock.on_event
        return
    from sora.cli import bar

    with bar.steps(clock.on_event, label) as on_event:
        yield on_event
