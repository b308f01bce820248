"""How long sora takes to start: wall time of whole programs and of ``import sora``, median, least and most, as a table.

python benchmarks/startup.py [RUNS]     10 runs by default; the painting runs only where the weights are
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

from sora import catalog, weights

PROMPT = "a red balloon floats up over a green meadow"


def seconds_of(argv: list[str], folder: str) -> float:
    """Wall time of one program from start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sora", *argv], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def import_seconds(folder: str) -> float:
    """Of ``import sora``, by ``python -X importtime``, with all that it brings."""
    command = [sys.executable, "-X", "importtime", "-c", "import sora"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    line = next(line for line in done.stderr.splitlines() if line.endswith("| sora"))  # self [us] | cumulative | name
    return int(line.split("|")[1]) / 1e6


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rows = {"sora --help": ["--help"], "sora --version": ["--version"], "sora generate --help": ["generate", "--help"]}
    if weights.embedded(catalog.MODELS["mini"].files):
        rows["sora generate (default, cold)"] = ["generate", PROMPT, "--seed", "1"]
    print(f"{'command':32} {'median s':>9} {'min s':>9} {'max s':>9}   ({runs} runs)")
    measures = {"import sora": import_seconds} | {name: partial(seconds_of, argv) for name, argv in rows.items()}
    for name, measure in measures.items():
        with tempfile.TemporaryDirectory() as folder:
            took = [measure(folder) for _ in range(runs)]
        print(f"{name:32} {statistics.median(took):9.3f} {min(took):9.3f} {max(took):9.3f}", flush=True)


if __name__ == "__main__":
    main()
