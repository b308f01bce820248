"""The commands that paint. Each says what is wished for, as a Wish; the group carries it out with ``paint.perform``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import typer

from sora.cli import again
from sora.cli import options as o
from sora.cli.command import DRAFT, LENGTH, PAINTING, PART, RATE, SHAPE, takes
from sora.cli.job import slug
from sora.cli.request import Wish
from sora.cli.screen import note
from sora.errors import InputError, UsageError

FINISHING = 0.6  # strength at which a draft is painted over


@takes(LENGTH, RATE, SHAPE, DRAFT, PAINTING)
def generate(
    prompt: o.Prompt,
    then: o.Then = None,
    transition: o.Cut = None,
    subject: o.Subject = None,
    camera: o.CameraMove = None,
    motion: o.SubjectMove = None,
    **shared: Any,
) -> Wish:
    """Paint a film from words."""
    moves: dict[str, Any] = {"subject": subject, "camera": camera, "motion": motion}
    return Wish("generate", prompt, then=then, transition=transition, **moves, **shared)


@takes(SHAPE, DRAFT, PAINTING)
def image(prompt: o.Prompt, refine: o.Refine = None, camera: o.CameraMove = None, **shared: Any) -> Wish:
    """Paint one picture from words."""
    return Wish("image", prompt, refine=refine, camera=camera, **shared)


@takes(LENGTH, RATE, SHAPE, DRAFT, PAINTING)
def img2vid(
    picture: o.Picture,
    prompt: o.OptionalPrompt = None,
    last: o.Last = None,
    camera: o.CameraMove = None,
    motion: o.SubjectMove = None,
    **shared: Any,
) -> Wish:
    """Set a picture in motion. It becomes the first frame, and its shape the film's."""
    return Wish("img2vid", prompt, picture=picture, last=last, camera=camera, motion=motion, **shared)


@takes(LENGTH, PART, DRAFT, PAINTING)
def extend(
    clip: o.Clip,
    prompt: o.OptionalPrompt = None,
    backward: o.Backward = False,
    seconds: o.PaintedSeconds = None,
    camera: o.CameraMove = None,
    motion: o.SubjectMove = None,
    count: o.Variants = 1,
    **shared: Any,
) -> Wish:
    """Go on where a clip ends, or begin before it does. Its own frames stay as they are."""
    moves: dict[str, Any] = {"camera": camera, "motion": motion}
    return Wish("extend", prompt, clip=clip, backward=backward, seconds=seconds, count=count, **moves, **shared)


@takes(LENGTH, RATE, SHAPE, PART, DRAFT, PAINTING)
def loop(
    clip: o.OptionalClip = None, prompt: o.LoopPrompt = None, seconds: o.PaintedSeconds = None, **shared: Any
) -> Wish:
    """Make an endless loop: of a clip, by painting the way back, or of words alone."""
    return Wish("loop", prompt, clip=clip, seconds=seconds, **shared)


@takes(LENGTH, PART, DRAFT, PAINTING)
def bridge(
    clip: o.FirstClip,
    other: o.OtherClip,
    prompt: o.OptionalPrompt = None,
    seconds: o.PaintedSeconds = None,
    other_start: o.OtherStart = None,
    other_end: o.OtherEnd = None,
    **shared: Any,
) -> Wish:
    """Join two clips by painting what lies between them."""
    part: dict[str, Any] = {"other_start": other_start, "other_end": other_end}
    return Wish("bridge", prompt, clip=clip, other=other, seconds=seconds, **part, **shared)


@takes(PART, DRAFT, PAINTING)
def edit(
    clip: o.Clip,
    prompt: o.Prompt,
    strength: o.Strength = None,
    region: o.Region = None,
    mask: o.Mask = None,
    stretch: o.Stretch = None,
    method: o.How = None,
    was: o.Was = None,
    **shared: Any,
) -> Wish:
    """Paint a clip anew: all of it, a region, or a stretch of frames."""
    where: dict[str, Any] = {"region": region, "mask": mask, "stretch": stretch}
    return Wish("edit", prompt, clip=clip, strength=strength, method=method, was=was, **where, **shared)


@takes(SHAPE, PAINTING)
def finish(ctx: typer.Context, draft_file: o.DraftFile, strength: o.FinishStrength = None, **shared: Any) -> Wish:
    """Paint a draft at full size and in all its steps. What its recipe says holds, but for what is said here."""
    argv = again.command_of(draft_file, again.recipe_of(draft_file))
    if "--draft" not in argv[: argv.index("--")]:
        raise InputError(f"{draft_file} is not a draft; expected a file painted with --draft")
    wish = again.wished(ctx, again.without(argv, "--draft", "--steps"))
    said = {name: value for name, value in shared.items() if value is not None}
    if wish.size is None and (shared["size"] or shared["aspect"]):
        raise UsageError(f"{wish.verb} keeps its clip's own size; leave --size and --aspect out")
    if shared["aspect"] and not shared["size"]:
        said["size"] = None
    over = FINISHING if strength is None else strength
    stem = f"{slug(draft_file.stem) or 'film'}-finish"
    suffix = ".png" if wish.verb == "image" else None
    return replace(wish, **said, draft_file=draft_file, draft_strength=over, stem=stem, suffix=suffix)


def remake(ctx: typer.Context, file: o.Painted, prompt: o.OtherPrompt = None) -> Wish:
    """Paint a file again from its recipe. After FILE goes any option of the command that made it: --seed, --size,
    --output and so on; what is not said stays as it was, and without any the frames come out the same."""
    from sora.media import target

    if str(file).startswith("-"):
        raise UsageError(f"{file} stands where the file should; name it first, as in sora remake film.mp4 --seed 5")
    recipe = again.recipe_of(file)
    if changes := again.changes_since(recipe):
        note(f"{file} was made with other {' and '.join(changes)}; the frames will differ", quiet=False)
    wish = again.wished(ctx, again.changed(again.command_of(file, recipe), ctx.args))
    suffix = file.suffix.lower() if file.suffix.lower() in target.SUFFIXES else None
    stem = f"{slug(file.stem) or 'film'}-remake"
    if wish.threads is None:
        count, told = again.threads_of(recipe)
        note(f"{file} {told}", quiet=not told)
        wish = replace(wish, threads=count)
    again_so = replace(wish, stem=stem, suffix=target.FOLDER if file.is_dir() else suffix)
    # What could be painted once can be painted again, whatever its words say.
    return replace(again_so, anyway=True) if prompt is None else replace(again_so, prompt=prompt)
