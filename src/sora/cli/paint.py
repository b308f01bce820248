"""The commands that paint: ``generate``, ``image``, ``img2vid``. Heavy imports stand where they are first needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sora import __version__
from sora.cli import options as o
from sora.cli.request import Job, Take, Wish, resolve
from sora.cli.screen import Clock, note, progress
from sora.errors import UsageError

if TYPE_CHECKING:
    import torch

    from sora.canvas import Plan
    from sora.families import Model

LONGEST_SLUG = 60  # characters; file systems allow 255 bytes
STILLS = (".png", ".jpg", ".jpeg")


def generate(
    prompt: o.Prompt,
    output: o.Output = None,
    aspect: o.Aspect = None,
    size: o.Size = None,
    seconds: o.Seconds = None,
    frames: o.Frames = None,
    fps: o.Fps = None,
    seed: o.Seed = None,
    steps: o.Steps = None,
    guidance: o.Guidance = None,
    negative: o.Negative = "",
    model: o.ModelName = "mini",
    device: o.DeviceName = None,
    dtype: o.DtypeName = None,
    shift: o.Shift = None,
    sampler: o.SamplerName = None,
    count: o.Count = 1,
    force: o.Force = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Paint a film from words."""
    perform(Wish("generate", **locals()))  # a command's parameters are the fields of Wish, by name


def image(
    prompt: o.Prompt,
    output: o.Output = None,
    aspect: o.Aspect = None,
    size: o.Size = None,
    seed: o.Seed = None,
    steps: o.Steps = None,
    guidance: o.Guidance = None,
    negative: o.Negative = "",
    model: o.ModelName = "mini",
    device: o.DeviceName = None,
    dtype: o.DtypeName = None,
    shift: o.Shift = None,
    sampler: o.SamplerName = None,
    count: o.Count = 1,
    force: o.Force = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Paint one picture from words."""
    perform(Wish("image", **locals()))


def img2vid(
    picture: o.Picture,
    prompt: o.OptionalPrompt = None,
    output: o.Output = None,
    aspect: o.Aspect = None,
    size: o.Size = None,
    seconds: o.Seconds = None,
    frames: o.Frames = None,
    fps: o.Fps = None,
    seed: o.Seed = None,
    steps: o.Steps = None,
    guidance: o.Guidance = None,
    negative: o.Negative = "",
    model: o.ModelName = "mini",
    device: o.DeviceName = None,
    dtype: o.DtypeName = None,
    shift: o.Shift = None,
    sampler: o.SamplerName = None,
    count: o.Count = 1,
    force: o.Force = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Set a picture in motion. It becomes the first frame, and its shape the film's."""
    perform(Wish("img2vid", **locals()))


def perform(wish: Wish) -> None:
    """Check everything, load the model, paint every take; a path (or JSON) on stdout for each file as it is done."""
    job = resolve(wish)
    for take in job.takes:
        check(target(wish, take), wish, job)
    announce(wish, job)
    model, number_format = load(wish, job)
    for take in job.takes:
        clock = Clock()
        path = make(wish, job, take, model, number_format, clock)
        typer.echo(json.dumps(facts(job, take, path, clock)) if wish.as_json else str(path))


def check(path: str, wish: Wish, job: Job) -> None:
    """Refuses a place or a kind of file that could not take this film. Raises UsageError and InputError."""
    from sora import media

    media.check_target(path, wish.force)
    media.check_size(path, job.size, job.fps)
    if job.frames > 1 and Path(path).suffix.lower() in STILLS and not path.endswith("/"):
        hint = "end -o in .mp4, .gif, .webp, .mkv, or in / for a folder of PNGs"
        raise UsageError(f"{path} holds one frame, and the film has {job.frames}; {hint}, or use `sora image`")


def target(wish: Wish, take: Take) -> str:
    """Where a take goes. A name of our own making is one that nothing has at this moment."""
    number = "" if take.number is None else f"-{take.number}"
    if wish.output is None:
        from sora import media

        stem = slug(take.prompt) or (slug(wish.picture.stem) if wish.picture else "") or wish.verb
        return str(media.unique_path(Path(), stem + number, ".png" if wish.verb == "image" else ".mp4"))
    path = Path(wish.output)
    if not number or not path.name:
        return wish.output
    slash = "/" if wish.output.endswith("/") else ""
    return f"{path.with_name(f'{path.stem}{number}{path.suffix}')}{slash}"


def slug(text: str) -> str:
    """'A red balloon!' -> 'a-red-balloon': letters and digits of any script, whole words, not too many."""
    words = re.findall(r"[^\W_]+", text.lower())
    kept = ""
    for word in words:
        if len(kept) + 1 + len(word) > LONGEST_SLUG:
            break
        kept = f"{kept}-{word}" if kept else word
    return kept or "".join(words)[:LONGEST_SLUG]


def announce(wish: Wish, job: Job) -> None:
    """What a person did not say and will want to know."""
    if wish.seed is None:
        note(f"seed {job.takes[0].seed}", wish.quiet)
    if job.size != job.painted:
        note(f"painted at {_wxh(job.painted)}, then fitted to {_wxh(job.size)}", wish.quiet)


def load(wish: Wish, job: Job) -> tuple[Model, torch.dtype]:
    """The model, ready; words it never learnt are named once. This is where torch is first imported."""
    from sora import families, placement

    device = placement.choose_device(wish.device.value if wish.device else None)
    number_format = placement.choose_dtype(wish.dtype.value if wish.dtype else None, device)
    model = families.load(job.spec, device, number_format)
    unknown = dict.fromkeys(
        w for prompt in dict.fromkeys(t.prompt for t in job.takes) for w in model.unknown_words(prompt)
    )
    if unknown:
        note(
            f"{job.spec.name} does not know: {', '.join(unknown)}. It paints a small cartoon world;"
            " open weights (--model) follow any prompt.",
            wish.quiet,
        )
    return model, number_format


def make(wish: Wish, job: Job, take: Take, model: Model, number_format: torch.dtype, clock: Clock) -> Path:
    """Paint one take and say where it stands. Nothing is left there when it does not finish."""
    from sora import engine, media

    settings = engine.Settings(take.seed, job.steps, job.guidance, job.shift, job.step, job.negative)
    label = f"{take.number}/{len(job.takes)} " if take.number else ""
    recipe_json = recipe(wish, job, take, model, number_format)
    overwrite = wish.force and wish.output is not None
    with (
        progress(clock, label, wish.quiet) as hear,
        media.writer(target(wish, take), job.fps, job.size, recipe_json, overwrite) as file,
    ):
        for frames_FCYX in engine.paint(model, plan(wish, job, take), settings, hear):
            file.write(frames_FCYX.permute(0, 2, 3, 1).numpy())
    clock.lap("write")
    return file.path  # not always the target: a name that was taken meanwhile is left alone


def plan(wish: Wish, job: Job, take: Take) -> Plan:
    """What to paint for a take."""
    from sora import operations
    from sora.clip import fit

    form = job.spec.form(job.size, job.fps)
    if wish.verb == "image":
        return operations.image(take.prompt, form=form)
    if job.picture_YXC is not None:
        return operations.img2vid(fit(job.picture_YXC, *job.size), take.prompt, frames=job.frames, form=form)
    return operations.generate((take.prompt,), frames=job.frames, form=form)


def recipe(wish: Wish, job: Job, take: Take, model: Model, number_format: torch.dtype) -> str:
    """Everything needed to make this file again, as JSON."""
    import torch

    from sora import weights
    from sora.recipe import Recipe, sha256_of

    made = Recipe(
        sora=__version__,
        verb=wish.verb,
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
        inputs=() if wish.picture is None else ((str(wish.picture), sha256_of(wish.picture)),),
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


def _wxh(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
