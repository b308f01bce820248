"""``sora train``: flags in, a TrainJob out, all of it checked in milliseconds. ``training_run`` carries it out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from sora import catalog
from sora.cli import options as o
from sora.cli.train_job import DEFAULT_STEPS, TrainJob
from sora.errors import InputError, UsageError
from sora.plan import prompts
from sora.plan.geometry import Size
from sora.plan.request import within
from sora.runtime import threads

MAX_STEPS = 1_000_000
RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 512),
    "alpha": (0.01, 10_000),
    "learning_rate": (1e-8, 1),
    "batch_size": (1, 256),
    "seed": (0, 2**31 - 1),
    "caption_dropout": (0, 1),
    "save_every": (1, MAX_STEPS),
    "steps": (1, MAX_STEPS),
    "minutes": (0.01, 60 * 24 * 30),
}

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Clips and pictures. The words of clip.mp4 stand in clip.txt beside it, or are its name.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The LoRA to write, .safetensors.")]
Rank = Annotated[int, typer.Option(help="How much it can hold; larger files learn more, and more by heart.")]
Alpha = Annotated[
    float | None, typer.Option(help="Scale of what is learnt, over the rank.", show_default="the rank, a scale of 1")
]
Steps = Annotated[int | None, typer.Option(help="How long to train.", show_default=str(DEFAULT_STEPS))]
Minutes = Annotated[float | None, typer.Option(help="How long to train, instead of --steps.", show_default=False)]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", "--rate", help="Learning rate.", show_default="what suits the model's width"),
]
BatchSize = Annotated[int, typer.Option("--batch-size", "--batch", help="Examples a step.")]
Seed = Annotated[int, typer.Option(help="Same seed, same machine, same LoRA.")]
CaptionDropout = Annotated[
    float,
    typer.Option(
        "--caption-dropout", "--caption-drop", help="Share of the examples shown without their caption, for guidance."
    ),
]
SaveEvery = Annotated[
    int | None,
    typer.Option(
        *("--save-every", "--every"),
        metavar="STEPS",
        help="How often to save, and to paint the previews.",
        show_default="four times in all",
    ),
]
Preview = Annotated[
    list[str] | None,
    typer.Option(metavar="PROMPT", help="What to paint along the way; may be said again.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier training of this --out stood.")]


def train(
    folder: Folder,
    out: Out,
    model: o.ModelName = None,
    rank: Rank = 16,
    alpha: Alpha = None,
    steps: Steps = None,
    minutes: Minutes = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 2,
    size: o.Size = None,
    aspect: o.Aspect = None,
    seed: Seed = 0,
    caption_dropout: CaptionDropout = 0.1,
    save_every: SaveEvery = None,
    preview: Preview = None,
    resume: Resume = False,
    device: o.DeviceName = None,
    dtype: o.DtypeName = None,
    force: o.Force = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Teach a model a subject or a style of your own: a LoRA, from a folder of clips and pictures with their words.
    Paint with it by --lora FILE."""
    from sora.finetune import dataset

    threads.wait_passively(os.environ, threads.BUSY_CORES)  # it runs for long, and others will want the cores meanwhile
    _check_ranges(rank=rank, alpha=alpha, seed=seed, steps=steps, minutes=minutes, save_every=save_every)
    _check_ranges(learning_rate=learning_rate, batch_size=batch_size, caption_dropout=caption_dropout)
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes both say how long; give one of them")
    spec = catalog.find(model or catalog.DEFAULT).with_guidance()  # distilled weights would forget their few steps
    previews = tuple(prompts.clean(text) for text in preview or ())
    _check_target(out, force or resume)
    job = TrainJob(
        spec=spec,
        materials=dataset.find_clips(folder),
        out=out,
        settings={"rank": rank, "alpha": alpha or rank, "learning_rate": learning_rate, "batch_size": batch_size}
        | {"caption_dropout": caption_dropout, "seed": seed, "shift": spec.defaults.shift},
        size=_size(size, aspect, spec),
        steps=steps,
        minutes=minutes,
        save_every=save_every,
        previews=previews,
        resume=resume,
        device=device,
        dtype=dtype,
        quiet=quiet,
    )
    if resume and not job.state_file.is_file():
        raise UsageError(f"there is no training in {job.folder} to go on from; leave --resume out to begin one")
    from sora.cli import training_run  # torch comes with it

    result = training_run.run(job)
    typer.echo(json.dumps(result) if as_json else result["path"])


def _check_ranges(**numbers: float | None) -> None:
    """Raises UsageError for a number outside its flag's range; None is not given."""
    for name, value in numbers.items():
        within("--" + name.replace("_", "-"), value, *RANGES[name])


def _size(size: str | None, aspect: str | None, spec: catalog.ModelSpec) -> Size | None:
    """The size on the model's grid that was asked for; None is each clip's own shape."""
    if size is None and aspect is None:
        return None
    return spec.model_size(spec.film_size(size, aspect))


def _check_target(out: Path, replace: bool) -> None:
    """Refuses, before any work, a file that could not be written."""
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out} is of another kind; a LoRA's name ends in .safetensors")
    if out.exists() and (out.is_dir() or not replace):
        raise UsageError(f"{out} exists already; add --force to replace it, --resume to go on, or choose another name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"cannot write into {out.parent}: there is no such folder; create it")
