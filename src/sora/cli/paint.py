"""From a wish to files: check all of it, load the model, paint every take. Heavy imports stand where first needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sora import __version__
from sora.cli import again
from sora.cli.job import Job, resolve, target
from sora.cli.request import Take, Wish
from sora.cli.screen import Clock, Listener, note, progress
from sora.cli.shape import wxh

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sora.engine import Settings
    from sora.families import Model


def perform(wish: Wish, commands: again.Commands) -> None:
    """Check everything, load the model, paint every take; a path (or JSON) on stdout for each file as it is done."""
    job = resolve(wish)
    job.plan(job.takes[0])  # what the verb itself refuses, before a model is loaded
    announce(wish, job)
    model, number_format = load(wish, job)
    for take in job.takes:
        clock = Clock()
        recipe_json = recipe(wish, job, take, model, number_format, commands)
        path = make(wish, job, take, model, recipe_json, clock)
        typer.echo(json.dumps(facts(job, take, path, clock)) if wish.as_json else str(path))


def announce(wish: Wish, job: Job) -> None:
    """What a person did not say and will want to know."""
    if wish.seed is None:
        note(f"seed {job.takes[0].seed}", wish.quiet)
    if job.size != job.painted:
        brought = "refined" if wish.refine else "fitted"
        note(f"painted at {wxh(job.painted)}, then {brought} to {wxh(job.size)}", wish.quiet)
    for line in job.notes:
        note(line, wish.quiet)


def load(wish: Wish, job: Job) -> tuple[Model, torch.dtype]:
    """The model, ready; words it never learnt are named once. This is where torch is first imported."""
    from sora import families, placement

    device = placement.choose_device(wish.device.value if wish.device else None)
    number_format = placement.choose_dtype(wish.dtype.value if wish.dtype else None, device)
    model = families.load(job.spec, device, number_format)
    for lora in job.loras:
        families.hang(model, lora.path, lora.strength)
    texts = dict.fromkeys(text for take in job.takes for text in take.texts)
    unknown = dict.fromkeys(word for text in texts for word in model.unknown_words(text))
    if unknown:
        note(
            f"{job.spec.name} does not know: {', '.join(unknown)}. It paints a small cartoon world;"
            " open weights (--model) follow any prompt.",
            wish.quiet,
        )
    return model, number_format


def make(wish: Wish, job: Job, take: Take, model: Model, recipe_json: str, clock: Clock) -> Path:
    """Paint one take and say where it stands. Nothing is left there when it does not finish."""
    from sora import engine, media

    settings = engine.Settings(take.seed, job.steps, job.guidance, job.shift, job.step, job.negative)
    label = f"file {take.number}/{len(job.takes)}: " if take.number else ""
    overwrite = wish.force and wish.output is not None
    with (
        progress(clock, label, wish.quiet) as hear,
        media.writer(target(wish, take), job.fps, job.size, recipe_json, overwrite, sounds=job.sounds) as file,
    ):
        for frames_FCYX in painted(wish, job, take, model, settings, hear):
            file.write(frames_FCYX.permute(0, 2, 3, 1).numpy())
    clock.lap("write")
    return file.path  # not always the target: a name that was taken meanwhile is left alone


def painted(wish: Wish, job: Job, take: Take, model: Model, settings: Settings, hear: Listener) -> Iterator[Tensor]:
    """The film's frames as uint8 (F, 3, Y, X) chunks; a picture with ``--refine`` in all its detail."""
    from sora import engine

    if not wish.refine:
        yield from engine.paint(model, job.plan(take), settings, hear)
        return
    from sora import operations, refine

    form = job.spec.form(job.painted, job.fps, draft=wish.draft)
    (small_FCYX,) = engine.paint(model, operations.image(take.prompt, form=form), settings, hear)
    yield refine.refined(model, small_FCYX, job.size, take.prompt, settings, wish.refine, hear)


def recipe(wish: Wish, job: Job, take: Take, model: Model, number_format: torch.dtype, commands: again.Commands) -> str:
    """Everything needed to make this file again, as JSON."""
    import torch

    from sora import weights
    from sora.recipe import Recipe, digest_of, sha256_of

    argv = again.spelled(wish, job, take, commands)
    made = Recipe(
        sora=__version__,
        verb=argv[0],
        prompt=take.prompt,
        negative=job.negative,
        model=job.spec.name,
        weights=sha256_of(weights.asset(job.spec.files[0])),
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
    )
    return made.to_json()


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
        "seconds": clock.rounded(),
    }
