"""How long a person waits: whole programs, from a cold process to the finished mp4, split by phase.

    python benchmarks/end_to_end.py [--runs N] [--disable NAME]

The embedded model where its weights are, and a tiny Wan with random weights where diffusers is there to build it. The
phases are those of ``--json``; "process" is the rest of the wall time: the interpreter, imports before the command
begins, and the end of the process. Medians, a Markdown table. The machine's file cache is warm.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from minitrain.eval.verdicts import machine_summary, markdown_table
from sora import catalog, weights

PROMPT = "a red balloon floats up over a green meadow"
PHASES = ("process", "start", "load", "encode", "sample", "decode", "write")


def run(argv: list[str], folder: str) -> dict[str, float]:
    """Seconds of one program by phase, and ``wall``, from start to end."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "sora", *argv, "--seed", "1", "--json", "--quiet", "--force", "-o", "made.mp4"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True)
    wall = time.perf_counter() - started
    seconds: dict[str, float] = json.loads(done.stdout)["seconds"]
    return seconds | {"wall": wall, "process": wall - seconds["total"]}


def tiny_wan(folder: Path) -> Path:
    """A Wan text-to-video model of two blocks with random weights, in diffusers' layout."""
    from identical import pipelines

    pipelines()["t2v"]().save_pretrained(folder)
    return folder


def cases(place: Path) -> dict[str, list[str]]:
    """Name to command line of all that can be measured here."""
    found: dict[str, list[str]] = {}
    if weights.embedded(catalog.MODELS["mini"].files):
        found = {
            "mini, default clip": ["generate", PROMPT],
            "mini, 4 s clip": ["generate", PROMPT, "--seconds", "4"],
            "mini, draft": ["generate", PROMPT, "--draft"],
        }
    if find_spec("diffusers") and find_spec("transformers"):
        size = ["--size", "64x48", "--frames", "17", "--steps", "8"]
        found["tiny Wan, 64x48, 17 frames"] = ["generate", PROMPT, "--model", str(tiny_wan(place / "wan")), *size]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--disable", action="append", default=[], help="as sora's own option; may be repeated")
    args = parser.parse_args()
    left_out = [word for name in args.disable for word in ("--disable", name)]
    print(f"{machine_summary()}; {args.runs} runs; medians, seconds {' '.join(left_out)}\n")
    with tempfile.TemporaryDirectory() as place:
        rows = []
        for name, argv in cases(Path(place)).items():
            took = [run([*argv, *left_out], place) for _ in range(args.runs)]
            shown = [statistics.median(one[phase] for one in took) for phase in (*PHASES, "wall")]
            rows.append([name, *(f"{seconds:.2f}" for seconds in shown)])
        print(markdown_table(["case", *PHASES, "wall"], rows))


if __name__ == "__main__":
    main()
