r"""Prompts as people write them: cleaned, read from files, and expanded from ``{a|b}`` alternatives.

The grammar of alternatives: ``{red|blue}`` stands for each of its parts in turn, a part may be empty, and groups do
not nest. A backslash keeps ``{``, ``}``, ``|`` or another backslash as it is; before anything else it is itself.
Outside a group ``|`` is an ordinary character.
"""

from __future__ import annotations

import itertools
import math
import re
import shlex
import unicodedata
from dataclasses import dataclass

from sora.errors import UsageError

MAX_CHARACTERS = 20_000
MAX_VARIANTS = 1000

_OPTION = re.compile(r"(?<!\S)--(?=[A-Za-z])")  # where a line's options begin
_TOKEN = re.compile(r"\\[{}|\\]|.", re.DOTALL)


def clean(prompt: str) -> str:
    """The prompt in NFC, with every run of blanks and control characters one space, none at the ends.

    Raises UsageError for a prompt that is empty, longer than MAX_CHARACTERS, or not valid Unicode.
    """
    if any("\ud800" <= c <= "\udfff" for c in prompt):
        raise UsageError("the prompt is not valid UTF-8; write it again in a UTF-8 terminal or file")
    spaced = "".join(" " if unicodedata.category(c) == "Cc" else c for c in prompt)
    text = unicodedata.normalize("NFC", " ".join(spaced.split()))
    if not text:
        raise UsageError('the prompt is empty; say what to paint, e.g. "a red balloon floats up over a green meadow"')
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the prompt has {len(text):,} characters, at most {MAX_CHARACTERS:,} fit; shorten it")
    return text


def decoded(data: bytes, where: str) -> str:
    """Text of UTF-8, whatever the locale says. where: "in FILE", for a person. Raises UsageError."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"the prompt {where} is not valid UTF-8; save it as UTF-8 text") from None


@dataclass(frozen=True)
class Line:
    """A line of a prompt file. number: counted from 1. words: the options at its end, as a shell would split them.
    error: what is wrong with it, empty for nothing."""

    number: int
    prompt: str
    words: tuple[str, ...] = ()
    error: str = ""


def parse_file(text: str) -> list[Line]:
    """The prompts of a file, one a line, cleaned, each with options at its end; blank lines and lines that begin with
    ``#`` are passed over. A line that cannot be read tells so itself, since the others can be painted all the same.

    Raises UsageError for a file without any prompt.
    """
    rows = enumerate(text.removeprefix("\ufeff").splitlines(), start=1)
    found = [_line(number, row) for number, row in rows if row.strip() and not row.lstrip().startswith("#")]
    if not found:
        raise UsageError("the prompt file holds no prompt; write one a line, # begins a comment")
    return found


def _line(number: int, row: str) -> Line:
    first = _OPTION.search(row)
    words, options = (row[: first.start()], row[first.start() :]) if first else (row, "")
    try:
        return Line(number, clean(words), tuple(shlex.split(options)))
    except UsageError as error:
        return Line(number, words[:80], error=str(error))
    except ValueError as error:
        return Line(number, words[:80], error=f"its options cannot be read ({error}); close every quote")


def variants(prompt: str) -> list[str]:
    """Every prompt that the ``{a|b}`` alternatives stand for, cleaned; the last group turns fastest.

    Raises UsageError for a stray or nested brace, more than MAX_VARIANTS, or a variant ``clean`` refuses.
    """
    parts = _parts(prompt)
    count = math.prod(map(len, parts))
    if count > MAX_VARIANTS:
        many = f"{count:,}" if count < 10**12 else "over 10^12"
        raise UsageError(f"the alternatives make {many} prompts, at most {MAX_VARIANTS:,} are allowed; use fewer")
    return [clean("".join(choice)) for choice in itertools.product(*parts)]


def escaped(prompt: str) -> str:
    """The prompt as ``variants`` must be given it to return it alone."""
    return re.sub(r"[{}|\\]", r"\\\g<0>", prompt)


def _parts(prompt: str) -> list[list[str]]:
    """The prompt as a sequence of choices; plain text is a choice of one."""
    parts, inside = [[""]], False
    for match in _TOKEN.finditer(prompt):
        token = match[0]
        if token in "{}" and inside == (token == "{"):
            reason = "alternatives do not nest" if inside else "no { stands before it"
            raise UsageError(f"stray {token} at character {match.start() + 1}: {reason}; write \\{token} to keep it")
        if token == "{":
            parts.append([""])
            inside = True
        elif token == "}":
            parts.append([""])
            inside = False
        elif token == "|" and inside:
            parts[-1].append("")
        else:
            parts[-1][-1] += token[-1]
    if inside:
        raise UsageError("a { has no } after it; close the alternatives, or write \\{ to keep the brace")
    return parts
