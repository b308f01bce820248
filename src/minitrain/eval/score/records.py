"""What the judge said of each painted clip, and the rows of the table that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minitrain.eval.report import Report
from minitrain.judge import WHOLE

ASKED = ("subject", "setting", "motion")


@dataclass(frozen=True)
class Record:
    """One painted clip. facts, seen: the film's value and the judge's answer for each question. leans: of clips to the
    left or right, whether the judge finds the asked one of the two likelier. seconds: to paint."""

    world: str
    way: str
    number: int
    kind: str
    text: str
    facts: dict[str, str]
    seen: dict[str, str]
    leans: bool | None
    seconds: float

    def read(self, question: str) -> bool:
        """Whether the judge names what was asked for, in whatever state it is."""
        return self.seen[question] == self.facts[question]

    @property
    def whole(self) -> bool:
        return self.seen.get("whole", WHOLE) == WHOLE

    def right(self, question: str) -> bool:
        """Whether the clip shows what was asked for: a subject that is not whole is not shown."""
        return self.read(question) and (question != "subject" or self.whole)

    @property
    def all(self) -> bool:
        return all(self.right(q) for q in ASKED)

    @property
    def pair(self) -> bool:
        """Both subjects and the right relation. Of two that are beside one another neither is the first."""
        keys = ("subject", "second")
        told, seen = [self.facts[k] for k in keys], [self.seen[k] for k in keys]
        if self.facts["relation"] == "beside":
            told, seen = sorted(told), sorted(seen)
        return self.right("relation") and told == seen


def scores(report: Report, records: Sequence[Record], name: str) -> None:
    """Every row about painted clips of one world, painted in one way. A subject is right where it is whole as well."""
    wishes = {"subject": 0.95, "setting": 0.95, "motion": 0.9}
    for question, least in wishes.items():
        report.share(f"{name}: {question}", (r.right(question) for r in records), least)
    report.share(f"{name}: all three", (r.all for r in records))
    report.share(f"{name}: subject, whole or not", (r.read("subject") for r in records))
    report.share(f"{name}: whole", (r.whole for r in records))
    sideways = [r for r in records if r.leans is not None]
    report.share(f"{name}: motion, of clips to the left and right", (r.right("motion") for r in sideways))
    report.share(f"{name}: left against right", (bool(r.leans) for r in sideways))
    _where_there_is_one(report, records, name, "camera", lambda r: r.right("camera"), 0.85)
    _where_there_is_one(report, records, name, "relation", lambda r: r.pair, 0.8, "both subjects and their relation")
    for question in ("weather", "event"):
        _where_there_is_one(report, records, name, question, lambda r, q=question: r.right(q))
    late = [r for r in records if r.facts["hour"] not in ("", "day")]
    if late:
        report.share(f"{name}: hour, of films at dusk or night", (r.right("hour") for r in late))
    for kind in dict.fromkeys(r.kind for r in records):
        for question in ASKED:
            held = (r.right(question) for r in records if r.kind == kind)
            report.share(f"{name}, {kind} captions: {question}", held)


def _where_there_is_one(
    report: Report,
    records: Sequence[Record],
    name: str,
    question: str,
    held: Callable[[Record], bool],
    least: float | None = None,
    what: str = "",
) -> None:
    """A row about the films that have a camera's way, a relation ... to tell."""
    asked = [r for r in records if r.facts[question]]
    if asked:
        report.share(f"{name}: {what or question}, of films with one", map(held, asked), least)


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


def by(report: Report, records: Sequence[Record], question: str, name: str) -> None:
    """A row for each subject, setting or motion that was asked for: what its clips show."""
    for value in sorted({r.facts[question] for r in records}):
        own = [r for r in records if r.facts[question] == value]
        counts = {
            "right": sum(r.right(question) for r in own),
            "read": sum(r.read(question) for r in own),
            "whole": sum(r.whole for r in own),
            "all": sum(r.all for r in own),
        }
        report.say(f"{name}: {value}", "", ", ".join(f"{what} {n}" for what, n in counts.items()) + f" of {len(own)}")


def against(
    report: Report,
    ours: Sequence[Record],
    theirs: Sequence[Record],
    name: str = "default less guided",
    least: float | None = -0.03,
) -> None:
    """Our way's scores less the other's on the same captions, with the standard error of the paired difference."""
    other = {(r.world, r.number): r for r in theirs}
    pairs = [(r, other[r.world, r.number]) for r in ours if (r.world, r.number) in other]
    for what in (*ASKED, "all", "whole"):
        apart = [float(_held(a, what)) - float(_held(b, what)) for a, b in pairs]
        n, mean = len(apart), sum(apart) / max(1, len(apart))
        error = math.sqrt(sum((d - mean) ** 2 for d in apart) / max(1, n - 1) / max(1, n))
        found = f"{100 * mean:+.1f} points +- {100 * error:.1f} (n {n})"
        wish = "" if least is None else f">= {100 * least:.0f} points"
        report.say(f"{name}: {what}", wish, found, None if least is None else mean >= least)


def _held(record: Record, what: str) -> bool:
    return {"all": record.all, "whole": record.whole}[what] if what in ("all", "whole") else record.right(what)
