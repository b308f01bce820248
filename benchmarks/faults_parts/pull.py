"""Whether downloads go on: after SIGKILL at random moments, and with a hub that breaks off, stalls, fails and lies.

The hub is ``tests/local_hub.py`` in a process of its own, and a download is ``sora models pull`` in another. What came
before a kill is counted by the hub, which sends slowly, so that little of it is on its way when the program dies.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from urllib.request import ProxyHandler, build_opener

import numpy as np
from safetensors.numpy import save

from faults_parts.part import Row, Settings
from sora import catalog
from sora.catalog import digests

HUB = Path(__file__).parent.parent.parent / "tests" / "local_hub.py"
MODEL = catalog.MODELS["wan2.1-1.3b"]
WEIGHTS = 8_000_000  # bytes of each file of weights
RATE = 3_000_000  # bytes a second that the hub sends
LIFE = 2.0  # seconds of fetching after which a program is killed, at most
EARLY = 0.2  # the share of programs that are killed before they fetch anything
STARTED = 60  # seconds after which a program that fetches nothing is killed all the same
COUNTED = 0.3  # seconds after a kill until the hub knows of it
KEPT = 0.8  # of what came before a kill, not to be fetched again
PATIENCE = 300  # seconds of one program
KILLS_OF_A_ROUND = 10


@dataclass
class Counts:
    """kills: programs that were killed while they ran. pulls: downloads that were completed. damaged: files under a
    final name whose bytes are not the published ones. leftovers: files that do not belong in the folders of a completed
    download. failures: programs that ended in another way than they should. before_kills, again: bytes that the hub
    sent to programs that were killed, and bytes that it sent twice."""

    kills: int = 0
    pulls: int = 0
    damaged: int = 0
    leftovers: int = 0
    failures: int = 0
    before_kills: int = 0
    again: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def kept(self) -> float:
        """The share of the bytes before kills that was not fetched again."""
        return 1 - self.again / self.before_kills if self.before_kills else 1.0


class Pulls:
    """Downloads of one model from one hub into one cache."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.place, self.seed = folder, folder / "files", seed
        self.repo = folder / "hf" / f"models--{MODEL.repo.replace('/', '--')}"
        self.url = ""
        self.contents = dict(_contents(seed))
        for name, content in self.contents.items():
            (self.place / name).parent.mkdir(parents=True, exist_ok=True)
            (self.place / name).write_bytes(content)
        self.digests = {name: _digest(content, name) for name, content in self.contents.items()}
        self.total = sum(map(len, self.contents.values()))

    @contextmanager
    def served(self, rate: float, *more: str) -> Iterator[None]:
        """While the hub runs."""
        command = [sys.executable, str(HUB), str(self.place), MODEL.repo, MODEL.revision, str(rate), *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hub:
            try:
                assert hub.stdout is not None
                self.url = hub.stdout.readline().strip()
                yield
            finally:
                hub.kill()

    def sent(self) -> int:
        """Bytes of files that the hub has sent so far."""
        with build_opener(ProxyHandler({})).open(f"{self.url}/counters", timeout=30) as answer:
            return sum(json.load(answer)["sent"].values())

    def program(self, verb: str = "pull") -> subprocess.Popen[str]:
        own = {
            "HF_ENDPOINT": self.url,
            "HF_HUB_CACHE": str(self.folder / "hf"),
            "SORA_STATE": str(self.folder / "state"),
            "SORA_CACHE": str(self.folder / "own"),
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-m", "sora", "models", verb, MODEL.name]
        return subprocess.Popen(
            command, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def damaged(self) -> list[str]:
        """Files under a final name whose bytes are not the published ones."""
        blobs = [path for path in (self.repo / "blobs").glob("*") if path.suffix != ".incomplete"]
        wrong = [path.name for path in blobs if _digest_of_file(path) != path.name]
        snapshot = self.repo / "snapshots" / MODEL.revision
        links = [path for path in snapshot.rglob("*") if path.is_symlink()]
        return wrong + [str(path) for path in links if not path.exists()]

    def leftovers(self) -> list[str]:
        """What is in any folder of a completed download and does not belong there. Locks of huggingface_hub's do."""
        expected = {self.repo / "blobs" / digest for digest in self.digests.values()}
        expected |= {self.repo / "snapshots" / MODEL.revision / name for name in self.contents}
        expected |= {self.folder / "own" / "checked" / f"{digest}.json" for digest in self.digests.values()}
        roots = [self.folder / "hf", self.folder / "own", self.folder / "state"]
        found = [path for root in roots for path in root.rglob("*") if not path.is_dir() and path.suffix != ".lock"]
        return [str(path) for path in set(found) - expected] + [str(path) for path in expected - set(found)]

    def forget(self) -> None:
        """An empty cache."""
        for name in ("hf", "own", "state"):
            rmtree(self.folder / name, ignore_errors=True)


def pull_kills(kills: int, seed: int, folder: Path, seconds: float = float("inf")) -> Counts:
    """SIGKILLs at random moments of ``sora models pull``, each gone on from by the next one, until as many are done or
    the time is over. folder: for everything that is written."""
    random_moment, counts, until = random.Random(seed), Counts(), time.monotonic() + seconds
    pulls = Pulls(folder, seed)
    while counts.kills < kills and time.monotonic() < until:
        pulls.forget()
        with pulls.served(RATE):
            _round(pulls, min(kills - counts.kills, KILLS_OF_A_ROUND), random_moment, counts)
    return counts


def _round(pulls: Pulls, kills: int, moment: random.Random, counts: Counts) -> None:
    """One download from an empty cache to its end, killed at most so often on the way."""
    completed, before_kills, killed = False, 0, 0
    while not completed:
        began = pulls.sent()
        with pulls.program() as program:
            if killed < kills:
                _kill_at(program, pulls, began, moment)
            _, stderr = program.communicate(timeout=PATIENCE)
        if program.returncode == -signal.SIGKILL:
            killed += 1
            time.sleep(COUNTED)
            before_kills += pulls.sent() - began
            _note_damage(pulls, counts)
        else:
            completed = True
            if program.returncode != 0:
                counts.failures += 1
                counts.problems.append(f"status {program.returncode}: {stderr}")
    counts.kills, counts.pulls = counts.kills + killed, counts.pulls + 1
    counts.before_kills, counts.again = counts.before_kills + before_kills, counts.again + pulls.sent() - pulls.total
    _note_end(pulls, counts)


def _kill_at(program: subprocess.Popen[str], pulls: Pulls, began: int, moment: random.Random) -> None:
    """Kills a program at a random moment of its start or, mostly, of its fetching; unless it ends before. began: bytes
    that the hub had sent before. A busy machine takes seconds to start a program, so the clock runs from the first
    byte."""
    if moment.random() >= EARLY:
        until = time.monotonic() + STARTED
        while pulls.sent() == began and program.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired):
        program.wait(moment.uniform(0, LIFE))
    program.kill()


def _note_damage(pulls: Pulls, counts: Counts) -> None:
    damaged = pulls.damaged()
    counts.damaged += len(damaged)
    counts.problems += damaged


def _note_end(pulls: Pulls, counts: Counts) -> None:
    """After a download that was completed: every byte is right, and nothing else is there."""
    _note_damage(pulls, counts)
    leftovers = pulls.leftovers()
    counts.leftovers += len(leftovers)
    counts.problems += leftovers
    with pulls.program("verify") as program:
        stdout, stderr = program.communicate(timeout=PATIENCE)
    if program.returncode != 0:
        counts.failures += 1
        counts.problems.append(f"verify: {stdout} {stderr}")


def pull_unreliable(rounds: int, seed: int, folder: Path) -> Counts:
    """Downloads from a hub of which two of three answers fail. A pull that gives up or refuses wrong bytes is given
    again, with status 4 and one line; none may end otherwise, and none may leave wrong bytes."""
    counts, pulls = Counts(), Pulls(folder, seed)
    for number in range(rounds):
        pulls.forget()
        with pulls.served(0, str(seed + number)):
            status = 4
            for _ in range(50):
                with pulls.program() as program:
                    _, stderr = program.communicate(timeout=PATIENCE)
                status = program.returncode
                _note_damage(pulls, counts)
                lines = [line for line in stderr.splitlines() if line.startswith("sora: ")]
                if status not in (0, 4) or "Traceback" in stderr or len(lines) != (1 if status else 0):
                    counts.failures += 1
                    counts.problems.append(f"status {status}: {stderr}")
                if status != 4:
                    break
        counts.pulls += status == 0
        _note_end(pulls, counts)
    return counts


def _contents(seed: int) -> Iterator[tuple[str, bytes]]:
    """Small valid files for everything that the model needs, of which the weights take seconds to send."""
    numbers = np.random.default_rng(seed)
    for name in MODEL.files:
        if name.endswith(".safetensors"):
            weights = numbers.integers(0, 256, WEIGHTS, dtype=np.uint8)
            yield name.replace("*", "weights"), save({"weights": weights})
        elif "*" not in name:
            yield name, json.dumps({"name": name, "number": int(numbers.integers(1 << 30))}).encode()


def _digest(content: bytes, name: str) -> str:
    whole = digests.new_hash("0" * (40 if name.endswith(".json") else 64), len(content))
    whole.update(content)
    return whole.hexdigest()


def _digest_of_file(path: Path) -> str:
    return digests.of_file(path, path.name, lambda _: None)


def measure(settings: Settings) -> Iterator[Row]:
    """Rows of the table. Cases: kills, unreliable."""
    if settings.wants("kills"):
        yield from _rows_of_kills(settings)
    if settings.wants("unreliable"):
        folder = settings.folder / "unreliable"
        counts = pull_unreliable(5, settings.seed, folder)
        _log(settings, "unreliable", counts)
        what = "downloads completed from a hub of which 2 of 3 answers fail"
        yield Row(what, "5", f"{counts.pulls}", counts.pulls == 5)
        wrong = counts.damaged + counts.leftovers + counts.failures
        yield Row("damaged files, leftovers, tracebacks with that hub", "0", f"{wrong}", wrong == 0)


def _rows_of_kills(settings: Settings) -> Iterator[Row]:
    """As many kills as fit the time, 50 at most."""
    counts = pull_kills(50, settings.seed, settings.folder / "kills", settings.seconds / 2)
    _log(settings, "kills", counts)
    found = f"{counts.kills} in {counts.pulls} downloads"
    yield Row("SIGKILLs of downloads at random moments", ">= 20", found, counts.kills >= 20)
    for name in ("damaged", "leftovers", "failures"):
        count = getattr(counts, name)
        yield Row(f"{name} after kills of downloads", "0", f"{count}", count == 0)
    kept = f"{counts.kept:.1%} of {counts.before_kills / 1e6:.0f} MB"
    yield Row("bytes before kills that are not fetched again", f">= {KEPT:.0%}", kept, counts.kept >= KEPT)


def _log(settings: Settings, name: str, counts: Counts) -> None:
    settings.log("pull", {"case": name} | vars(counts))
