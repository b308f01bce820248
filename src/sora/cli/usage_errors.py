"""Command lines that cannot be read, in the program's own voice: one line with what is wrong, what was expected and
what to do next, instead of typer's usage box.

The classes of these errors stand in other modules in other versions of typer, so an error is recognised by its
attributes.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import typer

from sora.cli.help_pages import TYPED
from sora.cli.panels import examples_of
from sora.errors import did_you_mean

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base class of every error of typer's parser."""

CHOICE = re.compile(r"(?P<value>'.*?'|\".*?\") is not one of (?P<choices>.*?)\.?$", re.DOTALL)
NUMBERS = {"integer": "a whole number", "number": "a number", "float": "a number"}
"""Words of the parser's complaints -> what the option takes."""


def message(error: Any) -> str:
    """One line for a usage error of typer's."""
    command = error.ctx.command_path if error.ctx is not None else "sora"
    see = f"see `{command} --help`"
    if hasattr(error, "param_type"):
        return _missing(error, command)
    if hasattr(error, "param"):
        return _bad_value(error, see)
    if hasattr(error, "possibilities"):
        return _unknown_flag(error, command, see)
    if hasattr(error, "option_name"):
        return _value_count(error)
    text = error.format_message().strip().rstrip(".")
    if match := re.match(r"No such command '(.*?)'", text, re.DOTALL):
        names = list(getattr(error.ctx.command, "commands", ())) if error.ctx else []
        return f"`{command}` has no command {match[1]!r}; {did_you_mean(match[1], names)}{see}"
    if match := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", text, re.DOTALL):
        return f"unexpected {match[1]!r}; a prompt of several words stands in quotes, and options begin with --; {see}"
    return f"{text[:1].lower()}{text[1:]}; {see}"


def _unknown_flag(error: Any, command: str, see: str) -> str:
    """For a flag that there is not, and for a prompt or a file that only begins like one."""
    option, flags = error.option_name, _flags(error.ctx)
    word = next((word for word in error.ctx.meta.get(TYPED, ()) if _holds(word, option)), option)
    name = word.partition("=")[0]
    if re.search(r"\s", word) or re.match(r"-[\d.]", word) or os.path.lexists(word) or Path(word).suffix[1:].isalnum():
        behind = f"what begins with a dash and is no option stands behind --: {command} -- {shlex.quote(word)}"
        return f"`{command}` takes no {name}; {behind}"
    hint = did_you_mean("--" + name.lstrip("-"), flags)
    return f"`{command}` takes no {name}; {hint}{see}"


def _holds(word: str, option: str) -> bool:
    """Whether a word that was typed is one in which an option was looked for."""
    if option.startswith("--"):
        return word.partition("=")[0] == option
    return word[:1] == "-" != word[1:2] and option[1:2] in word[1:]


def _missing(error: Any, command: str) -> str:
    example = next(iter(examples_of(command.removeprefix("sora").strip())), f"{command} --help")
    return f"`{command}` needs {_name(error.param)}; for example: {example}"


def _bad_value(error: Any, see: str) -> str:
    name, text = _name(error.param), " ".join(error.message.split()).removeprefix("Value error, ")
    if match := CHOICE.search(text):
        choices = [choice.strip().strip("'\"") for choice in match["choices"].split(",")]
        hint = did_you_mean(match["value"].strip("'\""), choices).strip()
        return f"{name} {match['value']} is not known; expected {', '.join(choices)}{f'; {hint}' if hint else ''}"
    kind = next((kind for word, kind in NUMBERS.items() if word in text), None)
    return f"{name} takes {kind}; {see}" if kind else f"{name}: {text.rstrip('.')}; {see}"


def _value_count(error: Any) -> str:
    """For an option without its value, or a switch with one."""
    if "requires" in error.message:
        return f"{error.option_name} lacks its value; expected one behind it"
    return f"{error.option_name} takes no value; leave the value out"


def _name(param: Any) -> str:
    """A parameter as a person types it: the long form of a flag, or the word that stands for an argument."""
    if param is None:
        return "the value"
    if param.param_type_name == "argument":
        return (param.metavar or param.name or "").strip("[]{}").upper()
    return max(param.opts, key=len)


def _flags(context: Any) -> list[str]:
    """The long flags of a command that its help shows."""
    if context is None:
        return []
    params = [param for param in context.command.get_params(context) if not getattr(param, "hidden", False)]
    return [flag for param in params for flag in param.opts if flag.startswith("--")]
