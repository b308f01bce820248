"""A case: an input as people have it, what sora must make of it, and what it made of it.

A part is a module with ``cases() -> Iterator[Case]``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

DOCUMENTED = (0, 2, 3, 4, 5, 6)
PATIENCE = 600  # seconds of one command


@dataclass(frozen=True)
class Outcome:
    """got: what came of it, in the words of the case's ``expected``. right: whether that is what was expected."""

    got: str
    right: bool


@dataclass(frozen=True)
class Case:
    """kind: of input, a few words that several cases share. name: of this input.

    attempt: makes the input in an empty folder of its own and tries it.
    """

    kind: str
    name: str
    expected: str
    attempt: Callable[[Path], Outcome]


@dataclass(frozen=True)
class Run:
    """What a command ended with. out: its standard output as bytes. text: both streams as text."""

    status: int
    out: bytes
    text: str


def run(folder: Path, *argv: str, more: Mapping[str, str] = MappingProxyType({}), stdin: bytes = b"") -> Run:
    """The program as a process of its own in ``folder``. more: of the environment.

    Raises AssertionError for a traceback and for an exit status that is not documented.
    """
    own = {"SORA_STATE": str(folder / ".state"), "SORA_CACHE": str(folder / ".cache"), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "sora", *map(os.fsencode, argv)]
    environment = {**os.environ, **own, **more}
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, timeout=PATIENCE)
    errors = done.stderr.decode(errors="replace")
    text = done.stdout.decode(errors="replace") + errors
    assert "Traceback" not in text, f"traceback: {text[-300:]}"
    assert done.returncode in DOCUMENTED, f"exit status {done.returncode}: {text[-300:]}"
    return Run(done.returncode, done.stdout, text)


def says(ended: Run, status: int, *words: str) -> Outcome:
    """Whether a command ended with this status and its streams hold all these words, wherever lines break."""
    flat = " ".join(ended.text.split())
    missing = [word for word in words if word not in flat]
    got = f"exit {ended.status}: {flat[-160:]}" if missing or ended.status != status else f"exit {status}, says so"
    return Outcome(got, not missing and ended.status == status)


class Part(Protocol):
    """A module of cases."""

    def cases(self) -> Iterator[Case]: ...
