"""The commands that paint: one for each verb, made of its row, and ``finish`` and ``remake``, which begin with a file's
recipe. Each returns what is asked for; the group carries it out with ``run.perform``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any

import typer

from sora.cli import options as o
from sora.plan.verbs import FINISH, VERBS, Verb, with_prompt_files

Values = dict[str, Any]


@dataclass(frozen=True)
class ConsoleOptions:
    """What a command line says of itself. quiet: nothing on stderr but errors. no_journal: keep nothing to go on from.
    stop_after: steps to pause after, None to go on to the end."""

    dry_run: bool = False
    as_json: bool = False
    quiet: bool = False
    no_journal: bool = False
    stop_after: int | None = None


CONSOLE = tuple(field.name for field in fields(ConsoleOptions))


@dataclass(frozen=True)
class Invocation:
    """A command, as typed. command: its name. values: a request's fields. delivery: fields of ``jobs.Delivery``. file:
    whose recipe is painted again, or the file of prompts of a verb. extra_args: options
    that follow it. inputs: where to look for what that file was made from. notes: on how the command was read."""

    command: str
    values: Values
    delivery: Values
    console: ConsoleOptions
    file: str | None = None
    extra_args: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_batch(self) -> bool:
        """Whether ``file`` is one of prompts."""
        return self.command in VERBS and self.file is not None


def verb_command(name: str) -> Callable[..., Invocation]:
    """The command of a verb, with its row's fields as parameters."""
    verb = with_prompt_files(name)

    def command(**given: Any) -> Invocation:
        file = given.pop("file", None)
        return _invocation(name, given, file)

    extra = o.DELIVERY_OPTIONS | ({"file": (o.PromptFile, None)} if verb.reads_prompt_files else {})
    return _with_signature(command, name, verb, extra)


def finish_command() -> Callable[..., Invocation]:
    """The command ``finish``, whose parameters are a draft and the options that may be changed."""

    def command(**given: Any) -> Invocation:
        file = given.pop("draft_file")
        return _invocation("finish", given, file)

    return _with_signature(command, "finish", FINISH, {"inputs": (o.Inputs, None)} | o.DELIVERY_OPTIONS)


def remake(
    ctx: typer.Context,
    file: o.RecipeFile,
    prompt: o.NewPrompt = None,
    inputs: o.Inputs = None,
    **arguments: Any,
) -> Invocation:
    """Paint a file again from its recipe. After FILE goes any option of the command that made it, such as --seed or
    --size; all else stays as it was, and without any the frames come out the same."""
    invocation = _invocation("remake", {"prompt": prompt, "inputs": inputs, **arguments}, str(file))
    return replace(invocation, extra_args=tuple(ctx.args))


def remake_command() -> Callable[..., Invocation]:
    """``remake``, with the delivery options of every command that paints."""

    @wraps(remake)
    def command(**arguments: Any) -> Invocation:
        return remake(**arguments)

    own = inspect.signature(remake, eval_str=True).parameters
    parameters = [p for p in own.values() if p.kind is not p.VAR_KEYWORD]
    more = [o.parameter(name, *row) for name, row in o.DELIVERY_OPTIONS.items()]
    _set_signature(command, [*parameters, *more])
    return command


def _invocation(command: str, arguments: Values, file: str | None) -> Invocation:
    console = ConsoleOptions(**{name: arguments.pop(name) for name in CONSOLE})
    delivery = {name: arguments.pop(name) for name in ("output", "count", "anyway", "force")}
    delivery["recipe"] = not arguments.pop("no_recipe")
    inputs = tuple(arguments.pop("inputs", None) or ())
    return Invocation(command, o.values_of(arguments), delivery, console, file, inputs=inputs)


def _with_signature(
    command: Callable[..., Invocation], name: str, verb: Verb, extra: dict[str, tuple[Any, Any]]
) -> Any:
    command.__name__, command.__doc__ = name, verb.help
    _set_signature(command, o.parameters(verb, extra))
    return command


def _set_signature(command: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Gives a function the parameters that typer reads."""
    setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010, a function declares none
    command.__annotations__ = {p.name: p.annotation for p in parameters}


def painter(name: str) -> Callable[..., Invocation]:
    """The function of a command that paints, with the parameters that typer reads."""
    own = {"finish": finish_command, "remake": remake_command}
    return own[name]() if name in own else verb_command(name)
