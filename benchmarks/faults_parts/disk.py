"""What a run says and leaves when a write fails: a full disk and a broken one, at every write, rename and flush.

strace(1) lets the calls fail that touch the run's own files: those of the target and of what is staged for it, of the
program and of the ffmpeg that it starts. ``ENOSPC`` fails from the N-th call on, as a full disk does, ``EIO`` once.
Without strace there is still ``EFBIG``: a limit on the size of files, which the system itself enforces.

``writer`` cases only write a clip, so that every single call can be tried; ``command`` cases paint it first.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from faults_parts.part import Row, Settings
from sora import media
from sora.errors import SoraError

CALLS = (
    *("write", "pwrite64", "writev", "ftruncate", "fallocate", "mkdir", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat"),
)
TOKENS = 16  # staged files and folders whose names are foreseen
NAMES = ("x.mp4", "x.mkv", "x.gif", "x.webp", "x.png", "x.jpg", "film")
LIMITS = 12  # of the size of files that are tried, from none to that of the whole file
WHOLE = 4096  # bytes at the end of trained weights that are compared
PATIENCE = 300  # seconds of one run

NUMBERED = """
import itertools
from sora.storage import staging
numbers = itertools.count(1)
staging._new_token = lambda: f"{next(numbers):016x}"
staging._machine = lambda: "0000"
"""
"""Names of what is staged that can be foreseen."""

WRITER = """
import sys
import numpy as np
from sora import media
from sora.errors import SoraError
from sora.plan.clip import Clip
frames = np.random.default_rng(1).integers(0, 256, (int(sys.argv[2]), 64, 64, 3), dtype=np.uint8)
try:
    print(media.write_clip(sys.argv[1], Clip(frames, 8.0), '{"recipe": 1}' * 50, force=True))
except SoraError as error:
    print(f"sora: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""

COMMAND = """
import sys
from sora.cli import main
sys.argv[0] = "sora"
main()
"""


TRAIN = f"""
from pathlib import Path
from PIL import Image
if not Path("../clips").exists():
    Path("../clips").mkdir()
    Image.new("RGB", (64, 64), (200, 30, 90)).save("../clips/a wug.png")
{COMMAND}
"""


@dataclass(frozen=True)
class Case:
    """A run whose writes fail. code: Python, with ``arguments``. target: what it makes, in the folder of the run."""

    name: str
    code: str
    arguments: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Outcome:
    """Of one run. problem: empty where all is as it should be."""

    status: int
    message: str
    problem: str


def cases() -> list[Case]:
    writers = [Case(f"writer {n}", WRITER, (n, "1" if n[-4:] in (".png", ".jpg") else "9"), n) for n in NAMES]
    paint = ("generate", "a red balloon", "--size", "64x64", "--frames", "5", "--steps", "2", "--seed", "1", "-o")
    still = ("image", "a red balloon", "--size", "64x64", "--steps", "2", "--seed", "1", "-o")
    commands = [Case(f"command {n}", COMMAND, (*(still if n[-4:] in (".png", ".jpg") else paint), n), n) for n in NAMES]
    train = ("train", "../clips", "--steps", "2", "--size", "64x64", "--rank", "2", "-o", "x.safetensors")
    return [*writers, *commands, Case("command train", TRAIN, train, "x.safetensors")]


class Runner:
    """Runs a case in a folder of its own, with a state folder that fails together with the rest."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder, self.state, self.log = case, folder / "work", folder / "state", folder / "calls.log"
        self.environment = os.environ | {
            "SORA_STATE": str(self.state),
            "SORA_CACHE": str(folder / "cache"),
            "OMP_WAIT_POLICY": "passive",
            "OMP_NUM_THREADS": "1",
        }
        self.reference: np.ndarray | None = None
        self.end = b""

    def paths(self) -> list[str]:
        """Everything of the run's own whose name can be foreseen."""
        target = self.folder / self.case.target
        tokens = [f"{n:016x}" for n in range(1, TOKENS)]
        staged = [self.folder / f".sora-{token}" for token in tokens]
        suffix = Path(self.case.target).suffix
        inside = ("log", "notes", "frames", "publishing", "replaced", f"made{suffix}", f"both{suffix}")
        files = [folder / name for folder in staged for name in inside]
        pictures = [folder / "frames" / f"{n:05d}.png" for folder in staged[:3] for n in range(9)]
        recipes = [folder / "frames" / "recipe.json" for folder in staged[:3]]
        training = self.folder / "x-training"
        staged += [self.folder / f".sora-{token}{suffix}" for token in tokens if suffix == ".safetensors"]
        staged += [training / f".sora-{token}{ending}" for token in tokens for ending in (".pt", ".json")]
        entries = [self.state / "staging" / token for token in tokens]
        return list(map(str, [self.folder, target, *staged, *files, *pictures, *recipes, self.state, *entries]))

    def command(self, inject: str = "") -> list[str]:
        own = [argument for path in self.paths() for argument in ("-P", path)]
        trace = ["strace", "-f", "-qq", "-y", "-o", str(self.log), *own, "-e", f"trace={','.join(CALLS)}"]
        return [*trace, *(["-e", f"inject={inject}"] if inject else []), *self.plain()]

    def plain(self) -> list[str]:
        return [sys.executable, "-c", NUMBERED + self.case.code, *self.case.arguments]

    def run(self, command: Sequence[str], limit: int | None = None) -> Outcome:
        """limit: of the size of files, in bytes."""
        for place in (self.folder, self.state):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)

        def limited() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, timeout=PATIENCE, preexec_fn=limited
        )
        errors = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        lines = [line for line in errors if line.startswith("sora:")]
        return Outcome(done.returncode, lines[0] if lines else "", self.problem(done.returncode, errors, lines))

    def problem(self, status: int, errors: Sequence[str], lines: Sequence[str]) -> str:
        """What is wrong with what a run left and wrote; empty where nothing is."""
        if any("Traceback" in line for line in errors):
            return f"traceback: {errors[-1][:150]}"
        if status not in (0, 3):
            return f"status {status}: {' '.join(errors)[:150]}"
        if status and len(lines) != 1:
            return f"{len(lines)} lines for one error: {' '.join(errors)[:150]}"
        if self.leftovers():
            return f"left after the next command: {self.leftovers()[0]}"
        target = self.folder / self.case.target
        if status == 0 and not target.exists():
            return "status 0 and no file"
        if status and target.exists():
            return "an error, and yet a file"
        return self.damage(target) if target.exists() else ""

    def leftovers(self) -> list[str]:
        """What is still there once the next command has staged something."""
        code = f"{NUMBERED.replace('count(1)', 'count(1000)')}\nfrom pathlib import Path\n"
        code += "with staging.folder(Path('next.mp4')): pass"
        subprocess.run([sys.executable, "-c", code], cwd=self.folder, env=self.environment, check=True)
        entries = self.state / "staging"
        return [str(p) for p in (*self.folder.rglob(".*"), *(entries.iterdir() if entries.exists() else ()))]

    def damage(self, target: Path) -> str:
        if target.suffix == ".safetensors":
            return "" if target.read_bytes()[-WHOLE:] == self.tail(target) else "a file with other weights"
        try:
            frames = media.read_image(target)[None] if target.suffix in (".png", ".jpg") else None
            frames = media.read_clip(target).frames_FYXC if frames is None else frames
        except SoraError as error:
            return f"damaged: {error}"
        if self.reference is None:
            self.reference = frames
        return "" if np.array_equal(frames, self.reference) else "a file with other frames"

    def tail(self, target: Path) -> bytes:
        """The end of the first file that was made, where the weights are."""
        self.end = self.end or target.read_bytes()[-WHOLE:]
        return self.end


def counts(log: Path) -> Counter[str]:
    """Call -> how often the process or thread that calls it most does. strace counts in each by itself."""
    found: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        if match := re.match(r"(\d+)\s+(\w+)\(", line):
            found[match[1], match[2]] += 1
    most: Counter[str] = Counter()
    for (_, call), number in found.items():
        most[call] = max(most[call], number)
    return most


def faults_of(runner: Runner) -> list[tuple[str, Callable[[], Outcome]]]:
    """(name, run) of every fault that one case can meet."""
    faults = list[tuple[str, Callable[[], Outcome]]]()
    target = runner.folder / runner.case.target
    files = [target] if target.is_file() else list(target.iterdir())
    size = max(file.stat().st_size for file in files)
    for limit in sorted({size * n // LIMITS for n in range(LIMITS)}):
        faults.append((f"EFBIG at {limit}", partial(runner.run, runner.plain(), limit)))
    if shutil.which("strace"):
        runner.run(runner.command())
        for call, number in counts(runner.log).items():
            for n in range(1, number + 1):
                for error, when in (("ENOSPC", f"{n}+"), ("EIO", f"{n}")):
                    command = runner.command(f"{call}:error={error}:when={when}")
                    faults.append((f"{error} at {call} {n}", partial(runner.run, command)))
    return faults


def sample(faults: list[tuple[str, Callable[[], Outcome]]], count: int) -> list[tuple[str, Callable[[], Outcome]]]:
    """At most so many of them, evenly."""
    if len(faults) <= count:
        return faults
    return [faults[n * len(faults) // count] for n in range(count)]


def measure(settings: Settings) -> Iterator[Row]:
    """One row a case: how many faults were tried, and what was wrong with any."""
    chosen = [case for case in cases() if settings.wants(case.name)]
    ends = time.monotonic() + settings.seconds
    for number, case in enumerate(chosen):
        share = max(0.0, ends - time.monotonic()) / (len(chosen) - number)
        yield measure_case(case, settings, share)


def measure_case(case: Case, settings: Settings, seconds: float) -> Row:
    folder = settings.folder / case.name.replace(" ", "-")
    runner, began = Runner(case, folder), time.monotonic()
    first = runner.run(runner.plain())
    if first.status or first.problem:
        return Row(case.name, "runs without faults", first.problem or first.message, False)
    one = time.monotonic() - began
    faults = faults_of(runner)
    possible = len(faults)
    problems, statuses, tried = list[str](), Counter[int](), 0
    for name, run in sample(faults, max(3, int(seconds / (1.6 * one)))):
        if time.monotonic() - began > seconds and tried >= 3:
            break
        outcome = run()
        tried += 1
        statuses[outcome.status] += 1
        problems += [f"{name}: {outcome.problem}"] if outcome.problem else []
        settings.log("disk", {"case": case.name, "fault": name, **vars(outcome)})
    refused = f"{tried} of {possible} faults, {statuses[3]} refused in one line, {statuses[0]} done all the same"
    wanted = "no damage, no leftover, one line, status 3"
    return Row(case.name, wanted, "; ".join([refused, *problems])[:600], not problems)
