"""Whether a film is the same whichever route it was asked for: 20 jobs from the command line alone, among others with
``--count``, in a batch, paused and gone on with, from Python in both orders, and remade from its own recipe.

Frames are compared as they are decoded from a lossless file. ``--case`` names a route.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

import sora
from faults_parts.part import Row, Settings
from faults_parts.program import Place, digest, frames_digest
from sora import media
from sora.plan import flags
from sora.plan.clip import Clip
from sora.plan.request import Request

JOBS = 20
DIGITS = 64  # of a digest
NOW = {"SORA_JOURNAL_AFTER": "0"}  # seconds from which on a job is kept
PROMPTS = (
    "a red ball bounces in the desert",
    "a teddy spins on a beach",
    "a red balloon floats up over a green meadow",
)

Digests = dict[int, str]
"""Number of a job -> the digest of its frames."""


def requests(folder: Path) -> list[Request]:
    """The jobs: every verb, sampler and kind of option, at small sizes. folder: for the clips that some are made of."""
    frames = np.random.default_rng(3).integers(0, 255, (6, 4, 4, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    clip = str(media.write_clip(folder / "clip.mkv", Clip(frames, 8.0), force=True))
    picture = str(media.write_clip(folder / "picture.png", Clip(frames[:1], 8.0), force=True))
    first, second, third = PROMPTS
    kinds: list[dict[str, object]] = [
        {"verb": "generate", "prompt": first, "frames": 9},
        {"verb": "generate", "prompt": second, "frames": 5, "sampler": "heun"},
        {"verb": "generate", "prompt": third, "frames": 5, "sampler": "unipc", "steps": 5},
        {"verb": "generate", "prompt": first, "frames": 38},
        {"verb": "generate", "prompt": first, "frames": 9, "guidance": 3.0},
        {"verb": "generate", "prompt": second, "frames": 12, "then": (first,), "transition": "flow"},
        {"verb": "generate", "prompt": third, "frames": 5, "camera": "pan-left", "speed": "fast"},
        {"verb": "generate", "prompt": third, "frames": 9, "draft": True},
        {"verb": "generate", "prompt": first, "frames": 5, "negative_prompt": "night"},
        {"verb": "image", "prompt": second},
        {"verb": "image", "prompt": first, "refine": 0.5, "size": "384x384"},
        {"verb": "img2vid", "image": picture, "prompt": first, "frames": 5},
        {"verb": "img2vid", "image": picture, "prompt": second, "last_image": picture, "frames": 9},
        {"verb": "extend", "clip": clip, "prompt": first, "frames": 5},
        {"verb": "extend", "clip": clip, "prompt": second, "frames": 5, "backward": True},
        {"verb": "loop", "prompt": first, "frames": 16},
        {"verb": "loop", "clip": clip, "prompt": first, "frames": 8},
        {"verb": "bridge", "clip": clip, "clip_b": clip, "prompt": first, "frames": 5},
        {"verb": "edit", "clip": clip, "prompt": second, "method": "noise", "strength": 0.6},
        {"verb": "edit", "clip": clip, "prompt": second, "region": "0,0,32,32"},
    ]
    usual: dict[str, object] = {"steps": 3, "threads": 1}
    jobs = []
    for number, kind in enumerate(kinds):
        size = {"size": "64x64"} if "clip" not in kind and "image" not in kind else {}
        jobs.append(Request(**{**usual, **size, **kind, "seed": 100 + number}))  # type: ignore[arg-type]
    return jobs


def suffix(request: Request) -> str:
    """Of a lossless file."""
    return ".png" if request.verb == "image" else ".mkv"


class Routes:
    """Every route to ask for the jobs. Each returns the digests of those that can be asked for so."""

    def __init__(self, folder: Path, jobs: list[Request]) -> None:
        self.folder, self.jobs = folder, jobs
        self.known, self.mp4 = Digests(), Digests()
        self.all: dict[str, Callable[[], Digests]] = {
            "alone": self.alone,
            "alone again, in other order": lambda: self.alone(backward=True),
            "with --count": self.count,
            "from Python": self.python,
            "in a batch": self.batch,
            "paused and gone on with": self.resumed,
            "from Python, in other order": lambda: self.python(backward=True),
            "remade from its recipe": self.remade,
        }

    def order(self, backward: bool) -> list[tuple[int, Request]]:
        numbered = list(enumerate(self.jobs))
        return numbered[::-1] if backward else numbered

    def alone(self, backward: bool = False) -> Digests:
        """A process for each; the second time with as many threads as there are cores."""
        place, found = Place(self.folder / f"alone-{int(backward)}"), Digests()
        for number, job in self.order(backward):
            asked = msgspec.structs.replace(job, threads=None) if backward else job
            name = f"{number}{suffix(job)}"
            found[number] = _made(place, (*flags.spelled(asked), "-o", name), name)
        return found

    def count(self) -> Digests:
        """As the second of two, whose first has the seed before."""
        place, found = Place(self.folder / "count"), Digests()
        for number, job in self.order(backward=False):
            before = msgspec.structs.replace(job, seed=(job.seed or 0) - 1)
            argv = (*flags.spelled(before), "--count", "2", "-o", f"{number}{suffix(job)}")
            found[number] = _made(place, argv, f"{number}-2{suffix(job)}")
        return found

    def batch(self) -> Digests:
        """All films of words as lines of one file, and all pictures. A batch makes .mp4, which loses a little: a film
        is the same where it equals the .mp4 of the film from Python."""
        found = Digests()
        for verb in ("generate", "image"):
            place = Place(self.folder / f"batch-{verb}")
            numbers = [number for number, job in enumerate(self.jobs) if job.verb == verb]
            (place.out / "prompts.txt").write_text("".join(map(self._line, numbers)))
            _, text = place.run((verb, "-f", "prompts.txt", "-o", "films/", "--json"), more=NOW)
            lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            for number, line in zip(numbers, lines, strict=True):
                made = digest(place.out / line["path"]) if "path" in line else str(line)
                if verb == "image":
                    found[number] = made
                else:
                    found[number] = self.known[number] if made == self.mp4[number] else f"another .mp4: {made}"
        return found

    def _line(self, number: int) -> str:
        """A job as a line of a prompt file."""
        job = self.jobs[number]
        return f"{job.prompt} {shlex.join(flags.spelled(msgspec.structs.replace(job, prompt=None))[1:])}\n"

    def resumed(self) -> Digests:
        """Paused after its second step, then gone on with."""
        place, found = Place(self.folder / "resumed"), Digests()
        for number, job in self.order(backward=False):
            name = f"{number}{suffix(job)}"
            place.run((*flags.spelled(job), "--stop-after", "2", "-o", name), more=NOW)
            paused = not (place.out / name).exists()
            found[number] = _made(place, ("resume",), name) if paused else "finished in spite of --stop-after"
        return found

    def python(self, backward: bool = False) -> Digests:
        """All in one session."""
        session, found = sora.Session(), Digests()
        for number, job in self.order(backward):
            (video,) = session.paint_all(job)
            found[number] = frames_digest(video.frames)
            if job.verb == "generate" and number not in self.mp4:
                self.mp4[number] = digest(video.save(self.folder / f"{number}.mp4"))
        return found

    def remade(self) -> Digests:
        """In Python, from the files that were made alone."""
        session, folder = sora.Session(), self.folder / "alone-0" / "out"
        inputs = (self.folder / "clip.mkv", self.folder / "picture.png")  # recipes hold their names and digests
        return {
            number: frames_digest(session.remake(folder / f"{number}{suffix(job)}", inputs=inputs).frames)
            for number, job in self.order(backward=True)
        }


def _made(place: Place, argv: tuple[str, ...], name: str) -> str:
    """The digest of what a command makes, or what went wrong."""
    status, text = place.run(argv, more=NOW)
    path = place.out / name
    return digest(path) if status == 0 and path.exists() else f"status {status}: {text[-200:]}"


def measure(settings: Settings) -> Iterator[Row]:
    """Each route in turn, against the first."""
    jobs = requests(settings.folder)
    routes, began = Routes(settings.folder, jobs), time.monotonic()
    routes.known = routes.all.pop("alone")()
    whole = [number for number, value in routes.known.items() if len(value) == DIGITS]
    yield Row(
        "jobs that are painted alone", f"{JOBS}", f"{len(whole)} {_others(routes.known, whole)}", len(whole) == JOBS
    )
    for name, route in routes.all.items():
        if time.monotonic() - began > settings.seconds or not (settings.wants(name) or name == "from Python"):
            continue
        found = route()
        same = [number for number, value in found.items() if value == routes.known[number]]
        settings.log("same", {"route": name, "found": found})
        shown = f"{len(same)} of {len(found)} {_others(found, same)}"
        yield Row(f"frames are those of the job alone: {name}", "all", shown, len(same) == len(found) > 0)


def _others(found: Digests, good: list[int]) -> str:
    """The first few jobs that are not good."""
    return "; ".join(f"job {number}: {value}" for number, value in found.items() if number not in good)[:250]
