"""Whether readers of files and words refuse whatever they are given in the documented way.

Inputs are made from valid ones by changes of bytes and of structure; one that reaches a line of the program that none
reached before is kept and changed further. An input counts as a crash where anything but a SoraError is raised, where
it takes over MAX_SECONDS of CPU, or where it needs more memory than MAX_MEMORY. ``--case`` names a target.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import sora
from faults_parts.fuzz_targets import TARGETS, Target
from faults_parts.part import Row, Settings
from sora.errors import SoraError

MAX_SECONDS = 10
MAX_MEMORY = 1 << 30  # bytes of address space beyond what is there when a target begins
WANTED_SECONDS = 600  # of CPU
OWN = str(Path(sora.__file__).parent)
BATCH = 50  # inputs between two looks at the clock


class TooSlowError(BaseException):
    """Raised in an input that takes too long; no reader of ours catches it."""


class Coverage:
    """Lines of the program that were reached."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()
        self.new = 0

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002
        return self.line if frame.f_code.co_filename.startswith(OWN) else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place not in self.lines:
            self.lines.add(place)
            self.new += 1
        return self.line


def attempt(target: Target, data: bytes, folder: Path, coverage: Coverage | None = None) -> str:
    """What went wrong with an input, with the place in the program where it did; empty for nothing."""
    if coverage is not None:
        coverage.new = 0
        sys.settrace(coverage.call)
    try:
        target.read(data, folder)
    except SoraError:
        return ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sys.settrace(None)
        own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(OWN)]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "the target"
        return f"{type(error).__name__} at {place}: {error}"[:300]
    finally:
        sys.settrace(None)
    return ""


@contextmanager
def bounds() -> Iterator[None]:
    """Inputs that take too long or too much memory fail."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise TooSlowError(f"over {MAX_SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    old = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MAX_MEMORY, old[1]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
        signal.signal(signal.SIGPROF, before)


class Fuzzer:
    """Of one target. folder: for its files and its corpus, which is read again by the next run."""

    def __init__(self, target: Target, folder: Path, rng: random.Random) -> None:
        self.target, self.folder, self.rng = target, folder, rng
        self.coverage, self.runs = Coverage(), 0
        self.crashes: dict[str, bytes] = {}
        self.corpus_folder = folder / "corpus"
        self.corpus_folder.mkdir(parents=True, exist_ok=True)
        kept = [path.read_bytes() for path in sorted(self.corpus_folder.iterdir())]
        self.corpus: list[bytes] = []
        self.seeds = [*target.seeds(), *kept]

    def run(self, seconds: float) -> float:
        """Try inputs for so many seconds of CPU; returns those that it took."""
        began = _cpu()
        for data in self.seeds:
            attempt(self.target, data, self.folder)  # imports what there is to import
            self.attempt(data, keep=True)
        self.seeds = []
        while _cpu() - began < seconds:
            for _ in range(BATCH):
                self.attempt(self.target.mutate(self._chosen(), self.rng, self.target.words))
        return _cpu() - began

    def attempt(self, data: bytes, keep: bool = False) -> None:
        self.runs += 1
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
        try:
            problem = attempt(self.target, data, self.folder, self.coverage)
        except TooSlowError:
            problem = f"over {MAX_SECONDS} s"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if problem:
            self._crashed(problem, data)
        elif keep or self.coverage.new:
            self.corpus.append(data)
            (self.corpus_folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def _chosen(self) -> bytes:
        """One of the corpus, the newest more often."""
        recent = self.corpus[-20:] if self.rng.random() < 0.3 else self.corpus
        return self.rng.choice(recent or self.target.seeds())

    def _crashed(self, problem: str, data: bytes) -> None:
        place = problem.split(": ")[0]
        if place not in self.crashes:
            self.crashes[place] = data
            name = hashlib.sha256(place.encode()).hexdigest()[:16]
            crashes = self.folder / "crashes"
            crashes.mkdir(exist_ok=True)
            (crashes / name).write_bytes(data)
            (crashes / f"{name}.txt").write_text(problem)


def _cpu() -> float:
    """Seconds of CPU of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(settings: Settings) -> Iterator[Row]:
    """Fuzz each target in turn."""
    for name, target in TARGETS.items():
        if not settings.wants(name):
            continue
        folder = settings.folder / name
        folder.mkdir(exist_ok=True)
        fuzzer, wall = Fuzzer(target, folder, settings.random), time.monotonic()
        with bounds():
            took = fuzzer.run(settings.seconds)
        found = f"{fuzzer.runs:,} inputs in {took:.0f} s of CPU, {len(fuzzer.crashes)} crashes"
        found += f", {len(fuzzer.coverage.lines)} lines reached; {'; '.join(fuzzer.crashes)}".rstrip("; ")[:200]
        settings.log("fuzz", {"target": name, "wall": round(time.monotonic() - wall), "found": found})
        met = not fuzzer.crashes and took >= 0.99 * WANTED_SECONDS
        yield Row(f"fuzz {name}", f"no crash in {WANTED_SECONDS} s of CPU", found, met)
