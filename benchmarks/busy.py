"""How long a clip takes while other programs are busy: ``python benchmarks/busy.py [--runs 5] [--programs 2]``.

The default clip, cold, alternately alone and with programs that only count, all at the same priority. Prints medians of
wall time and of processor time (user and system, which others disturb less), and the ratio of wall times.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

PROMPT = "a red balloon floats up over a green meadow"


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Inside it so many programs count."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def run(folder: str) -> tuple[float, float]:
    """(wall seconds, processor seconds) of one cold clip."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "sora", "generate", PROMPT, "--seed", "1", "--quiet", "--force", "-o", "a.mp4"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--programs", type=int, default=2)
    args = parser.parse_args()
    found: dict[int, list[tuple[float, float]]] = {0: [], args.programs: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.runs):
            for programs, times in found.items():
                with busy(programs):
                    taken = run(folder)
                times.append(taken)  # the programs' own time is counted when they end, after this clip's
    for programs, times in found.items():
        wall, work = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"with {programs} busy programs: {wall:.2f} s, of processor time {work:.2f} s")
    alone, loaded = (statistics.median(wall for wall, _ in times) for times in found.values())
    print(f"ratio {loaded / alone:.2f}")


if __name__ == "__main__":
    main()
