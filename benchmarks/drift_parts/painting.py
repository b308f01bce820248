"""Films painted by a program of their own, whose memory is watched from outside (Linux)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from drift_parts.cases import Case

SECONDS = 60  # of each film
WINDOW_FRAMES = 33  # that the embedded model paints at once
SAMPLING = 0.02  # seconds between two looks at a program's memory


def encoders(process: int) -> int:
    """Bytes that the programs which it started hold now."""
    total, waiting = 0, children(process)
    while waiting:
        each = waiting.pop()
        waiting += children(each)
        try:
            if Path(f"/proc/{each}/exe").readlink() == Path(f"/proc/{process}/exe").readlink():
                continue  # a copy of it that is about to start another program, and shares its memory until then
            pages = Path(f"/proc/{each}/statm").read_text(encoding="ascii").split()[1]
        except OSError:  # it has just ended
            continue
        total += 4096 * int(pages)
    return total


def children(process: int) -> list[int]:
    try:
        tasks = [*Path(f"/proc/{process}/task").iterdir()]
        return [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def painted(arguments: Sequence[str]) -> dict[str, float]:
    """Runs ``sora`` and watches it. own: bytes resident at most, as the kernel counts them. encoders: the most that
    was seen of the programs that it started."""
    began, own, others = time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", "sora", *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        own, others = max(own, high_water(process.pid)), max(others, encoders(process.pid))
        time.sleep(SAMPLING)
    if process.returncode:
        raise SystemExit(f"sora {' '.join(arguments)} ended with {process.returncode}")
    return {"seconds": time.perf_counter() - began, "own": own, "encoders": others}


def high_water(process: int) -> int:
    """The most bytes that a program has had resident so far."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def paint(case: Case, folder: Path) -> None:
    """A film into FOLDER/NAME.mkv, and one window of it, with which its memory is compared; unless they are there."""
    first, *rest = case.shots
    words = ["generate", first, "--seed", str(case.number), "--threads", "1", "--quiet", "--force"]
    later = [word for shot in rest for word in ("--then", shot)]
    films = {case.name: [*later, "--seconds", str(SECONDS)]}
    if case.kind != "settings":
        films[f"{case.name}-window"] = ["--frames", str(WINDOW_FRAMES)]
    for name, options in films.items():
        note = folder / f"{name}.json"
        if note.exists():
            continue
        found = painted([*words, *options, "--output", str(folder / f"{name}.mkv")])
        note.write_text(json.dumps(found), encoding="utf-8")
        print(f"{name}: {found['seconds']:.0f} s, {found['own'] / 2**20:.0f} MiB", flush=True)
