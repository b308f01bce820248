"""A recipe as a command line: how a file's whole command is written down, and how it is read and run again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sora import catalog, weights
from sora.cli.request import Take, Wish
from sora.errors import InputError, UsageError
from sora.plan import prompts
from sora.plan.recipe import Recipe, digest_of, sha256_of
from sora.runtime import threads

if TYPE_CHECKING:
    from sora.cli.job import Job

Commands = Mapping[str, Any]  # by name, as typer holds them; their class's home differs between versions of typer

# Flags that say nothing about the frames.
ELSEWHERE = {"output", "force", "as_json", "quiet", "count", "anyway", "threads"}
# A flag on the left takes the place of those on the right, which say the same thing otherwise.
RIVALS = {
    "--aspect": ("--size",),
    "--seconds": ("--frames",),
    "--region": ("--mask",),
    "--mask": ("--region",),
    "--then": ("--then",),
    "--lora": ("--lora",),
}


def spelled(wish: Wish, job: Job, take: Take, commands: Commands) -> tuple[str, ...]:
    """The command that makes this one file: the verb, every flag that bears on the frames, then what stands without
    a flag. Paths are absolute, alternatives chosen."""
    words = [prompts.escaped(text) for text in take.shots]
    values = asdict(wish) | job.said | {"seed": take.seed, "prompt": words[0], "then": words[1:]}
    verb = wish.verb
    if wish.draft_file is not None:
        verb, values["strength"] = "finish", wish.draft_strength
    options: list[str] = []
    places: list[str] = []
    for parameter in commands[verb].params:
        value = values.get(parameter.name)
        if parameter.name in ELSEWHERE or value is None or value is False or value in ("", [], ()):
            continue
        texts = [_text(v) for v in value] if isinstance(value, list) else [_text(value)]
        if parameter.param_type_name == "argument":
            places += texts
        elif value is True:
            options.append(parameter.opts[0])
        else:
            options += [part for text in texts for part in (parameter.opts[0], text)]
    return verb, *options, "--", *places


def _text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value.absolute())
    if value == "-":  # the words "-", where a bare one would ask for standard input
        return " -"
    return str(value.value if isinstance(value, Enum) else value)


def recipe_of(file: Path) -> Recipe:
    """The recipe inside a file, whose inputs are what they were. Raises InputError."""
    from sora import media

    text = media.read_recipe(file)
    if text is None:
        raise InputError(f"{file} holds no recipe; expected a file that sora painted (see `sora info`)")
    recipe = Recipe.from_json(text)
    for path, digest in recipe.inputs:
        if not Path(path).exists():
            raise InputError(f"{file} was made from {path}, which is gone; put it back")
        if digest_of(path) != digest:
            raise InputError(f"{file} was made from {path}, which has changed since; put the old one back")
    return recipe


def changes_since(recipe: Recipe) -> list[str]:
    """What has changed since a recipe was written, of what decides about pixels; the machine is not asked."""
    from importlib.metadata import version

    found = ["torch"] if version("torch") != recipe.torch else []
    spec = catalog.MODELS.get(recipe.model)
    if spec is not None and not spec.repo:
        own = {sha256_of(weights.asset(each.files[0])) for each in (spec, spec.with_guidance())}
        found += [] if recipe.weights in own else ["weights"]
    return found


def threads_of(recipe: Recipe) -> tuple[int | None, str]:
    """(how many threads to paint with again, None where that is free; what a person should know of it, if anything)."""
    if recipe.device != "cpu" or recipe.threads < 1:
        return None, ""
    most = threads.most(os.environ)
    if recipe.threads <= most:
        return recipe.threads, ""
    return None, f"was painted by {recipe.threads} threads, and there are {most} here; the frames may differ a little"


def command_of(file: Path, recipe: Recipe) -> tuple[str, ...]:
    """The command line a recipe holds, or stands for where it is older than command lines. Raises InputError."""
    if recipe.argv:
        return recipe.argv
    if recipe.verb not in ("generate", "image"):
        held = f"it was {recipe.verb} {recipe.prompt!r} with --seed {recipe.seed} --steps {recipe.steps}"
        raise InputError(f"the recipe of {file} is of an older sora and holds no command; {held}, run that yourself")
    flags: dict[str, object] = {
        "--seed": recipe.seed,
        "--steps": recipe.steps,
        "--guidance": recipe.guidance,
        "--negative": recipe.negative,
        "--shift": recipe.shift,
        "--sampler": recipe.step,
        "--model": recipe.model,
        "--size": "{}x{}".format(*recipe.size),
    }
    if recipe.verb == "generate":
        flags |= {"--frames": recipe.frames, "--fps": recipe.fps}
    options = [part for flag, value in flags.items() if value != "" for part in (flag, str(value))]
    return recipe.verb, *options, "--", prompts.escaped(recipe.prompt)


def without(argv: Sequence[str], *flags: str) -> list[str]:
    """A command line as ``spelled`` writes it, without the flags and their values."""
    at = argv.index("--")
    kept: list[str] = []
    parts = iter(range(at))
    for i in parts:
        if argv[i] not in flags:
            kept.append(argv[i])
        elif i + 1 < at and not argv[i].endswith("draft"):
            next(parts)
    return [*kept, *argv[at:]]


def changed(argv: Sequence[str], extra: Sequence[str]) -> list[str]:
    """A command line with more flags, which win over those that are there."""
    said = {part.split("=")[0] for part in extra}
    kept = without(argv, *(rival for flag in said for rival in RIVALS.get(flag, ())))
    at = kept.index("--")
    return [*kept[:at], *extra, *kept[at:]]


def wished(ctx: Any, argv: Sequence[str]) -> Wish:
    """What a command line asks for, read by the command itself. ctx: of the command that is running."""
    verb, *arguments = argv
    command = ctx.parent.command.commands.get(verb)
    if command is None:
        raise InputError(f"the recipe is of `sora {verb}`, which this sora does not have; upgrade sora")
    with command.make_context(verb, arguments, parent=ctx.parent) as own:
        wish = command.invoke(own)
    if not isinstance(wish, Wish):
        raise UsageError(f"`sora {verb}` paints nothing that could be painted again")
    return wish
