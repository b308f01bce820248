"""``--dry-run``: what a command would paint, what is still to fetch, and what it takes of memory."""

from __future__ import annotations

import json
from typing import Any

import typer

from sora import memory, models, weights
from sora.catalog import hub
from sora.errors import OutOfMemory, printable
from sora.jobs import advice, room
from sora.jobs.resolve import ResolvedRequest
from sora.models import parallel
from sora.plan.geometry import wxh


def report(resolved: ResolvedRequest, *, as_json: bool) -> None:
    """On stdout, one line a fact, or one object with ``--json``."""
    known_facts = facts(resolved)
    notes = [*resolved.notes, *advice.note_lines(resolved.variants)]
    if as_json:
        typer.echo(json.dumps(known_facts | {"notes": notes}))
        return
    width = max(map(len, known_facts))
    for name, value in known_facts.items():
        typer.echo(f"{name.ljust(width)}  {printable(str(value))}")
    for line in notes:
        typer.echo(f"{'note'.ljust(width)}  {printable(line)}")


def facts(resolved: ResolvedRequest) -> dict[str, Any]:
    """What is known before anything is loaded."""
    spec, plan, request = resolved.spec, resolved.plan, resolved.request
    shape_FYX, known = resolved.largest_canvas
    _, length, height, width = spec.grid.latent_shape(*shape_FYX)
    length += resolved.pictures  # each is sampled along
    if spec.repo or spec.folder:
        local = hub.local_copy(spec)
        fetch = "nothing" if local.state == hub.COMPLETE else hub.gigabytes(max(0, spec.bytes - local.bytes))
    else:
        fetch = "nothing" if weights.embedded(spec.files) else "missing; reinstall sora"
    passes = 1 if request.guidance == 1 else 2
    result: dict[str, Any] = {
        "model": spec.name,
        "to fetch": fetch,
        "files": len(resolved.variants),
        "film": f"{plan.film_frames} frames of {wxh(resolved.size)} at {plan.film_fps:g} fps",
        "painted at": wxh(resolved.model_size) + ("" if plan.retiming is None else f", {plan.format.fps:g} fps"),
        "windows": f"{len(plan.windows)} of up to {shape_FYX[0]} frames",
        "tokens": length * (height // spec.grid.patch) * (width // spec.grid.patch),
        "sampling": f"{request.steps} steps of {request.sampler}, {passes} passes each",
    }
    result["frames in memory"] = room.summary(resolved)
    memory_line = _memory_line(resolved, shape_FYX, known)
    return result | ({"memory": memory_line} if memory_line else {})


def _memory_line(resolved: ResolvedRequest, shape_FYX: tuple[int, int, int], known: bool) -> str:
    """What a run would say of its memory plan; empty for models that are always in memory."""
    request, shown = resolved.request, resolved.pictures
    options: dict[str, Any] = {"encodes": known, "references": shown, "forced": request.memory}
    options |= {"processes": request.gpus or 1}
    device = memory.choose_device(request.device)
    named, guided = request.device is not None, request.guidance != 1
    parallel.check(resolved.spec, request.gpus or 1, device, named=named, guided=guided)
    dtype = memory.choose_dtype(request.dtype, device)
    try:
        line = models.preview_memory_plan(resolved.spec, shape_FYX, device, dtype, **options)
    except OutOfMemory as error:
        return str(error)
    return line.removeprefix("memory: ")
