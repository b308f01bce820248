"""Long clips: a minute must not drift, forget its subject or fill the memory; shots must share their subject."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace

from minitrain import video_metrics
from minitrain.eval.report import Report
from minitrain.eval.verbs import cases
from minitrain.eval.verbs.eval_model import JUDGED_FRAMES, EvalModel, answer_is_right, run_python
from minitrain.eval.verdicts import log_progress
from minitrain.scene import Film
from sora.plan import operations, shot_spans

LONG_FRAMES, SHORT_FRAMES = 480, 32  # frames
MAX_MEMORY_RATIO, MAX_COLOUR_DRIFT = 1.15, 6.0  # times, grey levels
SHOT_COUNT = 3


def minute(evaluator: EvalModel, report: Report, count: int) -> None:
    """Clips of 60 s from held-out captions: what the judge sees at the end, and the colours there."""
    seen, settings, drifts, seconds = [], [], [], []
    for n in range(count):
        film_script, text = cases.held_out_film(700 + n)
        log_progress(f"minute {n + 1} of {count}: {text}")
        plan = operations.generate((text,), frames=LONG_FRAMES, format=evaluator.form(cases.training_size(n)))
        started = time.perf_counter()
        film = evaluator.paint(plan, n).frames_FYXC
        seconds.append(time.perf_counter() - started)
        answers = evaluator.judge_clip(film[-JUDGED_FRAMES:])
        seen.append(answer_is_right(answers, film_script))
        settings.append(answer_is_right(answers, film_script, "setting"))
        drifts.append(video_metrics.colour_drift(film[plan.windows[-1].kept.start :], film[:JUDGED_FRAMES]))
        report.add_strip(
            "minute",
            film,
            range(LONG_FRAMES),
            f"{text}; last 2 s: {answers['subject']}, {answers['setting']}; colour {drifts[-1]:.1f}",
        )
    report.add_share("minute: subject seen in the last 2 s", seen, 0.8)
    report.add_share("minute: setting seen in the last 2 s", settings)
    report.add(
        f"minute: mean colour, last window against first, in all {count}",
        f"<= {MAX_COLOUR_DRIFT:g}",
        ", ".join(f"{d:.1f}" for d in drifts),
        max(drifts) <= MAX_COLOUR_DRIFT,
    )
    report.add_range("minute: to paint, warm", seconds, " s")


def memory(_: EvalModel, report: Report, __: int) -> None:
    """One clip of 4 s and one of 60 s, each in a process of its own, written to an mp4 as they are generated."""
    usage = {}
    text = cases.held_out_film(700)[1]
    with tempfile.TemporaryDirectory() as folder:
        for frames in (SHORT_FRAMES, LONG_FRAMES):
            log_progress(f"memory: {frames} frames")
            done = run_python("-m", "minitrain.eval.verbs.film_memory", text, str(frames), f"{folder}/{frames}.mp4")[1]
            if done.returncode:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
            usage[frames] = json.loads(done.stdout)
    for what, key in (("resident memory at the end", "resident_mib"), ("most resident memory", "peak_mib")):
        short, long = usage[SHORT_FRAMES][key], usage[LONG_FRAMES][key]
        found = f"{long:.0f} over {short:.0f} MiB = {long / short:.3f}"
        report.add(f"{what}, 60 s over 4 s", f"<= {MAX_MEMORY_RATIO}", found, long / short <= MAX_MEMORY_RATIO)
    report.add("60 s of film, loaded model to finished mp4", "", f"{usage[LONG_FRAMES]['seconds']:.0f} s")


def shots(evaluator: EvalModel, report: Report, count: int) -> None:
    """Three shots of one subject in different settings and motions, one seed."""
    for transition in ("cut", "flow"):
        every, same, settings, total = [], [], [], 0
        for n in range(count):
            log_progress(f"shots, {transition}: {n + 1} of {count}")
            scripts, texts = _films_of_one_subject(800 + SHOT_COUNT * n)
            between = shot_spans.TRANSITION_FRAMES if transition == "flow" else 0
            frames = SHOT_COUNT * JUDGED_FRAMES + (SHOT_COUNT - 1) * between
            plan = operations.generate(
                texts, frames=frames, format=evaluator.form(cases.training_size(n)), transition=transition
            )
            film = evaluator.paint(plan, n).frames_FYXC
            starts = [i * (JUDGED_FRAMES + between) for i in range(SHOT_COUNT)]
            answers = [evaluator.judge_clip(film[start : start + JUDGED_FRAMES]) for start in starts]
            hits = [answer_is_right(t, s) for t, s in zip(answers, scripts, strict=True)]
            every.append(all(hits))
            total += sum(hits)
            same.append(len({t["subject"] for t in answers}) == 1)
            settings.append(all(answer_is_right(t, s, "setting") for t, s in zip(answers, scripts, strict=True)))
            report.add_strip(f"shots-{transition}", film, range(frames), " | ".join(texts))
        report.add_share(f"shots, {transition}: subject asked for seen in all {SHOT_COUNT}", every)
        report.add(f"shots, {transition}: subject seen, of all shots", "", f"{total} of {SHOT_COUNT * count}")
        report.add_share(f"shots, {transition}: one and the same subject seen in all", same)
        report.add_share(f"shots, {transition}: setting asked for seen in all", settings)


def _films_of_one_subject(number: int) -> tuple[list[Film], list[str]]:
    """Films of the first one's subject, in the settings and motions of SHOTS held-out films."""
    drawn = [cases.held_out_film(number + i)[0].shots[0] for i in range(SHOT_COUNT)]
    subject = drawn[0].actors[0].subject
    films = [Film((replace(shot, actors=(replace(shot.actors[0], subject=subject),)),)) for shot in drawn]
    return films, [cases.plain_caption(film, number + i) for i, film in enumerate(films)]
