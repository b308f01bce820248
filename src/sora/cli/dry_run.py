"""``--dry-run``: what a command would paint, what is still to fetch, and what it takes of memory and time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import typer

from sora import memory, models, weights
from sora.catalog import hub
from sora.cli import duration
from sora.errors import OutOfMemory, printable
from sora.jobs import advice, forecast, gpus, room
from sora.jobs.forecast import Forecast
from sora.jobs.resolve import ResolvedRequest
from sora.memory import MemoryPlan
from sora.plan.geometry import wxh
from sora.runtime import threads


def report(resolved: ResolvedRequest, *, as_json: bool) -> None:
    """On stdout, one line a fact, or one object with ``--json``."""
    watch = threads.LoadMonitor()
    planned = _memory_plan(resolved)
    known_facts = facts(resolved, planned)
    expected_seconds = expected(resolved, planned, busy_cores=watch.other_load())
    notes = [*resolved.notes, *advice.note_lines(resolved.variants)]
    if as_json:
        typer.echo(json.dumps(known_facts | {"seconds": duration.facts(expected_seconds), "notes": notes}))
        return
    if expected_seconds is not None:
        known_facts["time"] = duration.line(expected_seconds)
    width = max(map(len, known_facts))
    for name, value in known_facts.items():
        typer.echo(f"{name.ljust(width)}  {printable(str(value))}")
    for line in notes:
        typer.echo(f"{'note'.ljust(width)}  {printable(line)}")


@dataclass(frozen=True)
class PlannedMemory:
    """What a run would do about memory. plan: None for a model that is always in memory whole, and where none fits.
    line: what it would say, empty for such a model."""

    plan: MemoryPlan | None
    line: str
    fits: bool = True


def facts(resolved: ResolvedRequest, planned: PlannedMemory | None = None) -> dict[str, Any]:
    """What is known before anything is loaded. planned: None to find that out."""
    spec, plan, request = resolved.spec, resolved.plan, resolved.request
    shape_FYX, _ = resolved.largest_canvas
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
    memory_line = (planned or _memory_plan(resolved)).line
    return result | ({"memory": memory_line} if memory_line else {})


def _memory_plan(resolved: ResolvedRequest) -> PlannedMemory:
    request, (shape_FYX, known) = resolved.request, resolved.largest_canvas
    options: dict[str, Any] = {"encodes": known, "references": resolved.pictures, "forced": request.memory}
    options |= {"processes": request.gpus or 1, "guided": gpus.is_guided(resolved), "speed": resolved.speed}
    device = memory.choose_device(request.device)
    gpus.check(resolved, device)
    dtype = memory.choose_dtype(request.dtype, device)
    try:
        plan, line = models.preview_memory_plan(resolved.spec, shape_FYX, device, dtype, **options)
    except OutOfMemory as error:
        return PlannedMemory(None, str(error), fits=False)
    return PlannedMemory(plan, line.removeprefix("memory: "))


def expected(
    resolved: ResolvedRequest, planned: PlannedMemory | None = None, *, busy_cores: float = 0.0
) -> Forecast | None:
    """How long it will take here; None where that is not known, and where it does not fit in memory. planned: None to
    find that out. busy_cores: that other programs use."""
    planned = planned or _memory_plan(resolved)
    return forecast.of(resolved, planned.plan, busy_cores=busy_cores) if planned.fits else None
