"""Help pages: what ``--help`` and ``sora help`` print, in panels of aligned rows. Plain text: rich's boxes would cost
0.1 s on every ``--help``, and half of the lines."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sora.cli.reference import CommandHelp, describe

MAX_NAME_WIDTH = 26  # columns of the left side; a longer name stands on a line of its own
INDENT = "  "
TYPED = "sora.typed"  # where a context keeps its command's own words


def page(command: CommandHelp, width: int) -> str:
    """All of a help page, in lines of at most ``width`` columns."""
    lines = [f"Usage: {command.usage}", ""]
    for paragraph in command.help.split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), width), ""]
    names = [len(_short(row.name)) for row in command.rows]
    name_width = max((length for length in names if length <= MAX_NAME_WIDTH), default=0)
    panels = {row.panel for row in command.rows}
    # What a command makes is said by its arguments first, so they need no heading of their own.
    headings = {"Arguments": "What to make"} if "What to make" in panels else {}
    for panel, rows in groupby(command.rows, key=lambda row: headings.get(row.panel, row.panel)):
        lines.append(f"{panel}:")
        for row in rows:
            lines += _row(_short(row.name), row.help, name_width, width)
        lines.append("")
    if command.examples:
        lines += ["Examples:", *(f"{INDENT}{example}" for example in command.examples)]
    if command.note:
        lines += ["", *textwrap.wrap(" ".join(command.note.split()), width)]
    return "\n".join(lines).rstrip() + "\n"


def _short(name: str) -> str:
    """A flag and the one that says no in one, as Git writes them: ``--[no-]deinterlace``."""
    return re.sub(r"^--([\w-]+) / --no-\1$", r"--[no-]\1", name)


def _row(name: str, text: str, name_width: int, width: int) -> Iterator[str]:
    margin = " " * (len(INDENT) + name_width + 2)
    wrapped = textwrap.wrap(text, max(20, width - len(margin)), break_on_hyphens=False) or [""]
    if len(name) > name_width:
        yield f"{INDENT}{name}"
    else:
        yield f"{INDENT}{name.ljust(name_width)}  {wrapped.pop(0)}".rstrip()
    yield from (margin + line for line in wrapped)


def _write(command: Any, context: Any, formatter: Any) -> None:
    formatter.write(page(describe(command, context), formatter.width))


class Command(TyperCommand):
    """A command whose help is a page of panels, and whose errors know the words that were typed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands whose help is a page of panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)
