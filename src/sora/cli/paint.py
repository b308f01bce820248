"""From a wish to files: check all of it, load the model, paint every take. Heavy imports stand where first needed."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sora import __version__
from sora.cli import advice, again, dry, profile
from sora.cli.job import Job, resolve, target
from sora.cli.request import Take, Wish
from sora.cli.screen import Clock, Listener, note, progress
from sora.cli.shape import wxh
from sora.errors import UsageError
from sora.runtime import threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sora.catalog.spec import ModelSpec
    from sora.engine.engine import Settings
    from sora.engine.model import Model


def perform(wish: Wish, commands: again.Commands) -> None:
    """Check everything, load the model, paint every take; a path (or JSON) on stdout for each file as it is done."""
    clock, watch = Clock(), threads.Watch()
    with _nothing_is_garbage():
        job = resolve(wish)
        threads.wait_passively(os.environ, watch.others())
        clock.lap("start")
        job.plan(job.takes[0])  # what the verb itself refuses, before a model is loaded; imports torch
        if wish.dry_run:
            dry.say(wish, job)
            return
        announce(wish, job)
        spread(wish, watch)
        with profile.named("load"):
            model, number_format = load(wish, job)
        clock.lap("load")
    for take in job.takes:
        recipe_json = recipe(wish, job, take, model, number_format, commands)
        clock.lap("start")
        path = make(wish, job, take, model, recipe_json, clock)
        typer.echo(json.dumps(facts(job, take, path, clock)) if wish.as_json else str(path))
        clock = Clock()


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """While modules and weights come into memory, nothing leaves it; to look for garbage meanwhile is lost time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def announce(wish: Wish, job: Job) -> None:
    """What a person did not say and will want to know."""
    if wish.seed is None:
        note(f"seed {job.takes[0].seed}", wish.quiet)
    if job.size != job.painted:
        brought = "refined" if wish.refine else "fitted"
        note(f"painted at {wxh(job.painted)}, then {brought} to {wxh(job.size)}", wish.quiet)
    for line in (*job.notes, *advice.lines(job.takes)):
        note(line, wish.quiet)


def spread(wish: Wish, watch: threads.Watch) -> None:
    """Sets how many threads torch paints with."""
    import torch

    default = torch.get_num_threads()
    wanted = threads.count(wish.threads, watch.others(), default)
    if wanted != default:
        torch.set_num_threads(wanted)


def load(wish: Wish, job: Job) -> tuple[Model, torch.dtype]:
    """The model, ready. This is where torch is first imported."""
    from sora import memory, models

    device = memory.choose_device(wish.device.value if wish.device else None)
    number_format = memory.choose_dtype(wish.dtype.value if wish.dtype else None, device)
    model = models.load(job.spec, device, number_format, job.speed)
    arrange(wish, job, model)
    for lora in job.loras:
        models.add_lora(model, lora.path, lora.strength)
    return model, number_format


def arrange(wish: Wish, job: Job, model: Model) -> None:
    """What is in memory when, for models that may be too large for it."""
    from sora.engine.model import Arranged

    if not isinstance(model, Arranged):
        if wish.memory is not None:
            raise UsageError(f"--memory is for open weights; {job.spec.name} is small and always in memory")
        return
    shape_FYX, known = dry.largest(job)
    note(model.arrange(shape_FYX, encodes=known, forced=wish.memory), wish.quiet)


def make(wish: Wish, job: Job, take: Take, model: Model, recipe_json: str, clock: Clock) -> Path:
    """Paint one take and say where it stands. Nothing is left there when it does not finish."""
    from sora import media

    overlap = job.speed.uses("overlap")
    settings = replace(job.settings(take), overlap=overlap)
    label = f"file {take.number}/{len(job.takes)}: " if take.number else ""
    overwrite = wish.force and wish.output is not None
    place, sounds = target(wish, take), job.sounds
    with progress(clock, label, wish.quiet) as hear, ExitStack() as written:
        opened = media.writer(place, job.fps, job.size, recipe_json, overwrite, sounds=sounds, overlap=overlap)
        file = written.enter_context(opened)
        for frames_FCYX in painted(wish, job, take, model, settings, hear):
            file.write(frames_FCYX.permute(0, 2, 3, 1).numpy())
        with profile.named("write"):
            written.close()
    clock.lap("write")
    return file.path  # not always the target: a name that was taken meanwhile is left alone


def painted(wish: Wish, job: Job, take: Take, model: Model, settings: Settings, hear: Listener) -> Iterator[Tensor]:
    """The film's frames as uint8 (F, 3, Y, X) chunks; a picture with ``--refine`` in all its detail."""
    from sora.engine import engine

    if not wish.refine:
        yield from engine.paint(model, job.plan(take), settings, hear)
        return
    from sora.engine import upscale
    from sora.plan import operations

    form = job.spec.form(job.painted, job.fps, draft=wish.draft)
    (small_FCYX,) = engine.paint(model, operations.image(take.prompt, form=form), settings, hear)
    yield upscale.refined(model, small_FCYX, job.size, take.prompt, settings, wish.refine, hear)


def recipe(wish: Wish, job: Job, take: Take, model: Model, number_format: torch.dtype, commands: again.Commands) -> str:
    """Everything needed to make this file again, as JSON."""
    import torch

    from sora.plan.recipe import Recipe, digest_of

    argv = again.spelled(wish, job, take, commands)
    made = Recipe(
        sora=__version__,
        verb=argv[0],
        prompt=take.prompt,
        negative=job.negative,
        model=job.spec.name,
        weights=identity(job.spec),
        seed=take.seed,
        steps=job.steps,
        guidance=job.guidance,
        shift=job.shift,
        step=job.step,
        frames=job.frames,
        fps=job.fps,
        painted=(job.painted[1], job.painted[0]),
        size=(job.size[1], job.size[0]),
        device=model.device.type,
        dtype=str(number_format).removeprefix("torch."),
        torch=torch.__version__,
        inputs=tuple((str(file.absolute()), digest_of(file)) for file in job.files),
        argv=argv,
        threads=torch.get_num_threads(),
    )
    return made.to_json()


def identity(spec: ModelSpec) -> str:
    """Which weights painted: the sha256 of a file of the package's, the hub's repository and commit, or the sha256 of
    what the files of a folder say they hold, since to read them all takes longer than to paint."""
    from sora import weights
    from sora.catalog import hub
    from sora.plan.recipe import sha256_of

    if spec.folder is not None:
        return weights.fingerprint(spec.folder)
    return f"{spec.repo}@{hub.path(spec).name}" if spec.repo else sha256_of(weights.asset(spec.files[0]))


def facts(job: Job, take: Take, path: Path, clock: Clock) -> dict[str, Any]:
    """One file's line of ``--json``. size: [width, height] in pixels. seconds: by phase."""
    return {
        "path": str(path),
        "prompt": take.prompt,
        "seed": take.seed,
        "model": job.spec.name,
        "size": [job.size[1], job.size[0]],
        "frames": job.frames,
        "fps": job.fps,
        "notes": [*job.notes, *take.notes],
        "seconds": clock.whole(),
    }
