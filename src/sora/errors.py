"""What can go wrong, in the user's words. Every error knows its exit status; only ``cli`` acts on it.

A message is one line that says what happened, what was expected, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable


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


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ "did you mean --seed? " for the known name that is nearest to ``name``, for a message; empty where none is."""
    from difflib import get_close_matches  # only once something went wrong

    closest = get_close_matches(name, list(names), n=1)
    return f"did you mean {closest[0]}? " if closest else ""
