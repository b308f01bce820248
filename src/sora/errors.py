"""What can go wrong, in the user's words. Every error knows its exit status; only ``cli`` acts on it.

A message is one line that says what happened, what was expected, and what to do next.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
"""Categories of Unicode that a terminal acts on or shows nothing for: controls, directions and other formats, what is
unassigned or private, half characters, ends of lines."""

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that show nothing
_EMOJI_STYLES = frozenset("\ufe0e\ufe0f")
_JOINERS = frozenset("\u200c\u200d") | _EMOJI_STYLES  # which Persian, Indic scripts and emoji are written with
_SELECTORS = (("\u180b", "\u180f"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))  # of a character's variants
_MAX_MARKS = 4  # combining marks on one character; more would climb into other lines


class SoraError(Exception):
    """Base of every error a user can cause or meet. ``exit_code`` is the process's exit status."""

    exit_code = 1


class UsageError(SoraError):
    """A flag, a size or a prompt that cannot be honoured."""

    exit_code = 2


class InputError(SoraError):
    """A file that cannot be read as what it should be, or an output that cannot be written."""

    exit_code = 3


class ModelError(SoraError):
    """A model that is unknown, missing, damaged or of the wrong shape."""

    exit_code = 4


class OutOfMemory(SoraError):
    """The device ran out of memory."""

    exit_code = 5


class SomeFailed(SoraError):
    """Some of several films could not be painted; the others are there."""

    exit_code = 6


class SoraWarning(RuntimeWarning):
    """What a person should know of work that goes on, in one line: what happened, and what follows from it."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ "did you mean --seed? " for the known name that is nearest to ``name``, for a message; empty where none is."""
    from difflib import get_close_matches  # only once something went wrong

    closest = get_close_matches(name, list(names), n=1)
    return f"did you mean {closest[0]}? " if closest else ""


def printable(text: str, max_characters: int | None = None) -> str:
    """Text as one line of a terminal that shows all there is: whatever could move the cursor, colour it, turn the
    direction of writing, end the line or go unseen is written out, as ``\\x1b``. Everything that comes out of a file,
    its name too, goes through here before a person sees it.

    max_characters: the middle of a longer text is left out, since what a message quotes can be longer than what it
    says; None for all of it. Half of a character, as in a file name that is not UTF-8, is written out, too.
    """
    if max_characters is not None and len(text) > max_characters:
        text = f"{text[: max_characters * 2 // 3]} ... {text[-(max_characters // 4) :]}"
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    before, marks = "", 0  # the character before, empty where it was written out; combining marks in a row
    for c in text:
        marks = marks + 1 if unicodedata.category(c) in ("Mn", "Me") else 0
        visible = c.isprintable() if c.isascii() else marks <= _MAX_MARKS and _is_visible(c, before)
        shown.append(c if visible else _written_out(c))
        before = c if visible else ""
    return "".join(shown)


def _is_visible(c: str, before: str) -> bool:
    """Whether a character shows something after this one, and does nothing else."""
    if c in _JOINERS:  # they stand between letters of their scripts and between emoji, never twice
        return bool(before) and not before.isascii() and before not in _JOINERS - _EMOJI_STYLES
    is_selector = any(first <= c <= last for first, last in _SELECTORS)
    return unicodedata.category(c) not in _INVISIBLE and c not in _BLANK and not is_selector


def _written_out(c: str) -> str:
    return c.encode("unicode_escape", "surrogatepass").decode("ascii")
