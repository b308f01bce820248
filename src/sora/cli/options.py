"""Options as typer reads them: those of a request, made of its fields, and those of the command line alone."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sora.cli.help_pages import MAX_NAME_WIDTH
from sora.cli.panels import panel_of
from sora.plan import options as plan
from sora.plan.request import OLD_NAMES, RequestField, fields
from sora.plan.verbs import Verb


def typer_option(field: RequestField) -> Any:
    """A field's flag, as typer reads it."""
    help, metavar = field.help, field.metavar or METAVARS.get(field.kind)
    if field.choices:
        metavar = "|".join(field.choices)
        if len(metavar) > MAX_METAVAR or len(f"{field.flag} {metavar}") > MAX_NAME_WIDTH:
            metavar, help = field.metavar or field.name.upper(), f"{help.rstrip('.')}: {_listed(field.choices)}."
    settings: dict[str, Any] = {"metavar": metavar} if metavar else {}
    panel = panel_of(field.name)
    names = ("/".join(field.flags),) if field.flag_for_no else field.flags
    return typer.Option(*names, help=help, show_default=field.default_text, rich_help_panel=panel, **settings)


def _listed(choices: Sequence[str]) -> str:
    """Choices in a row, those that begin alike in one: "pan-left|right, static"."""
    found: list[str] = []
    for stem, group in groupby(choices, lambda choice: choice.partition("-")[0]):
        ends = [choice.partition("-")[2] for choice in group]
        found.append(f"{stem}-{'|'.join(ends)}" if any(ends) else stem)
    return ", ".join(found)


METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}
MAX_METAVAR = 15  # characters of choices that stand behind their flag; longer lists stand in the help


def _output(*flags: str, **settings: Any) -> Any:
    """An option of the panel about what is written."""
    return typer.Option(*flags, rich_help_panel="Output", **settings)


ModelName = Annotated[str | None, typer_option(fields()["model"])]
Size = Annotated[str | None, typer_option(fields()["size"])]
Aspect = Annotated[str | None, typer_option(fields()["aspect"])]
DeviceName = Annotated[plan.DeviceName | None, typer_option(fields()["device"])]
DtypeName = Annotated[plan.DtypeName | None, typer_option(fields()["dtype"])]
Gpus = Annotated[int | None, typer_option(fields()["gpus"])]
MemoryPlanName = Annotated[str | None, typer_option(fields()["memory"])]
Output = Annotated[
    str | None,  # not a Path, which would drop the slash that says "folder"
    _output(
        *("--output", "-o"),
        metavar="PATH",
        help="File: .mp4 .mkv .gif .webp .png .jpg, folder/, or - for stdout.",
        show_default=False,
    ),
]
Count = Annotated[
    int, _output("--count", "--variants", metavar="N", help="Number of files, 1 to 1000, with seeds counting up.")
]
Anyway = Annotated[
    bool, typer.Option("--anyway", rich_help_panel="Expert", help="Accept a prompt that names nothing the model knows.")
]
PromptFile = Annotated[
    str | None,
    typer.Option(
        *("--file", "-f"),
        metavar="FILE",
        rich_help_panel="What to make",
        help="A film of each line of a text file, into folder -o; - is stdin.",
        show_default=False,
    ),
]
NoRecipe = Annotated[bool, _output("--no-recipe", help="Keep words, names and settings out of the file.")]
Force = Annotated[bool, _output("--force", help="Replace a file that exists.")]
AsJson = Annotated[bool, _output("--json", help="Print facts as JSON, one object a line.")]
DryRun = Annotated[bool, _output("--dry-run", help="Print what would be made, its memory and time; make nothing.")]
Quiet = Annotated[bool, _output("--quiet", "-q", help="Print nothing on stderr but errors.")]
RecipeFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A film or a picture that sora made.", show_default=False)
]
NewPrompt = Annotated[
    str | None,
    typer.Option(
        "--prompt", metavar="TEXT", rich_help_panel="What to make", help="Another prompt.", show_default=False
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        *("--inputs",),
        metavar="PATH",
        rich_help_panel="What to make",
        help="File it was made from, or a folder with them, if moved; repeatable.",
        show_default=False,
    ),
]
IdeasCount = Annotated[int, typer.Option("--count", metavar="N", help="Number of prompts to try, 0 to 1000.")]
IdeasSeed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Same seed, same prompts.", show_default="random")
]
Model = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A model's name, a path, or ORG/REPO[:FILE] of the hub.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

NoJournal = Annotated[bool, typer.Option("--no-journal", rich_help_panel="Expert", help="Keep nothing to go on from.")]
StopAfter = Annotated[
    int | None,
    typer.Option(
        "--stop-after",
        metavar="N",
        min=1,
        rich_help_panel="Expert",
        help="Pause after N sampling steps; `sora resume` goes on.",
        show_default=False,
    ),
]

JobName = Annotated[
    str | None, typer.Argument(metavar="JOB", help="Its name (default: the last one).", show_default=False)
]

DELIVERY_OPTIONS: dict[str, tuple[Any, Any]] = {
    "output": (Output, None),
    "count": (Count, 1),
    "anyway": (Anyway, False),
    "dry_run": (DryRun, False),
    "force": (Force, False),
    "no_recipe": (NoRecipe, False),
    "as_json": (AsJson, False),
    "quiet": (Quiet, False),
    "no_journal": (NoJournal, False),
    "stop_after": (StopAfter, None),
}
"""What a command that paints takes besides its request: (annotation, default) by name."""


def option_of(field: RequestField) -> Any:
    """The annotation of a field that has a flag."""
    return Annotated[_value_type(field), typer_option(field)]


def _old_option(field: RequestField) -> Any:
    """The annotation of the flag that a field had in earlier versions, which the help does not show."""
    return Annotated[_value_type(field), typer.Option(*field.old_flags, hidden=True)]


def argument_of(field: RequestField, *, required: bool) -> Any:
    """The annotation of a field that stands without a flag."""
    metavar = field.metavar or field.name.upper()
    argument = typer.Argument(metavar=metavar, help=field.help, show_default=False)
    return Annotated[str if required else str | None, argument]


def _value_type(field: RequestField) -> Any:
    """The type of a flag's value, as typer reads it."""
    if field.kind is bool:
        return bool | None if field.flag_for_no else bool
    kind: Any = Literal[field.choices] if field.choices else list[str] if field.is_list else field.kind
    return kind | None


def parameters(verb: Verb, extra: dict[str, tuple[Any, Any]]) -> list[inspect.Parameter]:
    """A command's parameters: the fields of a verb, then ``extra`` ones, (annotation, default) by name."""
    result = [parameter(name, argument_of(verb.field(name), required=True), ...) for name in verb.required]
    result += [parameter(name, argument_of(verb.field(name), required=False), None) for name in verb.optional]
    result += [parameter(name, option_of(verb.field(name)), _default(fields()[name])) for name in verb.options]
    old = [name for name in verb.options if name in OLD_NAMES]
    result += [parameter(OLD_NAMES[name], _old_option(fields()[name]), None) for name in old]
    return result + [parameter(name, *row) for name, row in extra.items()]


def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """default: ``...`` for a parameter that must be given."""
    settings: dict[str, Any] = {} if default is ... else {"default": default}
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **settings)


def _default(field: RequestField) -> Any:
    return False if field.kind is bool and not field.flag_for_no else None


def values_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """What typer read, as a request's fields hold it; options that were not given are left out.

    A flag that an earlier version had counts as the present one; values of a list given by both are joined.
    """
    values: dict[str, Any] = {}
    new_names = {old: new for new, old in OLD_NAMES.items()}
    for name, value in arguments.items():
        name = new_names.get(name, name)
        says_no = name in fields() and fields()[name].flag_for_no
        if value is None or value == [] or (value is False and not says_no):
            continue
        values[name] = (*values.get(name, ()), *value) if isinstance(value, list) else value
    return values
