"""``sora decode``: what a job painted, decoded again; also the part that is finished, and a preview of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sora import media
from sora.cli import options as o
from sora.cli.progress import Clock, note, print_path, progress
from sora.errors import UsageError
from sora.jobs import job as jobs
from sora.jobs.delivery import STANDARD_OUTPUT, InMemory, usual_suffix
from sora.jobs.job import Extent, Job
from sora.jobs.resolve import ResolvedRequest
from sora.jobs.session import Session
from sora.media import target
from sora.plan.geometry import parse_size


def decode(
    job: o.JobName = None,
    output: o.Output = None,
    size: o.Size = None,
    memory: o.MemoryPlanName = None,
    film: Annotated[int, typer.Option("--film", metavar="N", min=1, help="Which of the job's films.")] = 1,
    finished_only: Annotated[
        bool, typer.Option("--part", help="What is finished of a film, as NAME.part.mp4.")
    ] = False,
    force: o.Force = False,
    quiet: o.Quiet = False,
) -> None:
    """Decode what a job painted again, with other settings. Nothing is painted."""
    found = jobs.find(job, jobs.last)
    extent: Extent = "part" if finished_only else "whole"
    print_path(write(found, output, extent, film=film, size=size, memory=memory, force=force, quiet=quiet))


def write(
    job: Job,
    output: str | None,
    extent: Extent,
    *,
    film: int,
    size: str | None = None,
    memory: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Path:
    """Decode a film of a job into a file, whose place is returned. extent: how much of it. Raises UsageError,
    InputError and ModelError."""
    if film > job.record.films:
        raise UsageError(f"job {job.id} has {job.record.films} films; --film {film} is none of them")
    resolved, _ = job.resolve(InMemory(count=job.delivery.count, anyway=True))
    request = msgspec.structs.replace(resolved.request, memory=memory or resolved.request.memory, gpus=None)
    resolved, wanted = replace(resolved, request=request), parse_size(size) if size else None
    if output == STANDARD_OUTPUT:
        raise UsageError("-o - takes a film as it is painted; name a file to decode into")
    path = target.with_ending(output, usual_suffix(request)) if output else _name(job, resolved, film, extent)
    media.check_target(path, force)
    media.check_size(path, wanted or resolved.size, resolved.plan.film_fps)
    session = Session()
    if memory_plan := session.prepare(resolved):
        note(memory_plan, quiet)
    with progress(Clock(), "", quiet) as on_event:
        return session.decode(job, film, resolved, path, size=wanted, extent=extent, force=force, on_progress=on_event)


def _name(job: Job, resolved: ResolvedRequest, film: int, extent: Extent) -> str:
    """A free name in the folder where the film goes: NAME.part.mp4, NAME.preview.mp4, NAME-decoded.mp4."""
    delivery = replace(job.delivery, output=None) if job.delivery.is_piped else job.delivery
    place = Path(delivery.path_for(resolved.request, resolved.variants[film - 1]))
    suffix = place.suffix or ".mp4"
    stem = f"{place.stem}-decoded" if extent == "whole" else f"{place.stem}.{extent}"
    folder = place.parent if place.parent.is_dir() else Path()
    return str(media.unique_path(folder, stem, suffix))
