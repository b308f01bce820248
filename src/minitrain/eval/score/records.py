"""The judge's answers about each generated clip, and the rows of the table that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minitrain.eval.report import Report
from minitrain.judge import WHOLE

ASKED = ("subject", "setting", "motion")


@dataclass(frozen=True)
class Record:
    """One generated clip. facts, seen: the film's value and the judge's answer for each question. prefers_expected: of
    motions to the left or right, whether the judge finds the expected one of the two likelier. seconds: to generate."""

    world: str
    sampling: str
    number: int
    kind: str
    text: str
    facts: dict[str, str]
    seen: dict[str, str]
    prefers_expected: bool | None
    seconds: float

    def is_named(self, question: str) -> bool:
        """Whether the judge sees what was asked for, whole or not."""
        return self.seen[question] == self.facts[question]

    @property
    def is_whole(self) -> bool:
        return self.seen.get("whole", WHOLE) == WHOLE

    def is_correct(self, question: str) -> bool:
        """Whether the clip shows what was asked for: a subject that is not whole does not count."""
        return self.is_named(question) and (question != "subject" or self.is_whole)

    @property
    def all_correct(self) -> bool:
        return all(self.is_correct(q) for q in ASKED)

    @property
    def pair_is_correct(self) -> bool:
        """Whether both subjects and their relation are correct. Of two that stand side by side neither is the first."""
        keys = ("subject", "second")
        expected, seen = [self.facts[k] for k in keys], [self.seen[k] for k in keys]
        if self.facts["relation"] == "beside":
            expected, seen = sorted(expected), sorted(seen)
        return self.is_correct("relation") and expected == seen


def read_record(row: Mapping[str, Any]) -> Record:
    """A record from its JSON, also from that of earlier versions, which had other names for two of its fields."""
    return Record(
        **{{"way": "sampling", "leans": "prefers_expected"}.get(key, key): value for key, value in row.items()}
    )


def add_scores(report: Report, records: Sequence[Record], name: str) -> None:
    """All rows about generated clips of one world and one sampling. A subject is correct if it is whole as well."""
    minimums = {"subject": 0.95, "setting": 0.95, "motion": 0.9}
    for question, least in minimums.items():
        report.add_share(f"{name}: {question}", (r.is_correct(question) for r in records), least)
    report.add_share(f"{name}: all three", (r.all_correct for r in records))
    report.add_share(f"{name}: subject, whole or not", (r.is_named("subject") for r in records))
    report.add_share(f"{name}: whole", (r.is_whole for r in records))
    sideways = [r for r in records if r.prefers_expected is not None]
    report.add_share(f"{name}: motion, of clips to the left and right", (r.is_correct("motion") for r in sideways))
    report.add_share(f"{name}: left against right", (bool(r.prefers_expected) for r in sideways))
    _share_where_asked(report, records, name, "camera", lambda r: r.is_correct("camera"), 0.85)
    _share_where_asked(
        report, records, name, "relation", lambda r: r.pair_is_correct, 0.8, "both subjects and their relation"
    )
    for question in ("weather", "event"):
        _share_where_asked(report, records, name, question, lambda r, q=question: r.is_correct(q))
    late = [r for r in records if r.facts["hour"] not in ("", "day")]
    if late:
        report.add_share(f"{name}: hour, of films at dusk or night", (r.is_correct("hour") for r in late))
    for kind in dict.fromkeys(r.kind for r in records):
        for question in ASKED:
            correct = (r.is_correct(question) for r in records if r.kind == kind)
            report.add_share(f"{name}, {kind} captions: {question}", correct)


def _share_where_asked(
    report: Report,
    records: Sequence[Record],
    name: str,
    question: str,
    passes: Callable[[Record], bool],
    minimum: float | None = None,
    what: str = "",
) -> None:
    """A row about the films that have a camera move, a relation ... to show."""
    asked = [r for r in records if r.facts[question]]
    if asked:
        report.add_share(f"{name}: {what or question}, of films with one", map(passes, asked), minimum)


def confusion(records: Sequence[Record], question: str = "motion") -> str:
    """A table of asked (rows) against seen (columns), in clips; only what was asked or seen."""
    names = dict.fromkeys([r.facts[question] for r in records] + [r.seen[question] for r in records])
    columns = sorted(names)
    wide = max(len(n) for n in columns) + 1
    lines = [" " * wide + "".join(f"{n[:7]:>8}" for n in columns)]
    for asked in columns:
        counts = [sum(r.facts[question] == asked and r.seen[question] == seen for r in records) for seen in columns]
        if sum(counts):
            lines.append(f"{asked:<{wide}}" + "".join(f"{count or '.':>8}" for count in counts))
    return "\n".join(lines)


def add_breakdown(report: Report, records: Sequence[Record], question: str, name: str) -> None:
    """A row for each subject, setting or motion that was asked for."""
    for value in sorted({r.facts[question] for r in records}):
        own = [r for r in records if r.facts[question] == value]
        counts = {
            "right": sum(r.is_correct(question) for r in own),
            "read": sum(r.is_named(question) for r in own),
            "whole": sum(r.is_whole for r in own),
            "all": sum(r.all_correct for r in own),
        }
        report.add(f"{name}: {value}", "", ", ".join(f"{what} {n}" for what, n in counts.items()) + f" of {len(own)}")


def add_difference(
    report: Report,
    first: Sequence[Record],
    second: Sequence[Record],
    name: str = "default minus guided",
    minimum: float | None = -0.03,
) -> None:
    """The first scores minus the second on the same captions, with the standard error of the paired difference."""
    other = {(r.world, r.number): r for r in second}
    pairs = [(r, other[r.world, r.number]) for r in first if (r.world, r.number) in other]
    for what in (*ASKED, "all", "whole"):
        differences = [float(_passes(a, what)) - float(_passes(b, what)) for a, b in pairs]
        n, mean = len(differences), sum(differences) / max(1, len(differences))
        error = math.sqrt(sum((d - mean) ** 2 for d in differences) / max(1, n - 1) / max(1, n))
        found = f"{100 * mean:+.1f} points +- {100 * error:.1f} (n {n})"
        target = "" if minimum is None else f">= {100 * minimum:.0f} points"
        report.add(f"{name}: {what}", target, found, None if minimum is None else mean >= minimum)


def _passes(record: Record, what: str) -> bool:
    return (
        {"all": record.all_correct, "whole": record.is_whole}[what]
        if what in ("all", "whole")
        else record.is_correct(what)
    )
