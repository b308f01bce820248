"""Paints every film of a request, keeps a job of those that take long, and reports each film as it is done."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from sora.cli import dry_run, signals, streams
from sora.cli.commands import ConsoleOptions
from sora.cli.progress import Clock, note, print_path, progress
from sora.cli.warning_notes import as_notes
from sora.errors import OutOfMemory, SomeFailed, SoraError, UsageError
from sora.jobs import advice, drift, journal, replay
from sora.jobs import job as jobs
from sora.jobs.delivery import STANDARD_OUTPUT, Delivery
from sora.jobs.job import Job
from sora.jobs.journal import Journal
from sora.jobs.resolve import ResolvedRequest
from sora.jobs.session import Session
from sora.jobs.variants import Variant
from sora.media import target
from sora.media.drift import Drift
from sora.plan.geometry import wxh
from sora.storage import staging

JOURNAL_AFTER = "SORA_JOURNAL_AFTER"  # the environment variable for other seconds than ``journal.AFTER``
MEMORY_FULL = "this machine's memory is full; try a smaller --size or fewer --frames"


@dataclass(frozen=True)
class FilmToPaint:
    """One film of a request. number: counted from 1. label: before what the bar shows."""

    number: int
    variant: Variant
    path: str
    label: str


def paint(
    resolved: ResolvedRequest,
    delivery: Delivery,
    console: ConsoleOptions,
    session: Session,
    clock: Clock,
    label: str = "",
    job: Job | None = None,
) -> None:
    """Paint every film of a request, or say what would be. label: before what the bar shows. job: to go on with; None
    looks for one that the same command began. Raises SomeFailed where some of several films failed."""
    clock.lap("start")
    _check(console)
    if console.dry_run:
        dry_run.report(resolved, as_json=console.as_json)
        return
    staging.sweep()  # here too, since a film that is found finished stages nothing
    with _job_of(resolved, delivery, console, job) as (found, lock, resolved):
        announce(resolved, console)
        if memory_plan := session.prepare(resolved):
            note(memory_plan, console.quiet)
        for line in session.notes:
            note(line, console.quiet)
        resolved = replace(resolved, notes=(*resolved.notes, *session.notes))
        clock.lap("load")
        kept = Journal(
            resolved,
            delivery,
            session.machine(),
            _options(console),
            found,
            lock,
            key=found.record.key if found else "",
            progress=found.progress if found else jobs.Progress(),
        )
        _announce_job(kept, console)
        with _closing(kept, console), as_notes(label, console.quiet):
            _paint_films(kept, console, session, clock, label)


@contextmanager
def _job_of(
    resolved: ResolvedRequest, delivery: Delivery, console: ConsoleOptions, job: Job | None
) -> Iterator[tuple[Job | None, Any, ResolvedRequest]]:
    """(the job to go on with, its lock, its request); None and the request as it stands where there is none."""
    same = job is None  # the command itself is here again
    if same and not console.no_journal:
        job = jobs.unfinished(jobs.key_of(resolved, delivery))
    if job is None:
        yield None, None, resolved
        return
    with job.locked() as lock:
        if not same:
            yield job, lock, resolved
            return
        try:
            as_begun, _ = job.resolve(delivery)
        except SoraError as error:
            note(f"job {job.id} cannot be gone on with, and the work begins anew: {error}", console.quiet)
        else:
            yield job, lock, as_begun
            return
    yield None, None, resolved


def _options(console: ConsoleOptions) -> journal.Options:
    after = float("inf") if console.no_journal else _journal_after()
    return journal.Options(after, console.stop_after, signals.requested, lambda line: note(line, console.quiet))


def _journal_after() -> float:
    """Raises UsageError."""
    text = os.environ.get(JOURNAL_AFTER) or str(journal.AFTER)
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{JOURNAL_AFTER} is {text!r}; expected seconds, as in {JOURNAL_AFTER}=30") from None


def _check(console: ConsoleOptions) -> None:
    """Raises UsageError for options that contradict one another, before anything is loaded."""
    if console.no_journal and console.stop_after is not None:
        raise UsageError("--stop-after keeps a job to go on with, and --no-journal keeps none; leave one of them out")
    _journal_after()


def _announce_job(kept: Journal, console: ConsoleOptions) -> None:
    if kept.job is None:
        return
    progress, machine = kept.progress, kept.job.record.machine
    if progress.steps_total:
        at = f"at step {progress.steps_done} of {progress.steps_total}"
        note(f"goes on with job {kept.job.id} {at}", console.quiet)
    now = kept.machine
    names = ("weights", "device", "dtype", "threads", "torch")
    other = [name for name in names if getattr(machine, name) != getattr(now, name)]
    if other:
        note(f"the job began with other {', '.join(other)}; its frames may differ a little", console.quiet)


@contextmanager
def _closing(kept: Journal, console: ConsoleOptions) -> Iterator[None]:
    """Say of a job that ends early how to go on with it."""
    try:
        with signals.end_of_step_first(lambda: note("the step ends first; again stops at once", console.quiet)):
            yield
    except BaseException as error:
        kept.close(error)
        if isinstance(error, journal.Paused):
            note(f"{error}; go on with: sora resume {kept.job.id if kept.job else ''}", console.quiet)
            raise typer.Exit from None
        if kept.job is not None and isinstance(error, SoraError | KeyboardInterrupt):
            error.args = (f"{error}; {_how_to_go_on(kept)}",)
        elif kept.job is not None:
            note(_how_to_go_on(kept), quiet=False)
        raise
    kept.close(None)


def _how_to_go_on(kept: Journal) -> str:
    """For a job that is kept."""
    assert kept.job is not None
    step = f"step {kept.progress.steps_done} of {kept.progress.steps_total} is kept"
    return f"{step}, go on with: sora resume {kept.job.id}"


def _paint_films(kept: Journal, console: ConsoleOptions, session: Session, clock: Clock, label: str) -> None:
    """One after another. One that fails does not stop the rest, but where it is the only one."""
    failed: dict[int, SoraError] = {}
    variants = kept.resolved.variants
    for number, variant in enumerate(variants, start=1):
        kept.progress.film = number
        if (path := _present(kept, number, variant)) is not None:
            kept.film_done(number, path)
            note(f"{label}{path} is there already", console.quiet)
            continue
        try:
            _paint_film(kept, _film(kept, number, variant, label), console, session, clock)
        except (SoraError, MemoryError) as error:
            problem = OutOfMemory(MEMORY_FULL) if isinstance(error, MemoryError) else error
            if len(variants) == 1:
                raise problem from None
            failed[number] = problem
            note(f"{label}file {number}/{len(variants)}: {problem}", console.quiet)
        clock = Clock()
    if failed:
        _report_failures(kept, failed, console)


def _present(kept: Journal, number: int, variant: Variant) -> Path | None:
    """Where a film of several stands that an earlier run of the same command painted."""
    delivery, resolved = kept.delivery, kept.resolved
    if (path := kept.path_of(number)) is not None:
        return path
    if not delivery.is_one_of_several(variant) or delivery.force:
        return None
    path = Path(delivery.path_for(resolved.request, variant))
    return path if replay.holds(path, resolved.request_of(variant)) else None


def _film(kept: Journal, number: int, variant: Variant, label: str) -> FilmToPaint:
    of = f"file {number}/{len(kept.resolved.variants)}: " if len(kept.resolved.variants) > 1 else ""
    return FilmToPaint(number, variant, kept.delivery.path_for(kept.resolved.request, variant), f"{label}{of}")


def _paint_film(kept: Journal, film: FilmToPaint, console: ConsoleOptions, session: Session, clock: Clock) -> None:
    resolved, variant = kept.resolved, film.variant
    force = kept.delivery.force and kept.delivery.output is not None
    kept.film_begins(film.number, film.path)
    clock.lap("start")
    with progress(clock, film.label, console.quiet) as on_event:
        checkpoints = kept.checkpoints(film.number) if kept.may_be_kept else None
        meter = None if console.quiet and not console.as_json else drift.meter_of(resolved.plan)
        options: dict[str, Any] = {"force": force, "keeps_recipe": kept.delivery.recipe, "checkpoints": checkpoints}
        options |= {"meter": meter, "records": not console.no_journal}
        with _place_of(kept, film) as place:
            path = session.write(resolved, variant, place, on_progress=on_event, **options)
    clock.lap("write")
    path = Path(film.path) if kept.delivery.is_piped else path
    kept.film_done(film.number, path)
    found = None if meter is None else meter.drift()
    if console.as_json:
        typer.echo(json.dumps(facts(resolved, variant, path, clock, found)))
    elif not kept.delivery.is_piped:
        print_path(path)
    note(summary(resolved, variant, path, clock.total), console.quiet or console.as_json)
    if found is not None and (line := drift.summary(found)):
        note(f"drift: {line}", console.quiet or console.as_json)
    if (reason := signals.requested()) is not None and film.number < len(resolved.variants):
        raise reason


@contextmanager
def _place_of(kept: Journal, film: FilmToPaint) -> Iterator[str]:
    """Where a film is written. One for standard output is sent there once it is complete and was looked at."""
    if not kept.delivery.is_piped:
        yield film.path
        return
    suffix = kept.delivery.kind(kept.resolved.request)
    with target.staged(Path(tempfile.gettempdir()) / f"film{suffix}") as folder:
        file = folder / f"film{suffix}"
        yield str(file)
        assert isinstance(sys.stdout, streams.Aside)
        sys.stdout.send(file)


def _report_failures(kept: Journal, failed: dict[int, SoraError], console: ConsoleOptions) -> None:
    """A table of what failed. Raises SomeFailed."""
    total = len(kept.resolved.variants)
    note(f"{total} films: {total - len(failed)} painted, {len(failed)} failed", console.quiet)
    for number, error in failed.items():
        note(f"{number:>{len(str(total))}}  failed  {error}", console.quiet)
    message = f"{len(failed)} of {total} films failed"
    raise SomeFailed(f"{message}; run the same command again to paint what is missing")


def announce(resolved: ResolvedRequest, console: ConsoleOptions) -> None:
    """What a person did not say and will want to know."""
    if resolved.request.seed is None:
        note(f"seed {resolved.variants[0].seed}", console.quiet)
    if resolved.size != resolved.model_size:
        then = "refined" if resolved.request.refine else "fitted"
        note(f"painted at {wxh(resolved.model_size)}, then {then} to {wxh(resolved.size)}", console.quiet)
    for line in (*resolved.notes, *advice.note_lines(resolved.variants)):
        note(line, console.quiet)


def summary(resolved: ResolvedRequest, variant: Variant, path: Path, seconds: float) -> str:
    """What was made, in a line: "a.mp4: 2.1 s, 256x256, 33 frames at 16 fps, painted in 3.4 s (seed 7)". seconds: that
    it took."""
    frames, fps = resolved.plan.film_frames, resolved.plan.film_fps
    parts = [wxh(resolved.size)]
    if resolved.request.verb != "image":
        parts = [f"{frames / fps:.1f} s", *parts, f"{frames} frames at {fps:g} fps"]
    name = "standard output" if str(path) == STANDARD_OUTPUT else path
    return f"{name}: {', '.join(parts)}, painted in {seconds:.1f} s (seed {variant.seed})"


def facts(
    resolved: ResolvedRequest, variant: Variant, path: Path, clock: Clock, found: Drift | None = None
) -> dict[str, Any]:
    """One file's line of ``--json``. size: [width, height] in pixels. seconds: by phase. drift: None for a film of one
    window."""
    return {
        "path": str(path),
        "prompt": variant.prompt,
        "seed": variant.seed,
        "model": resolved.spec.name,
        "size": [resolved.size[1], resolved.size[0]],
        "frames": resolved.plan.film_frames,
        "fps": resolved.plan.film_fps,
        "notes": [*resolved.notes, *variant.notes],
        "drift": None if found is None else drift.to_data(found, resolved.plan.film_fps),
        "seconds": clock.summary(),
    }
