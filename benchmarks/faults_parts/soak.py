"""Whether hours of mixed jobs in one process leave memory, handles, threads, processes or files behind.

The first round does every kind of job once, in order, so that all that is imported and kept on purpose is there; after
it, kinds, sizes, lengths and seeds are drawn at random. Memory is what is resident after the garbage collector ran and
the C library gave back what is free.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sora
from faults_parts.part import Row, Settings
from sora.runtime import heap

FIRST_JOBS = 10
WINDOW = 20  # jobs whose median counts, so that one with more in its caches does not
MAX_GROWTH = 0.05
ROW_EVERY = 300  # seconds between rows that say how far it is

PROMPTS = (
    "a red ball bounces in the desert",
    "a red balloon floats up over a green meadow",
    "a blue ball moves to the left in the desert",
    "a teddy spins on a beach",
)
SIZES = ("64x64", "96x64", "64x96", "128x128", "80x48")
FRAMES = (5, 9, 17, 33, 45)


@dataclass(frozen=True)
class Usage:
    """What the process holds. rss: bytes. temporary: files and folders in its own folder for temporary files."""

    rss: int
    handles: int
    threads: int
    children: int
    temporary: int


def usage() -> Usage:
    """Of this process now, after all that can be given back was."""
    gc.collect()
    heap.trim()
    own = Path("/proc/self")
    resident = int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    tasks = list((own / "task").iterdir())
    children = sum(len((task / "children").read_text().split()) for task in tasks if (task / "children").exists())
    handles = len(list((own / "fd").iterdir())) - 1  # the folder that is being read
    return Usage(resident, handles, len(tasks), children, sum(1 for _ in Path(tempfile.gettempdir()).rglob("*")))


class Jobs:
    """Every kind of job, on one session. Each writes its film, which is gone after the job."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.session, self.folder, self.rng = sora.Session(threads=1), folder, rng
        self.kinds: dict[str, Callable[[], object]] = {
            "generate": self.generate,
            "img2vid": self.img2vid,
            "extend": self.extend,
            "loop": self.loop,
            "bridge": self.bridge,
            "edit": self.edit,
            "image": self.image,
            "batch": self.batch,
            "finish": self.finish,
            "refused": self.refused,
            "remake": self.remake,
            "guided": self.guided,
            "stopped": self.stopped,
        }

    def options(self, *left_out: str) -> dict[str, Any]:
        """Of a small film, drawn anew."""
        rng = self.rng
        drawn = {
            "prompt": rng.choice(PROMPTS),
            "seed": rng.randrange(1 << 32),
            "steps": rng.randint(1, 4),
            "size": rng.choice(SIZES),
            "frames": rng.choice(FRAMES),
        }
        return {name: value for name, value in drawn.items() if name not in left_out}

    def save(self, video: sora.Video) -> Path:
        suffix = self.rng.choice((".mp4", ".mkv", ".gif", ".webp", ""))
        return video.save(self.folder / f"film{suffix}", force=True)

    def clip(self) -> sora.Video:
        return self.session.generate(**self.options("frames"), frames=self.rng.choice((9, 17)))

    def generate(self) -> None:
        self.save(self.session.generate(**self.options()))

    def img2vid(self) -> None:
        picture = self.session.image(**self.options("frames")).save(self.folder / "first.png", force=True)
        self.save(self.session.img2vid(picture, **self.options("aspect")))

    def extend(self) -> None:
        source = self.save(self.clip())
        self.save(self.session.extend(source, **self.options("size"), backward=self.rng.random() < 0.5))

    def loop(self) -> None:
        self.save(self.session.loop(None, **self.options("frames"), frames=16))

    def bridge(self) -> None:
        self.save(self.session.bridge(self.clip(), self.clip(), **self.options("size")))

    def edit(self) -> None:
        method = self.rng.choice(("noise", "flow"))
        self.save(self.session.edit(self.clip(), **self.options("size", "frames"), method=method, strength=0.5))

    def image(self) -> None:
        picture = self.session.image(**self.options("frames", "size"), size="128x128", refine=0.5)
        picture.save(self.folder / self.rng.choice(("a.png", "a.jpg")), force=True)

    def batch(self) -> None:
        rest = self.options("frames", "prompt")
        request = sora.Request(verb="generate", prompt="a {red|blue} ball bounces in the desert", frames=9, **rest)
        for video in self.session.paint_all(request, count=2):
            self.save(video)

    def finish(self) -> None:
        draft = self.session.generate(**self.options(), draft=True)
        self.session.finish(draft, size="64x64", steps=2)

    def remake(self) -> None:
        self.session.remake(self.save(self.session.generate(**self.options())))

    def guided(self) -> None:
        self.save(self.session.generate(**self.options("frames"), frames=9, guidance=4.0))

    def refused(self) -> None:
        """Requests that end in an error, some before anything is painted and some after."""
        broken = self.folder / "broken.mp4"
        broken.write_bytes(self.rng.randbytes(1000))
        no_lora = self.folder / "absent.safetensors"
        for call in (
            lambda: self.session.generate(PROMPTS[0], size="64x64", frames=-1),
            lambda: self.session.generate(PROMPTS[0], size="64x64", loras=str(no_lora)),
            lambda: self.session.extend(broken, PROMPTS[0]),
            lambda: self.session.generate("a {red|blue} ball", size="64x64"),
            lambda: self.clip().save(self.folder / "film.xyz"),
            lambda: self.clip().save(self.folder / "absent" / "film.mp4"),
        ):
            try:
                call()
            except sora.SoraError:
                continue
            if not (self.folder / "absent").exists():
                raise AssertionError("a request that should be refused was painted")
            shutil.rmtree(self.folder / "absent")

    def stopped(self) -> None:
        """A person's own code raises while a film is painted."""

        def stop(event: sora.ProgressEvent) -> None:
            if event.phase == "sample":
                raise KeyboardInterrupt

        try:
            self.session.generate(**self.options(), on_progress=stop)
        except KeyboardInterrupt:
            return
        raise AssertionError("what on_progress raised did not arrive")

    def clear(self) -> int:
        """Remove what a job has written. Returns how many hidden files and folders it left."""
        left = 0
        for path in list(self.folder.iterdir()):
            left += path.name.startswith(".")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return left


def growth(rss: list[int]) -> float:
    """Share by which the highest median of a window, but the first, is above that of the first; windows begin after
    the first jobs."""
    after = rss[FIRST_JOBS:]
    medians = [statistics.median(after[n : n + WINDOW]) for n in range(0, len(after) - WINDOW + 1, WINDOW)]
    return max(medians[1:]) / medians[0] - 1 if len(medians) > 1 else 0.0


def rows(series: list[Usage], leftovers: int, failed: list[str], hours: float) -> list[Row]:
    """What was measured so far."""
    after = series[FIRST_JOBS:] or series
    first, last = after[0], after[-1]
    megabytes = [round(u.rss / 2**20) for u in after[:: max(1, len(after) // 12)]]
    grown = growth([u.rss for u in series])
    shown = f"{grown:+.1%}; MiB {' '.join(map(str, megabytes))}"
    same = {name: (getattr(first, name), max(getattr(u, name) for u in after[-WINDOW:])) for name in asdict(first)}
    flat = all(late <= early for name, (early, late) in same.items() if name != "rss")
    counts = ", ".join(f"{name} {a} -> {b}" for name, (a, b) in same.items() if name != "rss")
    return [
        Row("mixed jobs in one process", "2 h", f"{len(series)} jobs in {hours:.2f} h", hours >= 1.8),
        Row("jobs that ended otherwise than they should", "0", f"{len(failed)} {failed[:3] or ''}", not failed),
        Row("resident memory after the first ten jobs", "+< 5 %", shown, grown < MAX_GROWTH),
        Row("handles, threads, processes, temporary files", "flat", counts, flat and last.children <= first.children),
        Row("hidden files left beside films", "0", str(leftovers), leftovers == 0),
    ]


def measure(settings: Settings) -> Iterator[Row]:
    """Do jobs until the time is over."""
    rng, began = settings.random, time.monotonic()
    films, temporary = settings.folder / "films", settings.folder / "tmp"
    for folder in (films, temporary):
        folder.mkdir(exist_ok=True)
    tempfile.tempdir = str(temporary)
    os.environ["TMPDIR"], os.environ["SORA_STATE"] = str(temporary), str(settings.folder / "state")
    jobs = Jobs(films, rng)
    series: list[Usage] = []
    failed: list[str] = []
    leftovers, reported = 0, began
    while time.monotonic() - began < settings.seconds:
        kind = [*jobs.kinds][len(series)] if len(series) < len(jobs.kinds) else rng.choice([*jobs.kinds])
        error = _outcome(jobs.kinds[kind])
        failed += [f"{kind}: {error}"] if error else []
        leftovers += jobs.clear()
        series.append(usage())
        record = {"job": len(series), "kind": kind, "seconds": round(time.monotonic() - began, 1), "error": error}
        settings.log("soak", record | asdict(series[-1]))
        if time.monotonic() - reported > ROW_EVERY:
            reported = time.monotonic()
            yield from rows(series, leftovers, failed, (reported - began) / 3600)
    yield from rows(series, leftovers, failed, (time.monotonic() - began) / 3600)


def _outcome(job: Callable[[], object]) -> str:
    """What went wrong, empty for nothing."""
    try:
        job()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""
