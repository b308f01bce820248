"""``sora train``: flags in, a TrainJob out, all of it checked in milliseconds. ``training_run`` carries it out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sora import catalog
from sora.cli import options as o
from sora.cli.help_pages import Command
from sora.cli.progress import note, print_path
from sora.cli.train_job import DEFAULT_STEPS, TrainJob
from sora.errors import InputError, UsageError
from sora.finetune import unfinished
from sora.plan import prompts
from sora.plan.geometry import Size
from sora.plan.request import within
from sora.runtime import threads

if TYPE_CHECKING:
    from sora.finetune.dataset import TrainingClip

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


def _training(*flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Training", **settings)


Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Clips and pictures. The caption of clip.mp4 is the text of clip.txt, or the file's name.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(*("--out", "-o"), metavar="FILE", rich_help_panel="Output", help="The LoRA to write, .safetensors."),
]
Rank = Annotated[
    int, _training(metavar="N", help="Rank, 1 to 512: higher learns more detail, and sooner copies the clips.")
]
Alpha = Annotated[
    float | None,
    _training(metavar="NUMBER", help="Scale of the LoRA is alpha / rank.", show_default="the rank"),
]
Steps = Annotated[int | None, _training(metavar="N", help="Training steps.", show_default=str(DEFAULT_STEPS))]
Minutes = Annotated[
    float | None, _training(metavar="NUMBER", help="Training time, instead of --steps.", show_default=False)
]
LearningRate = Annotated[
    float | None, _training(metavar="NUMBER", help="Learning rate.", show_default="by the model's width")
]
BatchSize = Annotated[int, _training(metavar="N", help="Clips in each step, 1 to 256.")]
Seed = Annotated[int, _training(metavar="N", help="Same seed, same machine, same LoRA.")]
CaptionDropout = Annotated[
    float, _training(metavar="NUMBER", help="Share of clips shown without a caption, 0 to 1; needed for guidance.")
]
SaveEvery = Annotated[
    int | None,
    _training(metavar="N", help="Steps between two saves and previews.", show_default="four times in all"),
]
Preview = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PROMPT",
        rich_help_panel="Output",
        help="Paint this prompt at every save; may be repeated.",
        show_default=False,
    ),
]
Resume = Annotated[bool, _training("--resume", help="Continue an earlier training of the same --out.")]

OLD_FLAGS = {
    "--rate": "--learning-rate",
    "--batch": "--batch-size",
    "--caption-drop": "--caption-dropout",
    "--every": "--save-every",
}
"""Former flags -> present ones."""


class TrainCommand(Command):
    """The command, which takes its former flags, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_present_flag(arg) for arg in args])


def _present_flag(arg: str) -> str:
    """'--rate=1' -> '--learning-rate=1'; any other argument as it is."""
    flag, equals, value = arg.partition("=")
    return f"{OLD_FLAGS.get(flag, flag)}{equals}{value}"


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
    """Train a LoRA: a subject or a style of your own. It learns from a folder of clips and pictures with captions;
    `sora generate --lora FILE` uses it."""
    threads.wait_passively(os.environ, threads.BUSY_CORES)  # it runs for long, and others will want the cores meanwhile
    _check_ranges(rank=rank, alpha=alpha, seed=seed, steps=steps, minutes=minutes, save_every=save_every)
    _check_ranges(learning_rate=learning_rate, batch_size=batch_size, caption_dropout=caption_dropout)
    _check_length(steps, minutes)
    spec = catalog.find(model or catalog.DEFAULT).with_guidance()  # distilled weights would forget their few steps
    previews = tuple(prompts.clean(text) for text in preview or ())
    _check_target(out)
    job = TrainJob(
        spec=spec,
        clips=_clips_in(folder),
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
    _carry_out(job if force and not resume else _continued(job), as_json)


def _clips_in(folder: Path) -> tuple[TrainingClip, ...]:
    from sora.finetune import dataset  # late: it brings the readers of films

    return dataset.find_clips(folder)


def _carry_out(job: TrainJob, as_json: bool) -> None:
    from sora.cli import training_run  # torch comes with it

    result = training_run.run(job)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        print_path(result["path"])


def _check_length(steps: int | None, minutes: float | None) -> None:
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes both say how long; give one of them")


def _check_ranges(**numbers: float | None) -> None:
    """Raises UsageError for a number outside its flag's range; None is not given."""
    for name, value in numbers.items():
        within("--" + name.replace("_", "-"), value, *RANGES[name])


def _size(size: str | None, aspect: str | None, spec: catalog.ModelSpec) -> Size | None:
    """The size on the model's grid that was asked for; None is each clip's own shape."""
    if size is None and aspect is None:
        return None
    return spec.model_size(spec.film_size(size, aspect))


def _continued(job: TrainJob) -> TrainJob:
    """The same job, to go on with where the same command was stopped or killed before its end. Raises UsageError where
    another training is unfinished there, where the file exists, and where there is nothing to ``--resume``."""
    if job.resume:
        if not job.state_file.is_file():
            raise UsageError(f"there is no training in {job.folder} to go on from; leave --resume out to begin one")
        return job
    before = unfinished.settings_in(job.folder) if job.state_file.is_file() else None
    if before is None:
        if job.out.exists():
            hint = "add --force to replace it, --resume to go on, or choose another name"
            raise UsageError(f"{job.out} exists already; {hint}")
        return job
    if change := unfinished.difference(before, job.identity):
        problem = f"{job.folder} holds an unfinished training of other settings ({change})"
        raise UsageError(f"{problem}; --resume goes on from it, --force begins anew")
    note(f"{job.folder} holds an unfinished training of the same settings; --force would begin anew", job.quiet)
    return replace(job, resume=True)


def _check_target(out: Path) -> None:
    """Refuses, before any work, a file that could not be written."""
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out} is of another kind; a LoRA's name ends in .safetensors")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; choose another name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"cannot write into {out.parent}: there is no such folder; create it")
