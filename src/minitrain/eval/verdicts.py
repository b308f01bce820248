"""Results of evaluations and benchmarks: rows with a target and a verdict, Markdown tables, a summary of the machine.

The programs of ``minitrain.eval`` and those in ``benchmarks`` share it. A row is printed as soon as it is known, so
that the output of hours can be read meanwhile.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

COLUMN_WIDTHS = (66, 12, 44, 6)  # characters of what, target, found and verdict, at least
COLUMN_NAMES = ("what", "target", "found", "")


@dataclass(frozen=True)
class Row:
    """One line of the table. met: None if there is no target."""

    what: str
    target: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "MISSED"


@dataclass
class Verdicts:
    """Rows of a Markdown table, each printed when it is added, and kept."""

    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, target: str, found: str, met: bool | None = None) -> None:
        """Add one row; the first one prints the header too."""
        if not self.rows:
            print(_table_line(COLUMN_NAMES), _table_line(["-" * width for width in COLUMN_WIDTHS]), sep="\n")
        row = Row(what, target, found, None if met is None else bool(met))
        self.rows.append(row)
        print(_table_line((row.what, row.target, row.found, row.verdict)), flush=True)

    def add_share(self, what: str, cases: Iterable[bool], minimum: float | None = None) -> None:
        """Add the share of cases that are true, with its standard error, against a minimum."""
        cases = [bool(h) for h in cases]
        target = "" if minimum is None else f">= {minimum:.0%}"
        if not cases:
            self.add(what, target, "no cases")
            return
        part, n = sum(cases) / len(cases), len(cases)
        error = math.sqrt(part * (1 - part) / n)
        found = f"{100 * part:5.1f} % +- {100 * error:.1f} ({sum(cases)} of {n})"
        self.add(what, target, found, None if minimum is None else part >= minimum)

    def add_range(self, what: str, values: Iterable[float], unit: str = "") -> None:
        """Add the minimum, median and maximum of some numbers, without a target."""
        v = list(values)
        text = f"least {min(v):.2f}, median {statistics.median(v):.2f}, most {max(v):.2f}{unit}" if v else "no cases"
        self.add(what, "", text)

    def summary(self) -> str:
        """How many targets were met."""
        targets_met = [row.met for row in self.rows if row.met is not None]
        return f"{sum(targets_met)} of {len(targets_met)} targets met"

    def write_json(self, path: Path, section: str) -> None:
        """Write the rows under the section's name, into a file that may contain other sections already."""
        sections = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        sections[section] = [asdict(row) for row in self.rows]
        path.write_text(json.dumps(sections, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, COLUMN_WIDTHS, strict=True))} |"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def log_progress(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def machine_summary() -> str:
    """The machine and versions of a measurement, in one line."""
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        models = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")]
        device = models[0].split(":")[1].strip() if models else platform.processor()
        device += f", {torch.get_num_threads()} thread(s), {torch.backends.cpu.get_cpu_capability()}"
    return f"{device}; Python {platform.python_version()}, torch {torch.__version__}; {date.today()}"
