"""The commands that paint: one for each verb, made of its row, and ``finish`` and ``remake``, which begin with a file's
recipe. Each returns what is asked for; the group carries it out with ``run.perform``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from sora.cli import options as o
from sora.plan.verbs import FINISH, VERBS, Verb, with_prompt_files

Values = dict[str, Any]


@dataclass(frozen=True)
class Console:
    """What a command line says of itself. quiet: nothing on stderr but errors."""

    dry_run: bool = False
    as_json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Asked:
    """A command, as typed. command: its name. values: a request's fields. delivery: fields of ``jobs.Delivery``. file:
    whose recipe is painted again, of prompts for a verb's name. words: flags that follow it."""

    command: str
    values: Values
    delivery: Values
    console: Console
    file: str | None = None
    words: tuple[str, ...] = ()

    @property
    def of_prompt_file(self) -> bool:
        """Whether ``file`` is one of prompts."""
        return self.command in VERBS and self.file is not None


def verb_command(name: str) -> Callable[..., Asked]:
    """The command of a verb, with its row's fields as parameters."""
    row = with_prompt_files(name)

    def command(**given: Any) -> Asked:
        file = given.pop("file", None)
        return _asked(name, given, file)

    beside = o.DELIVERY | ({"file": (o.PromptFile, None)} if row.lines else {})
    return _declared(command, name, row, beside)


def finish_command() -> Callable[..., Asked]:
    """``finish``, whose parameters are a draft and what may be said of it anew."""

    def command(**given: Any) -> Asked:
        file = given.pop("draft_file")
        return _asked("finish", given, file)

    return _declared(command, "finish", FINISH, o.DELIVERY)


def remake(ctx: typer.Context, file: o.Painted, prompt: o.OtherPrompt = None, **given: Any) -> Asked:
    """Paint a file again from its recipe. After FILE goes any option of the command that made it: --seed, --size,
    --output and so on; what is not said stays as it was, and without any the frames come out the same."""
    asked = _asked("remake", {"prompt": prompt, **given}, str(file))
    return Asked(asked.command, asked.values, asked.delivery, asked.console, asked.file, tuple(ctx.args))


def remake_command() -> Callable[..., Asked]:
    """``remake``, with what every command that paints takes beside its request."""
    own = inspect.signature(remake, eval_str=True).parameters
    parameters = [p for p in own.values() if p.kind is not p.VAR_KEYWORD]
    more = [o.parameter(name, *row) for name, row in o.DELIVERY.items()]
    _sign(remake, [*parameters, *more])
    return remake


def _asked(command: str, given: Values, file: str | None) -> Asked:
    console = Console(**{name: given.pop(name) for name in ("dry_run", "as_json", "quiet")})
    delivery = {name: given.pop(name) for name in ("output", "count", "anyway", "force")}
    return Asked(command, o.values_of(given), delivery, console, file)


def _declared(command: Callable[..., Asked], name: str, row: Verb, beside: dict[str, tuple[Any, Any]]) -> Any:
    command.__name__, command.__doc__ = name, row.help
    _sign(command, o.parameters(row, beside))
    return command


def _sign(command: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Gives a function the parameters that typer reads."""
    setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010, a function declares none
    command.__annotations__ = {p.name: p.annotation for p in parameters}


PAINTERS: dict[str, Callable[..., Asked]] = {
    **{name: verb_command(name) for name in VERBS},
    "finish": finish_command(),
}
"""The commands that paint from what is said, by their names."""
