"""How near whole runs come to diffusers' Wan pipelines: ``python benchmarks/parity.py``.

For every kind of checkpoint, tiny and with random weights, saved by diffusers and loaded from that folder: the largest
and the mean distance of frames in [0, 1], from the same prompt, seed and settings. Runs the parity tests in a process
of its own and reads what they record, so that the benchmark and the tests cannot differ. Needs the ``dev``
dependencies. The exit status is pytest's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from minitrain.eval.verdicts import Verdicts, machine_summary

ROOT = Path(__file__).parent.parent
TESTS = "tests/parity/test_wan_pipelines.py"


@dataclass(frozen=True)
class Run:
    """One whole run. largest, mean, bound: distances of frames in [0, 1]. seconds: of the test."""

    name: str
    largest: float
    mean: float
    bound: float
    seconds: float


def recorded(report: Path) -> Iterator[Run]:
    """What the tests recorded in pytest's XML report; tests that record no distance are left out."""
    for case in ElementTree.parse(report).iter("testcase"):
        found = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        if "largest" in found:
            name = case.get("name", "").removeprefix("test_").replace("_", " ")
            figures = (float(found[key]) for key in ("largest", "mean", "bound"))
            yield Run(name, *figures, seconds=float(case.get("time", 0)))


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", TESTS, f"--junitxml={report}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.is_file():
            raise SystemExit(f"pytest wrote no report:\n{done.stdout}{done.stderr}")
        runs = list(recorded(report))
    print(f"{machine_summary()}\n")
    verdicts = Verdicts()
    for run in runs:
        found = f"{run.largest:.1e}, mean {run.mean:.1e} ({run.seconds:.1f} s)"
        verdicts.add(f"{run.name}: largest distance", f"<= {run.bound:.0e}", found, run.largest <= run.bound)
    print(f"\n{verdicts.summary()}")
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
