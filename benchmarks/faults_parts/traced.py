"""The program, with every progress event written into the file that ``FAULTS_TRACE`` names: one line each, of the
seconds of the system's clock, the phase, the window of how many, and how many of how many are done. What is written is
there whatever happens to the process.

    python -m faults_parts.traced generate ...
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "FAULTS_TRACE"


@dataclass(frozen=True)
class Line:
    """An event of a trace. seconds: of the system's monotonic clock."""

    seconds: float
    phase: str
    window: int
    windows: int
    done: int
    total: int


def read(trace: Path) -> list[Line]:
    """The events of a trace, without one that is being written. A film of several windows makes each event twice, the
    first time as that of a film of one."""
    if not trace.exists():
        return []
    whole = trace.read_text().rpartition("\n")[0]
    fields = [line.split() for line in whole.splitlines()]
    lines = [Line(float(f[0]), f[1], *map(int, f[2:])) for f in fields]
    windows = max((line.windows for line in lines), default=1)
    return [line for line in lines if line.windows == windows or line.phase == "load"]


def install(trace: str) -> None:
    """Write every event that is made from now on."""
    from sora.engine.progress import ProgressEvent

    file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    original = ProgressEvent.__init__

    def traced(self: ProgressEvent, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        line = f"{time.monotonic():.4f} {self.phase} {self.window} {self.windows} {self.done} {self.total}\n"
        os.write(file, line.encode())

    ProgressEvent.__init__ = traced


def main() -> None:
    if trace := os.environ.get(VARIABLE):
        install(trace)
    from sora.cli import main as program

    program()


if __name__ == "__main__":
    main()
