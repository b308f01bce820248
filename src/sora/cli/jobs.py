"""``sora jobs``: what is being painted, what waits to be gone on with, and what was finished."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from sora.catalog import hub
from sora.cli import decode
from sora.cli import options as o
from sora.cli.help_pages import Command, Group
from sora.cli.info import print_facts
from sora.cli.progress import note, print_path
from sora.errors import UsageError, printable
from sora.jobs import job as jobs
from sora.jobs.job import FINISHED, RUNNING, Job
from sora.storage import staging

app = typer.Typer(cls=Group, invoke_without_command=True, rich_markup_mode=None, add_completion=False)

SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@app.callback()
def list_jobs(ctx: typer.Context, as_json: o.AsJson = False) -> None:
    """List what is being painted and what waits, show one, remove them. Without a command, list them."""
    if ctx.invoked_subcommand is not None:
        return
    staging.sweep()
    found = jobs.every()
    if as_json:
        for job in found:
            typer.echo(json.dumps(facts(job)))
        return
    if not found:
        note("no jobs; paintings that take over 30 s leave one, so that they can be gone on with", quiet=False)
    for job in found:
        typer.echo(_row(job))


@app.command(cls=Command)
def show(
    job: o.JobName = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Write a film of what a paused job looks like so far.")
    ] = False,
    output: o.Output = None,
    as_json: o.AsJson = False,
) -> None:
    """Show what a job is and how far it came."""
    found = jobs.find(job, jobs.last)
    if preview:
        print_path(decode.write(found, output, "preview", film=found.progress.film))
        return
    if as_json:
        typer.echo(json.dumps(facts(found)))
        return
    print_facts({name: value for name, value in facts(found).items() if value not in (None, "", [], {})})


@app.command(cls=Command)
def rm(names: Annotated[list[str], typer.Argument(metavar="JOB...", help="Their names.", show_default=False)]) -> None:
    """Remove jobs. Films that they finished stay."""
    for found in [jobs.find(name, jobs.last) for name in names]:
        size = found.bytes
        found.remove()
        note(f"{found.id} is removed; {hub.gigabytes(size)} are free", quiet=False)


@app.command(cls=Command)
def clean(
    older: Annotated[
        str, typer.Option("--older", metavar="AGE", help="Only those begun so long ago: 30m, 12h, 7d, 2w.")
    ] = "0m",
    every: Annotated[bool, typer.Option("--all", help="Unfinished jobs, too.")] = False,
) -> None:
    """Remove finished jobs, and with --all or --older those that wait."""
    age = _seconds(older)
    removed, size = 0, 0
    for job in jobs.every():
        wanted = every or age > 0 or job.progress.state == FINISHED
        if wanted and not job.is_running and time.time() - job.record.created >= age:
            size += job.bytes
            job.remove()
            removed += 1
    note(f"{removed} jobs are removed; {hub.gigabytes(size)} are free", quiet=False)


def facts(job: Job) -> dict[str, Any]:
    """What there is to know of a job, as ``--json`` prints it."""
    p, record = job.progress, job.record
    return {
        "id": job.id,
        "state": state_of(job),
        "created": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds"),
        "steps_done": p.steps_done,
        "steps_total": p.steps_total,
        "film": p.film,
        "films": record.films,
        "window": p.canvas,
        "windows": record.canvases,
        "seconds": round(p.seconds, 1),
        "seconds_left": seconds_left(job),
        "bytes": job.bytes,
        "message": p.message,
        "done": p.done,
        "verb": record.request.get("verb"),
        "prompt": _prompt_of(job),
        "model": record.request.get("model"),
        "seed": record.request.get("seed"),
        "output": record.delivery.get("output") or record.delivery.get("folder"),
        "inputs": [path for path, _ in record.inputs],
        "device": record.machine.device,
        "sora": record.sora,
        "folder": str(job.folder),
    }


def _prompt_of(job: Job) -> str | None:
    """The words of a job's first shot."""
    request = job.record.request
    first, *_ = request.get("shots") or [request]
    return first.get("prompt")


def state_of(job: Job) -> str:
    """As a person calls it: a job whose process is gone without a word was killed."""
    if job.is_running:
        return RUNNING
    state = job.progress.state
    return "killed" if state == RUNNING else state


def seconds_left(job: Job) -> float | None:
    """That the rest takes if it goes on as it did; None where nobody knows yet."""
    p = job.progress
    if p.state == FINISHED:
        return 0.0
    if not p.steps_done or not p.steps_total:
        return None
    return round(p.seconds / p.steps_done * (p.steps_total - p.steps_done), 1)


def _row(job: Job) -> str:
    p, left = job.progress, seconds_left(job)
    share = f"{100 * p.steps_done // p.steps_total} %" if p.steps_total else "0 %"
    rest = "" if not left else f"{_span(left)} left"
    words = _prompt_of(job) or str(job.record.request.get("verb"))
    shown = printable(words if len(words) <= 40 else f"{words[:37]}...")
    return f"{job.id}  {state_of(job):<8}  {share:>5}  {rest:<12}  {hub.gigabytes(job.bytes):>8}  {shown}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _seconds(age: str) -> float:
    """Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", age.strip())
    if match is None:
        raise UsageError(f"--older {age!r} is no age; expected a number and m, h, d or w, as in 7d")
    return float(match[1]) * SECONDS[match[2]]
