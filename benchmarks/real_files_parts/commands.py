"""Commands tried in this process, and on a terminal of their own."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner, Result

from real_files_parts.case import Outcome, Run, says
from sora.cli import app


def here(folder: Path, *argv: str, stdin: bytes = b"") -> Result:
    """A command in this process, in ``folder``."""
    before, environment = Path.cwd(), dict(os.environ)
    os.environ.update(SORA_STATE=str(folder / ".state"), SORA_CACHE=str(folder / ".cache"))
    os.chdir(folder)
    try:
        return CliRunner().invoke(app, list(argv), input=stdin)
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)


def judged(result: Result, status: int, *words: str) -> Outcome:
    """Whether a command ended with this status and printed all these words."""
    return says(Run(result.exit_code, result.stdout_bytes, result.stderr), status, *words)


def compared(expected: object, got: object) -> Outcome:
    return Outcome(f"{got}"[:160], got == expected)


def says_so(argv: list[str], status: int, *words: str) -> Callable[[Path], Outcome]:
    """An attempt: a command that must end with this status and say all these words."""
    return lambda folder: judged(here(folder, *argv), status, *words)


def on_terminal(folder: Path, *argv: str, encoding: str = "utf-8") -> tuple[int, bytes]:
    """(exit status, what a terminal of this encoding shows) of a command."""
    leader, follower = pty.openpty()
    more = {"PYTHONIOENCODING": encoding, "TERM": "xterm", "SORA_STATE": str(folder / ".state")}
    command = [sys.executable, "-m", "sora", *argv]
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | more, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    out = b""
    with contextlib.suppress(OSError):  # which the end of a terminal is
        while piece := os.read(leader, 1 << 16):
            out += piece
    os.close(leader)
    return process.wait(), out
