"""A film out of what a job has kept of it: its latents decoded again, the part that is there, or a preview."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from sora import media
from sora.engine.checkpoint import Checkpoint, NoCheckpoint
from sora.engine.resizing import resize
from sora.errors import InputError
from sora.jobs import checkpoints, paint
from sora.jobs.delivery import provenance_of
from sora.jobs.job import Extent, Job
from sora.jobs.paint import Listener, Loaded
from sora.jobs.resolve import ResolvedRequest
from sora.plan.geometry import Size


class NotPainted(Exception):
    """A canvas of which nothing is kept that could be decoded."""


class KeptCanvas(NoCheckpoint):
    """The ``Checkpoint`` of a canvas that is decoded and never painted. unfinished: whether a state between two steps
    serves, too, as the sampler predicts its end."""

    def __init__(self, folder: Path, *, unfinished: bool) -> None:
        self._folder, self._unfinished = folder, unfinished

    def latents(self) -> Tensor | None:
        """Raises NotPainted."""
        finished = checkpoints.read_latents(self._folder)
        if finished is None and self._unfinished and (state := checkpoints.read_state(self._folder)) is not None:
            finished = state.denoised
        if finished is None:
            raise NotPainted
        return finished


def write(
    job: Job,
    film: int,
    resolved: ResolvedRequest,
    loaded: Loaded,
    path: str,
    *,
    size: Size | None,
    extent: Extent,
    force: bool,
    on_event: Listener,
) -> Path:
    """Decode a film of a job into a file and return where that stands. film: counted from 1. size: (height, width) of
    the file, None for the film's own. extent: how much of it. Raises InputError where there is nothing to decode."""
    plan = resolved.plan
    size = size or plan.format.size
    if extent == "preview":
        resolved = replace(resolved, request=msgspec.structs.replace(resolved.request, refine=None))
    variant = resolved.variants[film - 1]
    keeps_recipe = extent == "whole" and job.delivery.recipe
    recipe = paint.recipe_of(resolved, variant, loaded).to_json() if keeps_recipe else ""
    options: dict[str, Any] = {"sounds": resolved.sounds, "provenance": provenance_of(resolved.source_type)}

    def checkpoint(name: str) -> Checkpoint:
        return KeptCanvas(job.film_folder(film) / name, unfinished=extent == "preview")

    frames = paint.frames_of(resolved, variant, loaded.model, on_event, checkpoint)
    with media.writer(path, plan.film_fps, size, recipe, force, **options) as file:
        for frames_FCYX in _until_not_painted(frames, job, extent):
            file.write(_resized(frames_FCYX, size).permute(0, 2, 3, 1).numpy())
        if not file.frames:
            raise InputError(f"job {job.id} has no finished window yet; see `sora jobs show {job.id} --preview`")
    return file.path


def _until_not_painted(frames: Iterator[Tensor], job: Job, extent: Extent) -> Iterator[Tensor]:
    try:
        yield from frames
    except NotPainted:
        if extent == "whole":
            hint = f"go on with it first: sora resume {job.id}, or take what is there: --part"
            raise InputError(f"job {job.id} is not painted to its end; {hint}") from None


def _resized(frames_FCYX: Tensor, size: Size) -> Tensor:
    if frames_FCYX.shape[-2:] == torch.Size(size):
        return frames_FCYX
    return resize(frames_FCYX.float(), size).round().clamp(0, 255).to(torch.uint8)
