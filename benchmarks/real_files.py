"""Files, weights and words as people have them: at least 120 inputs, each with what was expected of it and what came.

    python benchmarks/real_files.py [--part NAME ...] [--kind WORDS] [--failed]

Every case has a folder of its own, which is empty at first and removed afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from minitrain.eval.verdicts import log_progress, machine_summary, markdown_table
from real_files_parts.case import Case, Outcome

WANTED = 120
PARTS = ("clips", "colour", "weights", "numbers", "lora", "words", "seconds")


def tried(case: Case) -> Outcome:
    """What came of a case; what it raises is a wrong outcome, too."""
    with tempfile.TemporaryDirectory(prefix="real-files-") as folder:
        try:
            return case.attempt(Path(folder))
        except Exception as error:
            return Outcome(" ".join(f"{type(error).__name__}: {error}".split())[:200], False)


def results(names: list[str], kind: str) -> Iterator[tuple[Case, Outcome]]:
    """Every case of some parts whose kind holds these words."""
    for name in names:
        for case in import_module(f"real_files_parts.{name}").cases():
            if kind in case.kind:
                began = time.monotonic()
                outcome = tried(case)
                mark = "right" if outcome.right else "WRONG"
                log_progress(f"{time.monotonic() - began:5.1f} s {case.kind}: {case.name}: {outcome.got} {mark}")
                yield case, outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, default=[], help="may be repeated; all by default")
    parser.add_argument("--kind", default="", help="only kinds of input with these words")
    parser.add_argument("--failed", action="store_true", help="print only the rows that are not right")
    args = parser.parse_args()
    found = list(results(args.part or list(PARTS), args.kind))
    shown = [pair for pair in found if not (args.failed and pair[1].right)]
    lines = [[c.kind, c.name, c.expected, o.got, "right" if o.right else "WRONG"] for c, o in shown]
    right = sum(outcome.right for _, outcome in found)
    print(f"{machine_summary()}\n\n{markdown_table(['kind', 'input', 'expected', 'got', ''], lines)}")
    print(f"\n{right} of {len(found)} inputs right (at least {WANTED} are wanted)")


if __name__ == "__main__":
    main()
