"""How well the seconds of paintings are predicted, on the machine where this runs.

    python benchmarks/forecast.py [--rounds N] [--only NAME] [--cpu]

The embedded model paints clips of several lengths, sizes and commands, by turns, in one process. Before anything is
recorded they are predicted from the rates of the device; then after one default clip was painted; then after all were
but those marked "fresh", by which no rate was chosen. A Markdown table of seconds without the loading, which a last row
measures in a process of its own. Medians of the rounds. The records are in a folder of their own. ``--cpu`` takes the
seconds that one thread of this process computes in place of those that pass, for a machine on which other programs run:
predictions are of an idle one. The encoder of films, a process of its own, is then not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from sora import media
from sora.jobs import forecast
from sora.jobs import session as sessions
from sora.jobs.delivery import Delivery
from sora.jobs.phase_clock import PhaseClock
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.jobs.session import Session
from sora.plan.request import Request

PROMPT = "a red balloon floats up over a green meadow"
Clock = Callable[[], float]
FIRST, FRESH = "17 frames", "fresh: "
WITHIN_AFTER, WITHIN_RATES = 1.25, 2.0


def cases(clip: str, picture: str) -> dict[str, Mapping[str, Any]]:
    """The fields of a request by the name of what is painted."""
    words = {"verb": "generate", "prompt": PROMPT}
    return {
        FIRST: words,
        "5 frames": words | {"frames": 5},
        "33 frames": words | {"frames": 33},
        "100 frames, four windows": words | {"frames": 100},
        "a draft": words | {"draft": True},
        "16:9": words | {"aspect": "16:9"},
        "1024x1024": words | {"size": "1024x1024"},
        "24 fps": words | {"fps": 24.0},
        "12 guided steps": words | {"guidance": 4.0, "steps": 12},
        "30 guided steps, fast": words | {"guidance": 4.0, "steps": 30, "speed": "fast"},
        "two shots": words | {"then": ("a red car drives to the left through the city",)},
        "a picture": words | {"verb": "image"},
        "a picture, refined": words | {"verb": "image", "size": "512x512", "refine": 0.4},
        "img2vid": {"verb": "img2vid", "image": picture, "prompt": PROMPT},
        "extend": {"verb": "extend", "clip": clip, "prompt": PROMPT, "frames": 16},
        "loop": {"verb": "loop", "clip": clip},
        "a circle": {"verb": "loop", "prompt": PROMPT},
        "bridge": {"verb": "bridge", "clip": clip, "clip_b": clip, "frames": 12},
        "edit": {"verb": "edit", "clip": clip, "prompt": "a blue balloon floats up over a green meadow"},
        "edit of a region": {"verb": "edit", "clip": clip, "prompt": PROMPT, "region": "0,0,128,128"},
    }


def fresh_cases(clip: str, picture: str) -> dict[str, Mapping[str, Any]]:
    """The same of films that are predicted and never recorded."""
    words = {"verb": "generate", "prompt": PROMPT}
    return {
        "13 frames": words | {"frames": 13},
        "77 frames": words | {"frames": 77},
        "4:5, 21 frames": words | {"aspect": "4:5", "frames": 21},
        "640x480": words | {"size": "640x480"},
        "1280x720, 9 frames": words | {"size": "1280x720", "frames": 9},
        "5 steps of heun": words | {"sampler": "heun", "steps": 5},
        "20 guided steps, 13 frames": words | {"guidance": 4.0, "steps": 20, "frames": 13},
        "img2vid, two pictures": {"verb": "img2vid", "image": picture, "last_image": picture, "prompt": PROMPT},
        "extend by 22": {"verb": "extend", "clip": clip, "prompt": PROMPT, "frames": 22},
        "extend backward": {"verb": "extend", "clip": clip, "prompt": PROMPT, "frames": 16, "backward": True},
        "edit of little strength": {"verb": "edit", "clip": clip, "prompt": PROMPT, "strength": 0.3},
        "16 fps, 29 frames": words | {"fps": 16.0, "frames": 29},
        "a draft, 25 frames": words | {"draft": True, "frames": 25},
        "three shots, 27 frames": words | {"then": ("a red apple floats up in space", "a fox moves"), "frames": 27},
    }


def resolved_cases(folder: Path, only: str) -> dict[str, ResolvedRequest]:
    clip, picture = folder / "clip.mp4", folder / "picture.png"
    draw = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    with media.writer(str(clip), 8.0, (256, 256), "", True) as file:
        for shift in range(24):
            file.write(np.roll(draw, 4 * shift, axis=1)[None])
    Image.fromarray(draw).save(picture)
    found: dict[str, ResolvedRequest] = {}
    fresh = {f"{FRESH}{name}": values for name, values in fresh_cases(str(clip), str(picture)).items()}
    for name, values in (cases(str(clip), str(picture)) | fresh).items():
        if only in name or name == FIRST:
            found[name] = resolve(Request(**values, seed=1), Delivery(output=str(folder / "made.mp4"), anyway=True))
    return found


def predicted(case: ResolvedRequest) -> dict[str, float]:
    """Seconds by phase, without the loading."""
    found = forecast.of(case, None)
    assert found is not None
    return {name: each for name, each in found.seconds.items() if name not in ("load", "compile")}


def painted(session: Session, case: ResolvedRequest, path: Path, now: Clock, *, records: bool = True) -> float:
    """Seconds of one film, by a clock. records: whether they are kept for the predictions."""
    session.prepare(case)
    suffix = ".png" if case.request.verb == "image" else ".mp4"
    began = now()
    target, options = str(path.with_suffix(suffix)), dict[str, Any](force=True, records=records)
    session.write(case, case.variants[0], target, on_progress=lambda _: None, **options)
    return now() - began


def cold(folder: Path) -> tuple[float, float]:
    """(seconds of loading in a process of its own, those that it had predicted)."""
    command = [sys.executable, "-m", "sora", "generate", PROMPT, "--json", "--quiet"]
    before = json.loads(subprocess.run([*command, "--dry-run"], check=True, capture_output=True).stdout)["seconds"]
    target = ["--force", "-o", str(folder / "cold.mp4")]
    after = json.loads(subprocess.run([*command, *target], check=True, capture_output=True).stdout)["seconds"]
    return after["load"], before["load"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="Cases whose names hold this.")
    parser.add_argument("--cpu", action="store_true", help="Seconds that this process computes, with one thread.")
    options = parser.parse_args()
    if options.cpu:
        torch.set_num_threads(1)
        sessions.PhaseClock = partial(PhaseClock, time.process_time)  # type: ignore[misc, assignment]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["SORA_STATE"] = str(folder / "state")
        table(folder, options.rounds, options.only, time.process_time if options.cpu else time.perf_counter)


def table(folder: Path, rounds: int, only: str, now: Clock) -> None:
    found, session, path = resolved_cases(folder, only), Session(), folder / "made.mp4"
    for case in found.values():  # what a first run alone pays for
        painted(session, case, path, now, records=False)
    by_rates = {name: predicted(case) for name, case in found.items()}
    painted(session, found[FIRST], path, now)
    after_one = {name: sum(predicted(case).values()) for name, case in found.items()}
    real: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds):
        for name, case in list(found.items()) if number % 2 == 0 else list(found.items())[::-1]:
            real[name].append(painted(session, case, path, now, records=not name.startswith(FRESH)))
    after_all = {name: sum(predicted(case).values()) for name, case in found.items()}
    print(f"| film | took s | spread | rates | after one | after all |\n|{' --- |' * 6}")
    misses: dict[str, tuple[float, ...]] = {}
    for name, seconds in real.items():
        took = statistics.median(seconds)
        ratios = tuple(
            each[name] / took for each in ({n: sum(p.values()) for n, p in by_rates.items()}, after_one, after_all)
        )
        misses[name] = tuple(max(r, 1 / r) for r in ratios)
        spread = (max(seconds) - min(seconds)) / took
        print(f"| {name} | {took:.2f} | {spread:.0%} | {' | '.join(f'{r:.2f}' for r in ratios)} |")
    took, expected = cold(folder)
    print(f"| loading, cold | {took:.2f} | | {expected / took:.2f} | | |")
    for kind in ("", FRESH):
        print_misses(kind, [each for name, each in misses.items() if name.startswith(FRESH) == bool(kind)])


def print_misses(kind: str, misses: list[tuple[float, ...]]) -> None:
    """How many predictions came close, and how far the worst was. misses: of each film from the rates, after one, and
    after all, as factors from 1."""
    titles = ("rates", WITHIN_RATES), ("after one", WITHIN_AFTER), ("after all", WITHIN_AFTER)
    for place, (title, limit) in enumerate(titles if misses else ()):
        met, worst = sum(each[place] <= limit for each in misses), max(each[place] for each in misses)
        print(f"{kind}{title}: {met} of {len(misses)} within {limit:g} times, the worst {worst:.2f}")


if __name__ == "__main__":
    main()
