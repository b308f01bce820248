"""Paints held-out captions, at the defaults and in another way, and asks the judge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from minitrain import judge as judges
from minitrain.captions.facts import facts
from minitrain.eval.report import Report
from minitrain.eval.score.generator import ASPECTS, Easel, Way, words
from minitrain.eval.score.records import ASKED, Record
from minitrain.eval.verdicts import note
from minitrain.judge import Judge
from minitrain.worlds.world import WORLDS, draw_film

SCORED = 4 * 10**9  # seed of the first film; settings are to be chosen on other films
MIRRORED = {"left": "right", "right": "left"}


def answered(judge: Judge, clip_FYXC: np.ndarray, motion: str) -> tuple[dict[str, str], bool | None]:
    """The judge's answers, and which way it leans where a clip to the left or right was asked for."""
    other = MIRRORED.get(motion)
    leans = judges.prefers(judge, clip_FYXC, motion, other) if other else None
    return judges.answer(judge, clip_FYXC), leans


def in_words(record: Record) -> str:
    """What is wrong with the clip."""
    wrong = [f"{record.facts[q]} read as {record.seen[q]}" for q in ASKED if not record.read(q)]
    return "; ".join(wrong + ([] if record.whole else ["not whole"])) or "right"


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
        seen, leans = answered(easel.judge, clip, told["motion"])
        record = Record(world_name, str(way), number, kind, text, told, seen, leans, took)
        asked, verdict = ", ".join(told[q] for q in ASKED), in_words(record)
        report.show(
            f"painted-{world_name}-{str(way).replace(' ', '-')}", clip, (), f"{number} {kind}: {asked}: {verdict}"
        )
        note(f"{world_name} {number} ({took:.1f} s), {asked}: {verdict}")
        yield record
