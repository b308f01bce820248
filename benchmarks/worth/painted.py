"""Paints held-out captions, at the defaults and in another way, and asks the judge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from sora.training import judge as judges
from sora.training.telling.facts import facts
from sora.training.worlds.world import WORLDS, draw_film
from verbs.report import Report, note
from worth.easel import ASPECTS, Easel, Way, words
from worth.records import Record

SCORED = 4 * 10**9  # seed of the first film; settings are to be chosen on other films
MIRRORED = {"left": "right", "right": "left"}


def paint(
    easel: Easel, world_name: str, numbers: range, kinds: Sequence[str], way: Way, report: Report
) -> Iterator[Record]:
    """A record of each clip; every kind of caption and every shape in turn."""
    world = WORLDS[world_name]
    for number in numbers:
        film = draw_film(world, SCORED + number, held=True)
        kind = kinds[number // len(ASPECTS) % len(kinds)]
        text, told = words(film, world, kind, number), facts(film)
        started = time.perf_counter()
        clip = easel.paint(text, judges.FRAMES, ASPECTS[number % len(ASPECTS)], number, way)
        took = time.perf_counter() - started
        seen, motion = judges.answer(easel.judge, clip), told["motion"]
        leans = judges.prefers(easel.judge, clip, motion, MIRRORED[motion]) if motion in MIRRORED else None
        record = Record(world_name, str(way), number, kind, text, told, seen, leans, took)
        wrong = {q: f"{told[q]} read as {seen[q]}" for q in ("subject", "setting", "motion") if not record.right(q)}
        asked = ", ".join(told[q] for q in ("subject", "setting", "motion"))
        verdict = "; ".join(wrong.values()) or "right"
        report.show(
            f"painted-{world_name}-{str(way).replace(' ', '-')}", clip, (), f"{number} {kind}: {asked}: {verdict}"
        )
        note(f"{world_name} {number} ({took:.1f} s), {asked}: {verdict}")
        yield record
