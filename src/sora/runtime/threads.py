"""How many threads compute, and how they wait for one another. Everything here is decided before torch is imported.

Threads that share the work of one operation wait for the slowest. On a machine where other programs run too, a thread
that waits by spinning takes the very core that the slowest one needs: with two busy programs on two cores a clip took
five to nine times its idle time. With threads that sleep while they wait it took less than twice
(``benchmarks/busy.py``).
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables that say how OpenMP's threads wait. A person who sets one of them has decided."""

COUNT_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""As WAITING, of how many threads there are."""

WAIT_SETTINGS = {
    False: {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"},
    True: {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"},
}
"""By whether other programs are busy. GNU's OpenMP (Linux) counts turns of a loop: 20,000 are some tenth of a
millisecond, which on an idle machine saves most of the time that waking up takes and with busy programs costs more.
Intel's and LLVM's (macOS, Windows) count milliseconds."""

BUSY_CORES = 0.5  # cores that other programs use, from which on they count as busy


def fastest_thread_count(available_cores: int, other_load: float, cpu_quota: float = math.inf) -> int:
    """How many threads are fastest, at least one.

    available_cores: that this process may run on. other_load: how many of them other programs keep busy. cpu_quota:
    cores' worth of time that the process may take. Threads on free cores run at full speed, and one that shares its
    core slows all down to half of it; so only the free cores are used where they are more than half, and otherwise all.
    """
    free = available_cores - round(other_load)
    wanted = free if 2 * free > available_cores else available_cores
    return max(1, int(min(wanted, cpu_quota)))


class LoadMonitor:
    """Measures how busy other programs have kept this process's cores since it was made."""

    def __init__(self) -> None:
        self._began = _Sample()

    def other_load(self) -> float:
        """Cores in use by other programs, on average; where the system does not count it, the load of the last minute
        (macOS) or 0 (Windows)."""
        now = _Sample()
        if now.busy is None or self._began.busy is None:
            return min(_load(), float(cores()))
        passed = now.at - self._began.at
        if passed <= 0:
            return 0.0
        return max(0.0, (now.busy - self._began.busy - (now.own - self._began.own)) / passed)


class _Sample:
    """busy: seconds that this process's cores have worked, None where that is not counted. own: those of this
    process."""

    def __init__(self) -> None:
        times = os.times()
        self.at, self.own, self.busy = time.perf_counter(), sum(times[:4]), _busy_seconds()


def _busy_seconds() -> float | None:
    """Linux counts it by core."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        niced = os.getpriority(os.PRIO_PROCESS, 0) > 0
        return busy_ticks(lines, os.sched_getaffinity(0), niced=niced) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


def busy_ticks(lines: Iterable[str], numbers: Iterable[int], *, niced: bool) -> int:
    """Ticks that the cores of these numbers have worked, of the lines of /proc/stat. niced: whether work of programs
    that give way to others counts; it does for a program that gives way itself. Idle time, time that waits for disks,
    and a guest's time, which counts as its host's already, are left out."""
    names = {f"cpu{n}" for n in numbers}
    rows = [line.split() for line in lines]
    columns = (1, 2, 3, 6, 7, 8) if niced else (1, 3, 6, 7, 8)  # user, nice, system, irq, softirq, steal
    return sum(int(row[i]) for row in rows if row and row[0] in names for i in columns)


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def cores() -> int:
    """How many cores this process may run on."""
    try:
        return len(os.sched_getaffinity(0))  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Cores' worth of time that the control groups of this process allow, infinite where none does. root, own: where
    Linux lists groups, and this process's own."""
    found = [_limit(group / "cpu.max") for group in _groups(root, own)]
    return min([*found, _old_limit(root / "cpu")])


def _groups(root: Path, own: Path) -> list[Path]:
    """The folders of this process's group and those above it, of version 2."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return [root]
    inside = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    group = root / inside
    return [group, *(p for p in group.parents if p == root or root in p.parents)]


def _limit(file: Path) -> float:
    """Of a line such as "150000 100000": microseconds of work in microseconds of time; or "max 100000"."""
    try:
        work, period = file.read_text(encoding="ascii").split()
        return math.inf if work == "max" else int(work) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _old_limit(folder: Path) -> float:
    """As ``_limit``, for groups of version 1."""
    try:
        files = (folder / f"cpu.cfs_{name}_us" for name in ("quota", "period"))
        work, period = (int(file.read_text(encoding="ascii")) for file in files)
        return work / period if work > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def max_threads(environ: Mapping[str, str]) -> int:
    """The most threads that this process should use, by its cores, its control groups and the environment."""
    limits = [int(environ[name]) for name in COUNT_VARIABLES if environ.get(name, "").isdecimal()]
    return max(1, int(min([cores(), quota(), *limits])))


def wait_passively(environ: MutableMapping[str, str], other_load: float) -> None:
    """Set OpenMP's environment, before torch loads it, to let threads sleep while they wait, sooner where other
    programs are busy. Does nothing where the person has set it, or where torch is loaded. other_load: see
    ``fastest_thread_count``."""
    if "torch" not in sys.modules and not any(name in environ for name in WAIT_VARIABLES):
        environ.update(WAIT_SETTINGS[other_load >= BUSY_CORES])


def thread_count(requested: int | None, other_load: float, default: int) -> int:
    """How many threads to compute with. requested: by the person, None for no request. default: torch's own choice,
    which follows the environment and physical cores; more are never used without a request."""
    if requested is not None:
        return requested
    if any(name in os.environ for name in COUNT_VARIABLES):
        return default
    return min(default, fastest_thread_count(cores(), other_load, quota()))
