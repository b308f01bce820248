"""Drafts and their finish: the same composition, in a fraction of the time."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from minitrain.eval.report import Report
from minitrain.eval.verbs import cases
from minitrain.eval.verbs.eval_model import EvalModel, answer_is_right, run_sora
from minitrain.eval.verdicts import log_progress
from sora.jobs.replay import FINISH_STRENGTH
from sora.plan import operations

QUESTIONS = ("subject", "setting", "motion")
MAX_TIME_RATIO = {"warm": 1 / 2, "cold processes": None}  # of the full clip's; a cold process mostly imports and loads
SEED = "1"


def finish(evaluator: EvalModel, report: Report, count: int) -> None:
    """Whether a finished clip has the judge's answers of its draft."""
    agreement, correct = [], {"draft": [], "finish": []}
    for n in range(count):
        log_progress(f"finish {n + 1} of {count}")
        (film, text), size = cases.held_out_film(900 + n), cases.training_size(n)
        draft_plan = operations.generate((text,), frames=cases.FRAMES, format=evaluator.form(size, draft=True))
        draft = evaluator.paint(draft_plan, n, draft=True)
        done = evaluator.paint(operations.edit(draft, text, format=evaluator.form(size), strength=FINISH_STRENGTH), n)
        seen_by_version = {
            "draft": evaluator.judge_clip(draft.frames_FYXC),
            "finish": evaluator.judge_clip(done.frames_FYXC),
        }
        agreement.append([seen_by_version["draft"][q] == seen_by_version["finish"][q] for q in QUESTIONS])
        for which, seen in seen_by_version.items():
            correct[which].append(all(answer_is_right(seen, film, q) for q in QUESTIONS))
            clip = draft if which == "draft" else done
            words = f"{which}: {text}; {', '.join(seen.values())}"
            report.add_strip("finish", clip.frames_FYXC, range(len(clip)), words)
    report.add_share(
        f"finish at {FINISH_STRENGTH:g}: subject, setting and motion as in the draft", map(all, agreement), 0.85
    )
    for i, question in enumerate(QUESTIONS):
        report.add_share(f"finish: {question} as in the draft", (row[i] for row in agreement))
    for which, correct_of_version in correct.items():
        report.add_share(f"{which}: subject, setting and motion as asked", correct_of_version)


def times(evaluator: EvalModel, report: Report, count: int) -> None:
    """The time of a draft relative to the full clip, in a warm process and in cold ones. Nothing else should run
    meanwhile."""
    text, size = cases.held_out_film(900)[1], (128, 128)
    warm: dict[bool, list[float]] = {True: [], False: []}
    for n in range(count + 1):
        for draft in warm:
            plan = operations.generate((text,), frames=cases.FRAMES, format=evaluator.form(size, draft=draft))
            started = time.perf_counter()
            evaluator.paint(plan, n, draft=draft)
            warm[draft] += [time.perf_counter() - started] * (n > 0)  # the first of each warms up
    _add_time_ratio(report, "warm", warm)
    cold: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(count):
            for draft in cold:
                flags = ["--draft"] if draft else []
                argv = ("generate", text, "--seed", SEED, "-o", f"{n}-{draft}.mp4", *flags)
                seconds, done = run_sora(Path(folder), *argv)
                if done.returncode:
                    report.add("draft over full clip, cold processes", "", done.stderr.strip().splitlines()[-1])
                    return
                cold[draft].append(seconds)
    _add_time_ratio(report, "cold processes", cold)


def _add_time_ratio(report: Report, condition: str, seconds: dict[bool, list[float]]) -> None:
    draft, full = (statistics.median(seconds[which]) for which in (True, False))
    found, maximum = f"{draft:.2f} s over {full:.2f} s = {draft / full:.2f}", MAX_TIME_RATIO[condition]
    target = "" if maximum is None else f"<= {maximum:.2f}"
    report.add(
        f"draft over full clip, {condition}", target, found, None if maximum is None else draft / full <= maximum
    )
