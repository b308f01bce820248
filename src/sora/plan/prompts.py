r"""Prompts as people write them: cleaned, read from files, and expanded from ``{a|b}`` alternatives.

The grammar of alternatives: ``{red|blue}`` stands for each of its parts in turn, a part may be empty, and groups do
not nest. A backslash keeps ``{``, ``}``, ``|`` or another backslash as it is; before anything else it is itself.
Outside a group ``|`` is an ordinary character.
"""

from __future__ import annotations

import codecs
import itertools
import math
import os
import re
import shlex
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from sora.errors import UsageError

MAX_CHARACTERS = 20_000
MAX_VARIANTS = 1000

_OPTION = re.compile(r"(?<!\S)--(?=[A-Za-z])")  # where a line's options begin
_FLAG_BLANKS = re.compile(r"[^\S ]+(?=--[A-Za-z])|(?<=\s)(--[A-Za-z-]+)[^\S ]+")  # around flags, and no spaces
_TOKEN = re.compile(r"\\[{}|\\]|.", re.DOTALL)

_BLANKS = frozenset("\u2800\u3164\uffa0")  # look like spaces, and are none to str.split
_JOINERS = frozenset("\u200c\u200d")
_SHOWN_FORMATS = (
    ("\u0600", "\u0605"),
    ("\u06dd", "\u06dd"),
    ("\u070f", "\u070f"),
    ("\u0890", "\u0891"),
    ("\u08e2", "\u08e2"),
)
"""Characters of the category of formats that show something: signs of numbers and verses."""

_FLAG, _FLAG_TAGS = "\U0001f3f4", ("\U000e0020", "\U000e007f")  # the letters of a region's flag stand behind it

_JOINED_SCRIPTS = (
    *(("\u0600", "\u08ff"), ("\u0900", "\u0dff"), ("\u0f00", "\u109f"), ("\u1780", "\u18af"), ("\ua840", "\uabff")),
    *(("\ufb50", "\ufdff"), ("\ufe70", "\ufefc"), ("\U00010a00", "\U00011fff")),
)
"""Arabic, the scripts of India and its neighbours, Khmer, Mongolian: what is joined there decides what is read."""


def clean(prompt: str) -> str:
    """The prompt in NFC, without characters that show nothing, and with every run of blanks and control characters one
    space, none at the ends. Joiners stay where they change what is read: in emoji, and within words of the scripts
    that need them.

    Raises UsageError for a prompt that is empty, longer than MAX_CHARACTERS, or not valid Unicode.
    """
    prompt = as_unicode(prompt)
    spaced = "".join(" " if unicodedata.category(c) == "Cc" or c in _BLANKS else c for c in prompt)
    text = unicodedata.normalize("NFC", " ".join(_visible(spaced).split()))
    if not text:
        raise UsageError('the prompt is empty; say what to paint, e.g. "a red balloon floats up over a green meadow"')
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the prompt has {len(text):,} characters, at most {MAX_CHARACTERS:,} fit; shorten it")
    return text


def as_unicode(prompt: str) -> str:
    """The prompt, where Python took its bytes from a command line in a locale without UTF-8 and kept them as halves of
    characters: read as UTF-8, which terminals send all the same. Raises UsageError for other bytes."""
    if prompt.isascii() or not any("\ud800" <= c <= "\udfff" for c in prompt):
        return prompt
    try:
        return os.fsencode(prompt).decode("utf-8")
    except UnicodeError:
        raise UsageError("the prompt is not valid UTF-8; write it again in a UTF-8 terminal or file") from None


def _visible(text: str) -> str:
    """The text without characters that show nothing, such as U+200B, a byte order mark or a soft hyphen."""
    if text.isascii():
        return text
    kept: list[str] = []
    for c, after in zip(text, [*text[1:], ""], strict=True):
        if _is_kept(c, kept[-1] if kept else "", after):
            kept.append(c)
    return "".join(kept)


def _is_kept(c: str, before: str, after: str) -> bool:
    """Whether a character shows something between these, or changes how they are read."""
    if c in _JOINERS:
        virama = bool(before) and unicodedata.combining(before) == 9  # joiners choose its form at a word's end, too
        in_script = _within(before, _JOINED_SCRIPTS) and _within(after, _JOINED_SCRIPTS)
        return virama or in_script or (c == "\u200d" and _is_emoji(before) and _is_emoji(after))
    if "\ufe00" <= c <= "\ufe0f":  # they choose the form of what they follow
        is_keycap = after == "\u20e3"
        return is_keycap or not (before.isascii() or before.isspace())
    if _within(c, (_FLAG_TAGS,)):
        return before == _FLAG or _within(before, (_FLAG_TAGS,))
    if c == "\u180e":  # Mongolian's vowel separator
        return _within(before, _JOINED_SCRIPTS)
    return (unicodedata.category(c) != "Cf" and c != "\u034f") or _within(c, _SHOWN_FORMATS)


def _is_emoji(c: str) -> bool:
    return bool(c) and (unicodedata.category(c) in ("So", "Sk") or c in "\ufe0f\u20e3")


def _within(c: str, ranges: Iterable[tuple[str, str]]) -> bool:
    return bool(c) and any(first <= c <= last for first, last in ranges)


_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decoded(data: bytes, where: str, encoding: str | None = None) -> str:
    """Text of UTF-8, whatever the locale says, or of UTF-16 and UTF-32 by their byte order mark. encoding: that
    is tried where it is not UTF-8, None for none. where: "in FILE", for a person. Raises UsageError."""
    by_mark = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    for name in ("utf-8-sig", by_mark, encoding):
        try:
            if name is not None:
                return data.decode(name)
        except (UnicodeError, LookupError):
            continue
    raise UsageError(f"the prompt {where} is not valid UTF-8{_first_fault(data)}; save it as UTF-8 text")


def _first_fault(data: bytes) -> str:
    """Which line of text is not UTF-8, for a person: " (line 3: 'caf\\xe9')"."""
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            shown = line[max(0, error.start - 20) : error.start + 1].decode("utf-8", "backslashreplace")
            return f" (line {number}: '{shown}' is not)"
    return ""


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
    rows = enumerate(map(_visible, lines(text)), start=1)
    found = [_line(number, row) for number, row in rows if row.strip() and not row.lstrip().startswith("#")]
    if not found:
        raise UsageError("the prompt file holds no prompt; write one a line, # begins a comment")
    return found


def lines(text: str) -> list[str]:
    """The lines of a text as editors count them: other marks that end a line, as web pages hold, stay inside one."""
    return re.split(r"\r\n|\r|\n", text)


def _line(number: int, row: str) -> Line:
    first = _OPTION.search(row)
    words, options = (row[: first.start()], row[first.start() :]) if first else (row, "")
    options = _FLAG_BLANKS.sub(r"\1 ", f" {options}")
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
