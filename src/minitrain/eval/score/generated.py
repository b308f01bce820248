"""Generates held-out captions, with the defaults or other options, and judges the clips."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from minitrain import judge as judges
from minitrain.captions.facts import facts
from minitrain.eval.report import Report
from minitrain.eval.score.generator import ASPECTS, ClipGenerator, SamplingOptions, full_caption
from minitrain.eval.score.records import ASKED, Record
from minitrain.eval.verdicts import log_progress
from minitrain.judge import Judge
from minitrain.worlds.world import WORLDS, draw_film

FIRST_SEED = 4 * 10**9  # seed of the first film; settings are to be chosen on other films
MIRRORED = {"left": "right", "right": "left"}


def judge_clip(judge: Judge, clip_FYXC: np.ndarray, motion: str) -> tuple[dict[str, str], bool | None]:
    """The judge's answers, and whether it prefers the expected direction if a motion to the left or right was asked
    for."""
    other = MIRRORED.get(motion)
    prefers_expected = judges.prefers(judge, clip_FYXC, motion, other) if other else None
    return judges.answer(judge, clip_FYXC), prefers_expected


def describe_errors(record: Record) -> str:
    """What is wrong with the clip."""
    wrong = [f"{record.facts[q]} read as {record.seen[q]}" for q in ASKED if not record.is_named(q)]
    return "; ".join(wrong + ([] if record.is_whole else ["not whole"])) or "right"


def generate_and_judge(
    generator: ClipGenerator,
    world_name: str,
    numbers: range,
    kinds: Sequence[str],
    sampling: SamplingOptions,
    report: Report,
) -> Iterator[Record]:
    """A record of each clip; every kind of caption and every shape in turn."""
    world = WORLDS[world_name]
    for number in numbers:
        film = draw_film(world, FIRST_SEED + number, held_out=True)
        kind = kinds[number // len(ASPECTS) % len(kinds)]
        text, expected = full_caption(film, world, kind, number), facts(film)
        started = time.perf_counter()
        clip = generator.generate(text, judges.FRAMES, ASPECTS[number % len(ASPECTS)], number, sampling)
        seconds = time.perf_counter() - started
        seen, leans = judge_clip(generator.judge, clip, expected["motion"])
        record = Record(world_name, str(sampling), number, kind, text, expected, seen, leans, seconds)
        asked, verdict = ", ".join(expected[q] for q in ASKED), describe_errors(record)
        report.add_strip(
            f"painted-{world_name}-{str(sampling).replace(' ', '-')}", clip, (), f"{number} {kind}: {asked}: {verdict}"
        )
        log_progress(f"{world_name} {number} ({seconds:.1f} s), {asked}: {verdict}")
        yield record
