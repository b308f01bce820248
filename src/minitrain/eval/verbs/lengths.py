"""Long films: a minute must not drift, forget its subject or fill the memory; shots must share their subject."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace

from minitrain import video_metrics
from minitrain.eval.report import Report
from minitrain.eval.verbs import cases
from minitrain.eval.verbs.eval_model import LOOKED_AT, Studio, process, right
from minitrain.eval.verdicts import note
from minitrain.scene import Film
from sora.plan import operations

MINUTE, SHORT = 480, 32  # frames
MOST_MEMORY, MOST_DRIFT = 1.15, 6.0  # times, grey levels
SHOTS = 3


def minute(studio: Studio, report: Report, count: int) -> None:
    """Films of 60 s from held-out captions: what is seen at the end, and the colours there."""
    seen, settings, drifts, took = [], [], [], []
    for n in range(count):
        wish, text = cases.film_of(700 + n)
        note(f"minute {n + 1} of {count}: {text}")
        plan = operations.generate((text,), frames=MINUTE, form=studio.form(cases.size_of(n)))
        started = time.perf_counter()
        film = studio.paint(plan, n).frames_FYXC
        took.append(time.perf_counter() - started)
        told = studio.sees(film[-LOOKED_AT:])
        seen.append(right(told, wish))
        settings.append(right(told, wish, "setting"))
        drifts.append(video_metrics.colour_drift(film[plan.windows[-1].keep.start :], film[:LOOKED_AT]))
        report.show(
            "minute",
            film,
            range(MINUTE),
            f"{text}; last 2 s: {told['subject']}, {told['setting']}; colour {drifts[-1]:.1f}",
        )
    report.share("minute: subject seen in the last 2 s", seen, 0.8)
    report.share("minute: setting seen in the last 2 s", settings)
    report.say(
        f"minute: mean colour, last window against first, in all {count}",
        f"<= {MOST_DRIFT:g}",
        ", ".join(f"{d:.1f}" for d in drifts),
        max(drifts) <= MOST_DRIFT,
    )
    report.spread("minute: to paint, warm", took, " s")


def memory(_: Studio, report: Report, __: int) -> None:
    """One film of 4 s and one of 60 s, each in a process of its own, written to an mp4 as they are painted."""
    held = {}
    text = cases.film_of(700)[1]
    with tempfile.TemporaryDirectory() as folder:
        for frames in (SHORT, MINUTE):
            note(f"memory: {frames} frames")
            done = process("-m", "minitrain.eval.verbs.film_memory", text, str(frames), f"{folder}/{frames}.mp4")[1]
            if done.returncode:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
            held[frames] = json.loads(done.stdout)
    for what, key in (("resident memory at the end", "resident_mib"), ("most resident memory", "peak_mib")):
        short, long = held[SHORT][key], held[MINUTE][key]
        found = f"{long:.0f} over {short:.0f} MiB = {long / short:.3f}"
        report.say(f"{what}, 60 s over 4 s", f"<= {MOST_MEMORY}", found, long / short <= MOST_MEMORY)
    report.say("60 s of film, loaded model to finished mp4", "", f"{held[MINUTE]['seconds']:.0f} s")


def shots(studio: Studio, report: Report, count: int) -> None:
    """Three shots of one subject in settings and motions of their own, one seed."""
    for transition in ("cut", "flow"):
        every, same, settings, total = [], [], [], 0
        for n in range(count):
            note(f"shots, {transition}: {n + 1} of {count}")
            wishes, texts = _story(800 + SHOTS * n)
            between = operations.TRANSITION_FRAMES if transition == "flow" else 0
            frames = SHOTS * LOOKED_AT + (SHOTS - 1) * between
            plan = operations.generate(texts, frames=frames, form=studio.form(cases.size_of(n)), transition=transition)
            film = studio.paint(plan, n).frames_FYXC
            starts = [i * (LOOKED_AT + between) for i in range(SHOTS)]
            told = [studio.sees(film[start : start + LOOKED_AT]) for start in starts]
            hits = [right(t, s) for t, s in zip(told, wishes, strict=True)]
            every.append(all(hits))
            total += sum(hits)
            same.append(len({t["subject"] for t in told}) == 1)
            settings.append(all(right(t, s, "setting") for t, s in zip(told, wishes, strict=True)))
            report.show(f"shots-{transition}", film, range(frames), " | ".join(texts))
        report.share(f"shots, {transition}: subject asked for seen in all {SHOTS}", every)
        report.say(f"shots, {transition}: subject seen, of all shots", "", f"{total} of {SHOTS * count}")
        report.share(f"shots, {transition}: one and the same subject seen in all", same)
        report.share(f"shots, {transition}: setting asked for seen in all", settings)


def _story(number: int) -> tuple[list[Film], list[str]]:
    """Films of the first one's subject, in the settings and motions of SHOTS held-out films."""
    drawn = [cases.film_of(number + i)[0].shots[0] for i in range(SHOTS)]
    subject = drawn[0].actors[0].subject
    films = [Film((replace(shot, actors=(replace(shot.actors[0], subject=subject),)),)) for shot in drawn]
    return films, [cases.told(film, number + i) for i, film in enumerate(films)]
