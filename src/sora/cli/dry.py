"""``--dry-run``: what a command would paint, what is still to fetch, and what it takes of memory."""

from __future__ import annotations

import json
from typing import Any

import typer

from sora.cli import advice
from sora.cli.job import Job
from sora.cli.request import Wish
from sora.cli.shape import wxh
from sora.errors import OutOfMemory


def largest(job: Job) -> tuple[tuple[int, int, int], bool]:
    """((frames, height, width) of the largest canvas of a job, whether anything in any of them is known)."""
    plan = job.plan(job.takes[0])
    frames = max((window.frames for window in plan.windows), default=1)
    known = bool(plan.placed) or plan.start is not None or len(plan.windows) > 1
    return (frames, *job.painted), known


def say(wish: Wish, job: Job) -> None:
    """On stdout, one line a fact, or one object with ``--json``."""
    told = facts(wish, job)
    notes = [*job.notes, *advice.lines(job.takes)]
    if wish.as_json:
        typer.echo(json.dumps(told | {"notes": notes}))
        return
    width = max(map(len, told))
    for name, value in told.items():
        typer.echo(f"{name.ljust(width)}  {value}")
    for line in notes:
        typer.echo(f"{'note'.ljust(width)}  {line}")


def facts(wish: Wish, job: Job) -> dict[str, Any]:
    """What is known before anything is loaded."""
    from sora import weights
    from sora.catalog import hub

    spec, plan = job.spec, job.plan(job.takes[0])
    shape_FYX, known = largest(job)
    _, *latents = spec.grid.latent_shape(*shape_FYX)
    if spec.repo or spec.folder:
        here = hub.here(spec)
        fetch = "nothing" if here.state == hub.COMPLETE else hub.gigabytes(max(0, spec.bytes - here.bytes))
    else:
        fetch = "nothing" if weights.embedded(spec.files) else "missing; reinstall sora"
    passes = 1 if job.guidance == 1 else 2
    told: dict[str, Any] = {
        "model": spec.name,
        "to fetch": fetch,
        "files": len(job.takes),
        "film": f"{job.frames} frames of {wxh(job.size)} at {job.fps:g} fps",
        "painted at": wxh(job.painted),
        "windows": f"{len(plan.windows)} of up to {shape_FYX[0]} frames",
        "tokens": latents[0] * (latents[1] // spec.grid.patch) * (latents[2] // spec.grid.patch),
        "sampling": f"{job.steps} steps of {job.step}, {passes} passes each",
    }
    planned = _memory(wish, job, shape_FYX, known)
    return told | ({"memory": planned} if planned else {})


def _memory(wish: Wish, job: Job, shape_FYX: tuple[int, int, int], known: bool) -> str:
    from sora import memory, models

    device = memory.choose_device(wish.device.value if wish.device else None)
    number = memory.choose_dtype(wish.dtype.value if wish.dtype else None, device)
    try:
        line = models.memory_plan(job.spec, shape_FYX, device, number, encodes=known, forced=wish.memory)
    except OutOfMemory as error:
        return str(error)
    return line.removeprefix("memory: ")
