"""Files that were made to harm, through the command line: at least 400 of them, each in a process that is watched.

Of each: the exit status is a documented one, no traceback, nothing on the streams that a terminal would act on, no more
memory than an idle command and 300 MB, at most 10 seconds of the processors' time, no file changed but in the output
folder, no socket. Every case is a line of ``cases.jsonl`` in the part's folder. ``--case`` names a command.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np

from faults_parts import hostile_files, hostile_media
from faults_parts.part import Row, Settings
from sora import media
from sora.plan.clip import Clip

WANTED = 400
DOCUMENTED = (0, 2, 3, 4, 5, 6)
MAX_SECONDS = 10.0
MAX_MEMORY = 300_000_000  # bytes over an idle command
KILLED_AFTER = 60  # seconds
WORKERS = 2
BIDI = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
WATCH = """
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo") or (event == "import" and args[0] == "torch"):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {args[0] if event == 'import' else ''}\\n")
sys.addaudithook(watch)
"""
"""A ``sitecustomize`` that notes connections, and whether torch was imported."""


@dataclass(frozen=True)
class HostileCase:
    """A command on one input. idle: the name of the command that is its measure of memory, where torch is imported."""

    name: str
    argv: tuple[str, ...]


@dataclass
class Outcome:
    """seconds: of the processors, which other programs on the machine do not change, waited: in all. memory: bytes of
    the process and its children at once. problems: what was not met."""

    name: str
    status: int
    seconds: float
    waited: float
    memory: int
    torch: bool
    stderr: str
    problems: list[str]


@dataclass(frozen=True)
class Place:
    """Where one case runs: its own home, temporary folder and working folder."""

    folder: Path

    @property
    def watched(self) -> Path:
        return self.folder / "watched"

    def prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("home", "tmp", "cwd", "site"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "site" / "sitecustomize.py").write_text(WATCH)

    def environment(self) -> dict[str, str]:
        paths = [str(self.folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp"), "WATCHED": str(self.watched)}
        own |= {"SORA_STATE": str(self.folder / "state"), "SORA_CACHE": str(self.folder / "cache")}
        own |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_WAIT_POLICY": "passive", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **own}

    def left(self) -> list[str]:
        """What a command that makes nothing left in its home, its temporary folder and its working folder."""
        found = (file for name in ("home", "tmp", "cwd") for file in (self.folder / name).rglob("*"))
        return [str(file) for file in found if not file.name.startswith("torchinductor_")]  # torch's own, empty


def cases(folder: Path, seed: int) -> Iterator[HostileCase]:
    """Make every input in a folder, and name the commands that read it."""
    clip, picture = str(folder / "clip.mkv"), str(folder / "picture.png")
    noise = np.random.default_rng(seed).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
    media.write_clip(folder / "clip.mkv", Clip(noise, 8.0))
    media.write_clip(folder / "picture.png", Clip(noise[:1], 8.0))
    commands = {
        "info": ("info", "@"),
        "info --json": ("info", "@", "--json"),
        "extend": ("extend", "@", "--dry-run"),
        "img2vid": ("img2vid", "@", "--dry-run"),
        "mask": ("edit", clip, "a ball", "--mask", "@", "--dry-run"),
        "last image": ("img2vid", picture, "--last-image", "@", "--dry-run"),
        "remake": ("remake", "@", "--dry-run"),
        "finish": ("finish", "@", "--dry-run"),
        "lora": ("generate", "a red ball", "--lora", "@", "--dry-run"),
        "model": ("generate", "a red ball", "--model", "@", "--dry-run"),
        "models show": ("models", "show", "@"),
        "models verify": ("models", "verify", "@"),
        "prompts": ("generate", "-f", "@", "--dry-run", "-o", "out/"),
        "train": ("train", "@", "-o", "new.safetensors", "--steps", "1"),
    }
    films = hostile_media.make(folder / "media", seed)
    weights = hostile_files.weights(folder / "weights")
    folders = hostile_files.model_folders(folder / "models")
    inputs = {
        ("info",): [*films, *weights],
        ("mask",): films[::2],
        ("extend",): films[1::2],
        ("img2vid",): films[::3],
        ("info --json", "remake"): hostile_files.with_recipes(folder / "recipes"),
        ("lora", "models show"): weights,
        ("info --json", "info"): folders,
        ("model",): folders[::2],
        ("prompts",): hostile_files.prompt_files(folder / "prompts"),
        tuple(commands): hostile_files.no_files(folder / "none"),
    }
    for names, paths in inputs.items():
        for name in names:
            for path in paths:
                argv = tuple(str(path) if word == "@" else word for word in commands[name])
                yield HostileCase(f"{name}: {path.relative_to(folder) if folder in path.parents else path}", argv)


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and of all that it started."""
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{each}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total


def run(case: HostileCase, place: Place) -> Outcome:
    """One command, watched to its end."""
    place.prepare()
    began, memory = time.monotonic(), 0
    with (place.folder / "out").open("w+b") as out, (place.folder / "err").open("w+b") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "sora", *map(os.fsencode, case.argv)],
            cwd=place.folder / "cwd",
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        while True:
            pid, ended, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(ended)
                break
            memory = max(memory, tree_memory(process.pid))
            if time.monotonic() - began > KILLED_AFTER:
                process.kill()
            time.sleep(0.02)
        waited, seconds = time.monotonic() - began, usage.ru_utime + usage.ru_stime
        out.seek(0)
        err.seek(0)
        printed, complaint = out.read(), err.read()
    noted = place.watched.read_text() if place.watched.exists() else ""
    problems = list(_problems(process.returncode, seconds, printed, complaint, noted, place))
    text = complaint.decode(errors="replace")[-400:]
    name = case.name.encode("unicode_escape", "surrogatepass").decode("ascii")
    return Outcome(
        name, process.returncode, round(seconds, 2), round(waited, 2), memory, "torch" in noted, text, problems
    )


def _problems(status: int, seconds: float, printed: bytes, complaint: bytes, noted: str, place: Place) -> Iterator[str]:
    """What of a run is not as it must be, but for memory."""
    if status not in DOCUMENTED:
        yield f"exit status {status}"
    if b"Traceback" in complaint:
        yield "traceback"
    if status and not complaint.strip():
        yield "fails without a word"
    if acted_on := sorted({c for c in (printed + complaint).decode(errors="surrogateescape") if _acts(c)}):
        yield f"prints {acted_on!r}"
    if seconds > MAX_SECONDS:
        yield f"takes {seconds:.0f} s"
    if status == -signal.SIGKILL:
        yield f"does nothing for {KILLED_AFTER} s"
    if "socket" in noted:
        yield "opens a socket"
    if left := place.left():
        yield f"leaves {left[:3]}"


def _acts(character: str) -> bool:
    """Whether a terminal would do something at it, or it is no text."""
    return character in BIDI or (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> (bytes, time of the last change) of everything in a folder."""
    found = {}
    for file in folder.rglob("*"):
        facts = file.lstat()
        found[str(file)] = facts.st_size, facts.st_mtime_ns
    return found


def idle(folder: Path) -> dict[bool, int]:
    """Bytes of an idle command, by whether torch is imported."""
    light = run(HostileCase("idle", ("info", str(folder / "inputs" / "clip.mkv"))), Place(folder / "idle"))
    heavy = run(HostileCase("idle", ("generate", "a red ball", "--dry-run")), Place(folder / "idle"))
    return {light.torch: light.memory, heavy.torch: heavy.memory} | {False: light.memory}


def measure(settings: Settings) -> Iterator[Row]:
    """Rows of the table, the last of them of every case that failed."""
    inputs, numbers = settings.folder / "inputs", count()
    inputs.mkdir(parents=True)
    chosen = [case for case in cases(inputs, settings.seed) if settings.wants(case.name.split(":")[0])]
    settings.random.shuffle(chosen)
    before, measures, deadline = snapshot(inputs), idle(settings.folder), time.monotonic() + settings.seconds
    outcomes: list[Outcome] = []

    def one(case: HostileCase) -> Outcome | None:
        if time.monotonic() > deadline:
            return None
        place = Place(settings.folder / f"case{next(numbers)}")
        outcome = run(case, place)
        over = outcome.memory - measures.get(outcome.torch, measures[False])
        if over > MAX_MEMORY:
            outcome.problems.append(f"takes {over // 10**6} MB more than an idle command")
        settings.log("cases", asdict(outcome))
        shutil.rmtree(place.folder, ignore_errors=True)
        return outcome

    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = [outcome for outcome in pool.map(one, chosen) if outcome is not None]
    changed = {name for name, facts in snapshot(inputs).items() if before.get(name) != facts}
    yield from rows(outcomes, changed | (before.keys() - snapshot(inputs).keys()), measures)


def rows(outcomes: Sequence[Outcome], changed: set[str], measures: dict[bool, int]) -> Iterator[Row]:
    """The table of what was measured."""
    total = len(outcomes)
    yield Row("hostile inputs", f">= {WANTED}", str(total), total >= WANTED)
    statuses = {status: sum(each.status == status for each in outcomes) for status in {o.status for o in outcomes}}
    listed = ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items()))
    yield Row("exit statuses are documented ones", "all", listed, statuses.keys() <= set(DOCUMENTED))
    kinds = {"tracebacks": "traceback", "failures without a word": "without a word", "sockets": "socket"}
    kinds |= {"what a terminal acts on": "prints", "over 10 s": " s", "files left": "leaves", "over 300 MB": " MB more"}
    for what, mark in kinds.items():
        found = sum(any(_is_of(problem, mark) for problem in each.problems) for each in outcomes)
        yield Row(f"hostile inputs: {what}", "0", str(found), found == 0)
    yield Row("inputs that were changed", "0", str(len(changed)), not changed)
    if outcomes:
        slowest, largest = max(outcomes, key=lambda o: o.seconds), max(outcomes, key=lambda o: o.memory)
        yield Row("slowest hostile input", "<= 10 s", f"{slowest.seconds:g} s ({slowest.name})"[:120], None)
        base = measures.get(largest.torch, measures[False])
        over = f"{(largest.memory - base) // 10**6} MB over idle ({largest.name})"
        yield Row("largest hostile input", "<= 300 MB", over[:120], None)
    for each in outcomes:
        if each.problems:
            yield Row(f"case {each.name}"[:120], "no problem", "; ".join(each.problems)[:200], False)


def _is_of(problem: str, mark: str) -> bool:
    return problem.endswith(mark) if mark == " s" else mark in problem
