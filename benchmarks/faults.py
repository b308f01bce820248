"""What happens when things go wrong: one table of what was wanted, what was measured, and whether it is met.

    python benchmarks/faults.py [--part NAME ...] [--seconds N] [--seed N] [--out FILE.jsonl]
    python benchmarks/faults.py --report --out FILE.jsonl

Every part ends by itself; ``--seconds`` is how long each one (in ``fuzz``, each target, in seconds of CPU) may begin
something new. Rows are appended to the file of ``--out`` as soon as they are known, so that long parts can run by
themselves, and ``--report`` prints the table of all of them: for each row what was measured last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from faults_parts.part import Row, Settings
from minitrain.eval.verdicts import log_progress, machine_summary, markdown_table

PARTS: dict[str, tuple[str, float]] = {
    "kills": ("300 SIGKILLs while painting, decoding, publishing, in batches and in training", 3600),
    "pull": ("downloads that are killed, dropped, stalled and lied to", 600),
    "disk": ("ENOSPC and EIO at every write of a run", 900),
    "hostile": (">= 400 hostile inputs", 1800),
    "fuzz": ("fuzzed validators, recipes, prompts and templates", 600),
    "same": ("20 jobs, each by eight routes", 1200),
    "soak": ("2 hours of mixed jobs in one process", 7200),
}
"""Name of a part, and of its module in ``faults_parts`` -> (what it is about, how many seconds it takes by default)."""


def rows_of(name: str, settings: Settings) -> Iterator[Row]:
    """What a part measures. A part that fails has a row, too, so that the others are measured all the same."""
    try:
        yield from import_module(f"faults_parts.{name}").measure(settings)
    except Exception as error:
        yield Row(f"{name} ran to its end", "yes", f"{type(error).__name__}: {error}"[:200], False)
        raise
    yield Row(f"{name} ran to its end", "yes", "yes", True)


def append(out: Path, part: str, row: Row) -> None:
    """Add a row to the file of results."""
    record = {"part": part, "at": time.strftime("%Y-%m-%d %H:%M:%S"), **asdict(row)}
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read(out: Path) -> dict[str, dict[str, Row]]:
    """Part -> name of a row -> the row that was measured last."""
    found: dict[str, dict[str, Row]] = {}
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else ():
        record = json.loads(line)
        row = Row(record["what"], record["target"], record["found"], record["met"])
        found.setdefault(record["part"], {})[row.what] = row
    return found


def table(found: dict[str, dict[str, Row]], names: Iterable[str]) -> str:
    """The rows of some parts as a Markdown table; a part without any has a line that says so."""
    lines: list[list[str]] = []
    for name in names:
        rows = found.get(name, {}).values() or [Row(PARTS[name][0], "", "not measured", None)]
        lines += [[name, row.what, row.target, row.found, row.verdict] for row in rows]
    return markdown_table(["part", "what", "wanted", "measured", ""], lines)


def measure(name: str, args: argparse.Namespace) -> None:
    """Run one part in a folder of its own, and keep its rows."""
    seconds = args.seconds if args.seconds is not None else PARTS[name][1]
    with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as place:
        folder = Path(place) if args.folder is None else args.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        for row in rows_of(name, Settings(seconds, args.seed, folder, tuple(args.case))):
            append(args.out, name, row)
            log_progress(f"{name}, {time.monotonic() - began:.0f} s: {row.what}: {row.found} {row.verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, default=[], help="may be repeated; all by default")
    parser.add_argument("--case", action="append", default=[], help="only this case of a part; may be repeated")
    parser.add_argument("--seconds", type=float, help="of each part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "faults.jsonl")
    parser.add_argument("--folder", type=Path, help="keep what the parts write here, for a closer look")
    parser.add_argument("--report", action="store_true", help="measure nothing; print what --out holds")
    args = parser.parse_args()
    names = args.part or list(PARTS)
    if not args.report:
        for name in names:
            measure(name, args)
    print(f"{machine_summary()}\n\n{table(read(args.out), names)}")


if __name__ == "__main__":
    main()
