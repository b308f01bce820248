"""``--dry-run``: what a command would paint, what is still to fetch, and what it takes of memory."""

from __future__ import annotations

import json
from typing import Any

import typer

from sora import memory, models, weights
from sora.catalog import hub
from sora.errors import OutOfMemory
from sora.jobs import advice
from sora.jobs.resolve import ResolvedRequest
from sora.plan.geometry import wxh


def say(resolved: ResolvedRequest, *, as_json: bool) -> None:
    """On stdout, one line a fact, or one object with ``--json``."""
    told = facts(resolved)
    notes = [*resolved.notes, *advice.lines(resolved.variants)]
    if as_json:
        typer.echo(json.dumps(told | {"notes": notes}))
        return
    width = max(map(len, told))
    for name, value in told.items():
        typer.echo(f"{name.ljust(width)}  {value}")
    for line in notes:
        typer.echo(f"{'note'.ljust(width)}  {line}")


def facts(resolved: ResolvedRequest) -> dict[str, Any]:
    """What is known before anything is loaded."""
    spec, plan, request = resolved.spec, resolved.plan, resolved.request
    shape_FYX, known = resolved.largest
    _, *latents = spec.grid.latent_shape(*shape_FYX)
    if spec.repo or spec.folder:
        here = hub.here(spec)
        fetch = "nothing" if here.state == hub.COMPLETE else hub.gigabytes(max(0, spec.bytes - here.bytes))
    else:
        fetch = "nothing" if weights.embedded(spec.files) else "missing; reinstall sora"
    passes = 1 if request.guidance == 1 else 2
    told: dict[str, Any] = {
        "model": spec.name,
        "to fetch": fetch,
        "files": len(resolved.variants),
        "film": f"{plan.frames} frames of {wxh(resolved.size)} at {plan.format.fps:g} fps",
        "painted at": wxh(resolved.painted),
        "windows": f"{len(plan.windows)} of up to {shape_FYX[0]} frames",
        "tokens": latents[0] * (latents[1] // spec.grid.patch) * (latents[2] // spec.grid.patch),
        "sampling": f"{request.steps} steps of {request.sampler}, {passes} passes each",
    }
    planned = _memory(resolved, shape_FYX, known)
    return told | ({"memory": planned} if planned else {})


def _memory(resolved: ResolvedRequest, shape_FYX: tuple[int, int, int], known: bool) -> str:
    """What a run would say of its memory plan; empty for models that are always in memory."""
    request, forced = resolved.request, resolved.request.memory
    device = memory.choose_device(request.device)
    number = memory.choose_dtype(request.dtype, device)
    try:
        line = models.preview_memory_plan(resolved.spec, shape_FYX, device, number, encodes=known, forced=forced)
    except OutOfMemory as error:
        return str(error)
    return line.removeprefix("memory: ")
