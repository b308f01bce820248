"""What a process that was killed leaves behind, and whether the next command goes on from it.

Each job is first run whole. Then it is begun again elsewhere and killed (SIGKILL, itself alone or with what it started)
at a random moment of a random phase, again and again, going on each time with the same command or with ``sora resume``,
until it is done. ``--case`` names a job.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults_parts import traced
from faults_parts.kill_jobs import KillJob, jobs
from faults_parts.part import Row, Settings
from faults_parts.program import PATIENCE, Place, digest

WANTED = 300  # kills
KEPT = 0.8  # of the steps done before a kill
MAX_KILLS = 6  # of one job before it is let run to its end
ROW_EVERY = 10  # jobs
PHASES = {"start": 1, "sample": 4, "decode": 2, "publish": 3}  # -> how often a kill falls into it
NOW = {"SORA_JOURNAL_AFTER": "0"}  # seconds from which on a job is kept


@dataclass(frozen=True)
class Whole:
    """A run that nothing disturbed. files: name -> digest of what it made. latents: name -> digest. seconds: of each
    phase. left: what it left behind itself, such as a cache of torch's own."""

    files: dict[str, str]
    latents: dict[str, str]
    seconds: dict[str, float]
    left: tuple[str, ...]


@dataclass
class Count:
    """What all kills together came to. kept: of each kill, (steps that were not done again, steps
    done before it)."""

    kills: dict[str, int] = field(default_factory=dict)
    jobs: int = 0
    damaged: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    other_frames: list[str] = field(default_factory=list)
    other_latents: list[str] = field(default_factory=list)
    compared_latents: int = 0
    kept: list[tuple[int, int]] = field(default_factory=list)

    @property
    def all_kills(self) -> int:
        return sum(self.kills.values())


def phase_of(line: traced.Line) -> str:
    """The phase that an event shows the program to be in."""
    if line.phase == "decode" and line.done == line.total and line.window == line.windows:
        return "publish"
    return {"learn": "sample", "refine": "sample"}.get(line.phase, line.phase)


def phase_seconds(trace: list[traced.Line], began: float, ended: float) -> dict[str, float]:
    """How long each phase took, from its first event on to the next one's."""
    first = {"start": began}
    for line in trace:
        name = phase_of(line)
        if name in PHASES:
            first.setdefault(name, line.seconds)
    times = sorted([*first.items(), ("end", ended)], key=lambda item: item[1])
    return {name: later[1] - at for (name, at), later in itertools.pairwise(times)}


def latents(place: Place) -> dict[str, str]:
    """Words, seed and canvas -> digest of its finished latents, of all jobs that are kept."""
    from safetensors.numpy import load_file

    found = {}
    for file in sorted(place.state.glob("jobs/*/*/*/latents.safetensors")):
        request = json.loads((file.parents[2] / "job.json").read_text())["request"]
        name = f"{request.get('prompt')} {request.get('seed')} {'/'.join(file.parts[-3:-1])}"
        found[name] = hashlib.sha256(load_file(file)["latents"].tobytes()).hexdigest()
    return found


def made(job: KillJob, place: Place) -> dict[str, str]:
    """Name -> digest of what stands under final names, but for what was there to read."""
    files = {name: path for name, path in place.files().items() if not job.working or not name.startswith(job.working)}
    read = {name for name in job.inputs if name not in job.before}
    return {name: digest(path) for name, path in files.items() if name not in read}


def whole(job: KillJob, place: Place) -> Whole:
    """Run a job undisturbed. Raises RuntimeError where it fails."""
    job.prepare(place.out)
    trace, began = place.folder / "trace", time.monotonic()
    status, text = place.run(job.argv, trace, more=NOW)
    ended = time.monotonic()
    if status:
        raise RuntimeError(f"{job.name} ended with {status}: {text[-300:]}")
    left = tuple(path for path in place.leftovers(place.files()) if not path.startswith("out/"))
    return Whole(made(job, place), latents(place), phase_seconds(traced.read(trace), began, ended), left)


def kill_once(process: subprocess.Popen[str], trace: Path, phase: str, delay: float, rng: random.Random) -> bool:
    """Kill the program some time after it entered a phase. False where it came to its end before that."""
    deadline = time.monotonic() + PATIENCE
    while phase != "start" and process.poll() is None and time.monotonic() < deadline:
        if any(phase_of(line) == phase for line in traced.read(trace)):
            break
        time.sleep(0.01)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        alone = rng.random() < 0.5
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.wait()
    return process.returncode == -signal.SIGKILL


def steps_reached(trace: list[traced.Line]) -> tuple[int, int] | None:
    """(steps of the job that were there before the first one of this run, and after its last) of a film; None where it
    did none."""
    steps = [line for line in trace if phase_of(line) == "sample" and line.done > 0]
    if not steps:
        return None
    first, last = steps[0], steps[-1]
    return (first.window - 1) * first.total + first.done - 1, (last.window - 1) * last.total + last.done


def damaged(job: KillJob, place: Place, expected: Whole) -> list[str]:
    """Files under their final names that are neither what was there before nor what a whole run makes."""
    return [
        f"{job.name} {name}: {value[:120]}"
        for name, value in made(job, place).items()
        if value not in (expected.files.get(name), job.before.get(name))
    ]


def chain(job: KillJob, place: Place, expected: Whole, rng: random.Random, count: Count) -> dict[str, Any]:
    """Kill a job until it is done."""
    job.prepare(place.out)
    reached, moments, argv, known = 0, list[str](), job.argv, len(count.kept)
    phases = [name for name in PHASES if name in expected.seconds]
    status, output = 0, ""
    for number in range(MAX_KILLS + 1):
        trace = place.folder / f"trace-{number}"
        process = place.start(argv, trace, more=NOW)
        (phase,) = rng.choices(phases, [PHASES[name] for name in phases])
        delay = rng.uniform(0, expected.seconds[phase]) if number < MAX_KILLS else PATIENCE
        killed = kill_once(process, trace, phase if number < MAX_KILLS else "start", delay, rng)
        status, output = process.returncode, _output_of(process)
        reached = _count_steps(job, trace, reached, count)
        if not killed:
            break
        moments.append(_last_phase(trace))
        count.kills[moments[-1]] = count.kills.get(moments[-1], 0) + 1
        count.damaged += damaged(job, place, expected)
        argv = ("resume",) if job.resumes and rng.random() < 0.5 and _waiting(place) else job.argv
    _finish(job, place, expected, status, count)
    record: dict[str, Any] = {
        "job": job.name,
        "kills": moments,
        "status": status,
        "last": argv[0],
        "output": output[-300:],
    }
    return record | {"kept": count.kept[known:]}


def _last_phase(trace: Path) -> str:
    """The phase that a run was in when it ended; a run goes through others before its first event."""
    lines = traced.read(trace)
    return phase_of(lines[-1]) if lines else "start"


def _output_of(process: subprocess.Popen[str]) -> str:
    """What it printed, of a process that ended."""
    streams = (process.stdout, process.stderr)
    return "".join(stream.read() for stream in streams if stream is not None and not stream.closed)


def _count_steps(job: KillJob, trace: Path, reached: int, count: Count) -> int:
    """How many steps are done by now. reached: that were done before the kill."""
    steps = steps_reached(traced.read(trace))
    if steps is None or not job.counts_steps:
        return reached
    if reached:
        count.kept.append((min(steps[0], reached), reached))
    return steps[1]


def _waiting(place: Place) -> bool:
    """Whether a job is kept."""
    return any(place.state.glob("jobs/*/job.json"))


def _finish(job: KillJob, place: Place, expected: Whole, status: int, count: Count) -> None:
    """Compare what is there in the end with what a whole run makes."""
    files = made(job, place)
    where = f"{job.name} in {place.folder.name}"
    if status and files != expected.files:
        count.unfinished.append(f"{where}: status {status}")
    elif files != expected.files:
        count.other_frames.append(where)
    own = latents(place)
    both = own.keys() & expected.latents.keys()
    count.compared_latents += len(both)
    count.other_latents += [f"{where} {name}" for name in both if own[name] != expected.latents[name]]
    place.run(("jobs",), None, more=NOW)  # the next command, whatever it is
    working = [name for name in place.files() if job.working and name.startswith(job.working)]
    left = place.leftovers({*expected.files, *job.inputs, *working})
    count.leftovers += [f"{where}: {path}" for path in left if path not in expected.left]
    count.jobs += 1


def left_by_whole_runs(known: dict[str, Whole]) -> Row:
    """What runs leave that nothing disturbed, which says nothing of kills."""
    found = [f"{name}: {', '.join(run.left)}" for name, run in known.items() if run.left]
    return Row("left in the temporary folder by undisturbed runs, too", "", "; ".join(found) or "nothing", None)


def rows(count: Count) -> list[Row]:
    """What was measured so far."""
    kept = statistics.fmean(kept / done for kept, done in count.kept) if count.kept else 0.0
    of_all = f"{sum(kept for kept, _ in count.kept)} of {sum(done for _, done in count.kept)} steps"
    by_phase = ", ".join(f"{name} {number}" for name, number in count.kills.items())

    def none(what: str, found: list[str]) -> Row:
        return Row(what, "0", f"{len(found)} {'; '.join(found[:3])}".strip()[:300], not found)

    same = f"{len(count.other_latents)} of {count.compared_latents} differ {'; '.join(count.other_latents[:2])}"
    return [
        Row(
            "SIGKILLs at random moments",
            f">= {WANTED}",
            f"{count.all_kills} of {count.jobs} jobs ({by_phase})",
            count.all_kills >= WANTED,
        ),
        none("damaged or half files under final names", count.damaged),
        none("leftovers after the next command", count.leftovers),
        none("killed jobs that could not be brought to their end", count.unfinished),
        none("killed jobs whose frames differ from an undisturbed run's", count.other_frames),
        Row("latents that differ from an undisturbed run's", "0", same.strip(), not count.other_latents),
        Row(
            "steps done before a kill that are not done again",
            f">= {KEPT:.0%}",
            f"{kept:.1%} on average of {len(count.kept)} kills; {of_all}",
            bool(count.kept) and kept >= KEPT,
        ),
    ]


def measure(settings: Settings) -> Iterator[Row]:
    """Jobs by turns, until there are enough kills or the time is over."""
    rng, began, count = settings.random, time.monotonic(), Count()
    wanted = [job for job in jobs() if settings.wants(job.name)]
    known: dict[str, Whole] = {}
    while count.all_kills < WANTED and time.monotonic() - began < settings.seconds:
        job = wanted[count.jobs % len(wanted)]
        if job.name not in known:
            known[job.name] = whole(job, Place(settings.folder / f"whole-{job.name}"))
        place = Place(settings.folder / f"{count.jobs:04d}-{job.name}")
        before = len(count.damaged) + len(count.leftovers) + len(count.unfinished) + len(count.other_frames)
        settings.log("kills", chain(job, place, known[job.name], rng, count))
        after = len(count.damaged) + len(count.leftovers) + len(count.unfinished) + len(count.other_frames)
        if after == before:
            shutil.rmtree(place.folder)
        if count.jobs % ROW_EVERY == 0:
            yield from (*rows(count), left_by_whole_runs(known))
    yield from (*rows(count), left_by_whole_runs(known))
