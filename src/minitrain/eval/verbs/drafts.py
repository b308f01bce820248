"""Drafts and their finish: the same composition, in a fraction of the time."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from minitrain.eval.report import Report
from minitrain.eval.verbs import cases
from minitrain.eval.verbs.eval_model import Studio, right, sora
from minitrain.eval.verdicts import note
from sora.jobs.replay import FINISHING
from sora.plan import operations

QUESTIONS = ("subject", "setting", "motion")
MOST_TIME = {"warm": 1 / 2, "cold processes": None}  # of the full clip's; a cold process mostly imports and loads
SEED = "1"


def finish(studio: Studio, report: Report, count: int) -> None:
    """The judge on drafts and on what became of them, against itself."""
    agrees, asked = [], {"draft": [], "finish": []}
    for n in range(count):
        note(f"finish {n + 1} of {count}")
        (wish, text), size = cases.film_of(900 + n), cases.size_of(n)
        sketch = operations.generate((text,), frames=cases.FRAMES, form=studio.form(size, draft=True))
        draft = studio.paint(sketch, n, draft=True)
        done = studio.paint(operations.edit(draft, text, form=studio.form(size), strength=FINISHING), n)
        told = {"draft": studio.sees(draft.frames_FYXC), "finish": studio.sees(done.frames_FYXC)}
        agrees.append([told["draft"][q] == told["finish"][q] for q in QUESTIONS])
        for which, seen in told.items():
            asked[which].append(all(right(seen, wish, q) for q in QUESTIONS))
            film = draft if which == "draft" else done
            words = f"{which}: {text}; {', '.join(seen.values())}"
            report.show("finish", film.frames_FYXC, range(len(film)), words)
    report.share(f"finish at {FINISHING:g}: subject, setting and motion as in the draft", map(all, agrees), 0.85)
    for i, question in enumerate(QUESTIONS):
        report.share(f"finish: {question} as in the draft", (row[i] for row in agrees))
    for which, held in asked.items():
        report.share(f"{which}: subject, setting and motion as asked", held)


def times(studio: Studio, report: Report, count: int) -> None:
    """A draft against the full clip: warm, and as cold processes. Nothing else should run meanwhile."""
    text, size = cases.film_of(900)[1], (128, 128)
    warm: dict[bool, list[float]] = {True: [], False: []}
    for n in range(count + 1):
        for draft in warm:
            plan = operations.generate((text,), frames=cases.FRAMES, form=studio.form(size, draft=draft))
            started = time.perf_counter()
            studio.paint(plan, n, draft=draft)
            warm[draft] += [time.perf_counter() - started] * (n > 0)  # the first of each warms up
    _say(report, "warm", warm)
    cold: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(count):
            for draft in cold:
                flags = ["--draft"] if draft else []
                argv = ("generate", text, "--seed", SEED, "-o", f"{n}-{draft}.mp4", *flags)
                seconds, done = sora(Path(folder), *argv)
                if done.returncode:
                    report.say("draft over full clip, cold processes", "", done.stderr.strip().splitlines()[-1])
                    return
                cold[draft].append(seconds)
    _say(report, "cold processes", cold)


def _say(report: Report, how: str, took: dict[bool, list[float]]) -> None:
    draft, full = (statistics.median(took[which]) for which in (True, False))
    found, most = f"{draft:.2f} s over {full:.2f} s = {draft / full:.2f}", MOST_TIME[how]
    wish = "" if most is None else f"<= {most:.2f}"
    report.say(f"draft over full clip, {how}", wish, found, None if most is None else draft / full <= most)
