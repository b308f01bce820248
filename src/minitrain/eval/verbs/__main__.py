"""Measure what each command must guarantee: ``python -m minitrain.eval.verbs [--only extend,loop] [--count N]``.

Prints one row for each requirement: what, its target, what was found, met or missed. ``--count`` uses fewer clips than
specified, for a trial. ``--json FILE`` saves the rows, ``--sheets FOLDER`` draws a contact sheet of each command: the
first clips made, with a red bar over generated frames. Everything takes hours on two cores; sections can be run one by
one into the same JSON file.
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from minitrain.eval.report import Report
from minitrain.eval.verbs import drafts, edits, joins, lengths, shapes
from minitrain.eval.verbs.eval_model import EvalModel, load
from minitrain.eval.verdicts import log_progress

Section = Callable[[EvalModel, Report, int], None]
# Name -> what measures it, and the number of clips of the list.
SECTIONS: dict[str, tuple[Section, int]] = {
    "extend": (joins.extend, 40),
    "variants": (joins.variants, 6),
    "loop": (joins.loop, 20),
    "bridge": (joins.bridge, 20),
    "edit-part": (edits.edit_part, 10),
    "edit-whole": (edits.edit_whole, 40),
    "minute": (lengths.minute, 10),
    "memory": (lengths.memory, 1),
    "shots": (lengths.shots, 10),
    "finish": (drafts.finish, 20),
    "times": (drafts.times, 5),
    "shapes": (shapes.measure_shapes, 7),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), metavar="NAMES", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--count", type=int, help="clips a section, instead of the list's number")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    wanted = args.only.split(",")
    if unknown := [name for name in wanted if name not in SECTIONS]:
        parser.error(f"no section is called {', '.join(unknown)}; there is {', '.join(SECTIONS)}")
    evaluator = load()
    for name in wanted:
        measure, count = SECTIONS[name]
        report, started = Report(folder=args.sheets), time.perf_counter()
        print(f"\n# {name}", flush=True)
        try:
            measure(evaluator, report, args.count or count)
        except Exception as error:  # one broken section shall not cost the hours of the others
            traceback.print_exc()
            report.add(f"{name} broke off", "to finish", f"{type(error).__name__}: {error}", False)
        log_progress(f"{name}: {time.perf_counter() - started:.0f} s")
        report.write_sheets()
        if args.json:
            report.write_json(args.json, name)


if __name__ == "__main__":
    main()
