"""``sora decode``: what a job painted, decoded again; also the part that is finished, and a preview of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sora.cli import options as o


def decode(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Its name (default: the last one).", show_default=False)
    ] = None,
    output: o.Output = None,
    size: o.Size = None,
    memory: o.MemoryPlanName = None,
    film: Annotated[int, typer.Option("--film", metavar="N", min=1, help="Which of the job's films.")] = 1,
    part: Annotated[bool, typer.Option("--part", help="What is finished of a film, as NAME.part.mp4.")] = False,
    force: o.Force = False,
    quiet: o.Quiet = False,
) -> None:
    """Decode what a job painted again, with other settings. Nothing is painted."""
    from sora.jobs import job as jobs
    from sora.jobs.decode import PART, WHOLE

    found = jobs.find(job, default=jobs.last)
    extent = PART if part else WHOLE
    path = _write(found, output, extent, film=film, size=size, memory=memory, force=force, quiet=quiet)
    typer.echo(str(path))


def write_preview(job: Any, output: str | None) -> Path:
    """A film of what a job looks like so far. Raises InputError."""
    from sora.jobs.decode import PREVIEW

    return _write(job, output, PREVIEW, film=job.progress.film)


def _write(
    job: Any,
    output: str | None,
    extent: str,
    *,
    film: int,
    size: str | None = None,
    memory: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Path:
    from dataclasses import replace

    from sora import media
    from sora.cli.progress import Clock, note, progress
    from sora.errors import UsageError
    from sora.jobs.delivery import InMemory
    from sora.jobs.session import Session
    from sora.plan.geometry import parse_size

    if film > job.record.films:
        raise UsageError(f"job {job.id} has {job.record.films} films; --film {film} is none of them")
    resolved, _ = job.resolve(InMemory(count=job.delivery.count, anyway=True))
    request = msgspec.structs.replace(resolved.request, memory=memory or resolved.request.memory)
    resolved, wanted = replace(resolved, request=request), parse_size(size) if size else None
    path = output or _name(job, resolved.request, resolved.variants[film - 1], extent)
    media.check_target(path, force)
    media.check_size(path, wanted or resolved.size, resolved.plan.format.fps)
    session = Session()
    if memory_plan := session.prepare(resolved):
        note(memory_plan, quiet)
    with progress(Clock(), "", quiet) as on_event:
        return session.decode(job, film, resolved, path, size=wanted, extent=extent, force=force, on_progress=on_event)


def _name(job: Any, request: Any, variant: Any, extent: str) -> str:
    """A free name beside where the film goes: NAME.part.mp4, NAME.preview.mp4, NAME-decoded.mp4."""
    from sora import media
    from sora.jobs.decode import WHOLE

    target = Path(job.delivery.path_for(request, variant))
    suffix = target.suffix or ".mp4"
    stem = f"{target.stem}-decoded" if extent == WHOLE else f"{target.stem}.{extent}"
    folder = target.parent if target.parent.is_dir() else Path()
    return str(media.unique_path(folder, stem, suffix))
