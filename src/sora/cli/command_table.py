"""Every command of ``sora``: its place in the help, and how it is built. Only the command that runs is imported and
built, since building all of them took a third of a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command

from sora.cli.help_pages import Command
from sora.plan.verbs import FINISH, VERBS


@dataclass(frozen=True)
class Entry:
    """A command. panel: its heading in ``sora --help``. summary: the first sentence of its own help. build: makes the
    command that typer runs, from its name."""

    panel: str
    summary: str
    build: Callable[[str], Any]


def _painter(name: str) -> Any:
    from sora.cli import commands
    from sora.cli.unquoted import PromptCommand

    # What remake does not know are flags of the command that made the file.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True} if name == "remake" else {}
    has_prompt = name in VERBS and "prompt" in (*VERBS[name].required, *VERBS[name].optional)
    return _built(commands.painter(name), name, settings, PromptCommand if has_prompt else Command)


def _function(name: str) -> Any:
    """The command that is the function of a module of the same name."""
    module = import_module(f"sora.cli.{name}")
    return _built(getattr(module, name), name, {})


def _train(name: str) -> Any:
    from sora.cli import train

    return _built(train.train, name, {}, train.TrainCommand)


def _group(name: str) -> Any:
    return get_command(import_module(f"sora.cli.{name}").app)


def _built(function: Callable[..., Any], name: str, settings: dict[str, Any], kind: type[Command] = Command) -> Any:
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    single.command(name, cls=kind, context_settings=settings)(function)
    return get_command(single)


def _verb(panel: str, name: str) -> Entry:
    return Entry(panel, _first_sentence(VERBS[name].help), _painter)


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."


COMMANDS: dict[str, Entry] = {
    "generate": _verb("Make", "generate"),
    "image": _verb("Make", "image"),
    "img2vid": _verb("Make", "img2vid"),
    "extend": _verb("Change", "extend"),
    "loop": _verb("Change", "loop"),
    "bridge": _verb("Change", "bridge"),
    "edit": _verb("Change", "edit"),
    "finish": Entry("Change", _first_sentence(FINISH.help), _painter),
    "remake": Entry("Change", "Paint a file again from its recipe.", _painter),
    "resume": Entry("Jobs", "Go on with a painting that was stopped.", _function),
    "jobs": Entry("Jobs", "List what is being painted and what waits, show one, remove them.", _group),
    "decode": Entry("Jobs", "Decode what a job painted again, with other settings.", _function),
    "models": Entry("Models", "List the models, show one, fetch, check and remove them.", _group),
    "train": Entry("Models", "Train a LoRA: a subject or a style of your own.", _train),
    "ideas": Entry("Help", "List what can be painted.", _function),
    "info": Entry("Help", "Show what a file holds, and how sora made it.", _function),
    "doctor": Entry("Help", "Check this installation.", _function),
    "help": Entry("Help", "Show the help of a command.", _function),
}
"""Every command, in the order in which the help lists them."""

PAINTERS = (*VERBS, "finish", "remake")
"""Names of the commands that paint."""


class LazyCommands(Mapping[str, Any]):
    """The commands by name, each built when it is first asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = COMMANDS[name].build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)
