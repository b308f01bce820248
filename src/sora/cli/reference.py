"""The help of every command as data, of which ``--help`` and the command reference of the documents are made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer
from typer.main import get_command

from sora.cli.panels import PANELS, examples_of

TRAILER = re.compile(r"\s*\[(?:default: (?P<default>.*?))?(?:; )?(?P<required>required)?\]$", re.DOTALL)
"""What typer appends to an option's help."""

NO = re.compile(r"--(\S+) / --no-\1\b")
"""An option that has a flag for no."""


@dataclass(frozen=True)
class Row:
    """An option, an argument or a command of a group. name: with its short form and what it takes, as in "-o, --output
    PATH". panel: the heading it stands under."""

    name: str
    help: str
    panel: str


@dataclass(frozen=True)
class CommandHelp:
    """What ``--help`` says of a command. name: with the groups it is in, as in "models pull"; empty for ``sora``
    itself. usage: one line, as in "sora info [OPTIONS] FILE". help: paragraphs, with blank lines between them.
    examples: command lines to try. rows: in the order of their panels. note: below all, if any."""

    name: str
    usage: str
    help: str
    rows: tuple[Row, ...]
    examples: tuple[str, ...]
    note: str

    @property
    def summary(self) -> str:
        """The first sentence."""
        return " ".join(self.help.split("\n\n")[0].split()).split(". ")[0].rstrip(".") + "."


def commands(app: typer.Typer) -> list[CommandHelp]:
    """``sora`` itself, then every command that is not hidden, each group before its own commands. app:
    ``sora.cli.app``."""
    group: Any = get_command(app)
    return list(_walk(group, typer.Context(group, info_name="sora", **group.context_settings)))


def _walk(command: Any, context: Any) -> Iterator[CommandHelp]:
    yield describe(command, context)
    for name, each in getattr(command, "commands", {}).items():
        if not each.hidden:
            yield from _walk(each, type(context)(each, parent=context, info_name=name))


def describe(command: Any, context: Any) -> CommandHelp:
    """A command's help. command, context: of typer, whose classes' homes differ between its versions."""
    name = context.command_path.removeprefix("sora").strip()
    order = list(PANELS)
    panels = {getattr(param, "rich_help_panel", None) for param in command.params}
    rest = "Output" if "Output" in panels else "Options"
    found = (*_options(command, context, rest), *_subcommands(command))
    rows = sorted(found, key=lambda row: order.index(row.panel))
    return CommandHelp(
        name=name,
        usage=_usage(command, context),
        help=(command.help or "").strip(),
        rows=tuple(rows),
        examples=examples_of(name),
        note=(command.epilog or "").strip(),
    )


def _usage(command: Any, context: Any) -> str:
    """One line, as in "sora loop [OPTIONS] [CLIP]"."""
    words = [context.command_path, "[OPTIONS]"]
    for param in command.params:
        if param.param_type_name == "argument" and not param.hidden:
            words.append(_argument_name(param) if param.required else f"[{_argument_name(param)}]")
    return " ".join([*words, *(["COMMAND ..."] if hasattr(command, "commands") else [])])


def _argument_name(param: Any) -> str:
    return (param.metavar or param.name).strip("[]{}").upper()


def _options(command: Any, context: Any, rest: str) -> Iterator[Row]:
    """Arguments and options that are not hidden. rest: the panel of options that name none."""
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and param.name != "help":  # whoever reads it has found it
            is_argument = param.param_type_name == "argument"
            panel = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or rest
            name = _argument_name(param) if is_argument else NO.sub(r"--[no-]\1", record[0].strip())
            yield Row(name, _with_default(record[1], is_argument), panel)


def _with_default(text: str, is_argument: bool) -> str:
    """An option's help with its default in brackets: "Sampling steps (default: 30)"."""
    text = " ".join(text.split())
    match = TRAILER.search(text)
    if match is None:
        return text
    default = (match["default"] or "").removeprefix("(").removesuffix(")")
    extra = f"default: {default}" if default else "required" if match["required"] and not is_argument else ""
    text = text[: match.start()].removesuffix(".")
    return f"{text} ({extra})." if extra else f"{text}."


def _subcommands(command: Any) -> Iterator[Row]:
    """The commands of a group, without building them where the group knows their summaries."""
    if summaries := getattr(command, "summaries", None):
        yield from (Row(name, text, panel) for name, (panel, text) in summaries().items())
        return
    for name, each in getattr(command, "commands", {}).items():
        if not each.hidden:
            yield Row(name, f"{(each.help or '').split('. ')[0].strip().rstrip('.')}.", "Commands")
