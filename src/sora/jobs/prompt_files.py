"""Files of prompts and of shots: text of bounded size, and the shots in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sora.errors import InputError
from sora.plan import prompts, shot_lines
from sora.plan.shot import Shot
from sora.storage import regular

MAX_FILE_BYTES = 1 << 24  # bytes


def read(file: str, what: str = "prompt") -> str:
    """The text of a file with one ``what`` on each line. Raises InputError and UsageError."""
    try:
        data = regular.read(file, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise InputError(f"there is no {what} file {file}; expected a text file with a {what} on each line") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read the {what} file {file} ({reason}); expected a text file, a {what} a line"
        ) from None
    return prompts.decoded(data, f"file {file}")


def with_shots(values: Mapping[str, Any], read_stdin: Callable[[], str]) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """(a request's fields with the shots of the files that a command line names, where LoRAs in their words are looked
    for). read_stdin: gives the text of ``-``. Raises InputError and UsageError."""
    files: Sequence[Any] = values.get("shots", ())
    if not files or isinstance(files[0], Shot):
        return dict(values), (Path(),)
    shots = tuple(shot for file in files for shot in _shots(file, read_stdin))
    return {**values, "shots": shots}, (Path(), *(Path(file).parent for file in files if file != "-"))


def _shots(file: str, read_stdin: Callable[[], str]) -> tuple[Shot, ...]:
    return shot_lines.parse(read_stdin(), "standard input") if file == "-" else shots_of(file)


def shots_of(file: str) -> tuple[Shot, ...]:
    """The shots in a file. Raises InputError and UsageError."""
    return shot_lines.parse(read(file, "shot"), file)
