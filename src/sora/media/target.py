"""Where a clip goes: which kind of file a path asks for, checks before the work, free names, atomic publishing."""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sora.errors import InputError, UsageError
from sora.storage import publishing, refusal, staging

FOLDER = "folder"
SUFFIXES = (".mp4", ".mkv", ".gif", ".webp", ".png", ".jpg", ".jpeg")
STILLS = (".png", ".jpg", ".jpeg")
RECIPE_FILE = "recipe.json"

_OURS = re.compile(r"\d{5,}\.png|recipe\.json")


def kind_of(path: str | Path) -> str:
    """The suffix in lower case, or FOLDER for a path without one or that ends in a slash. Raises UsageError."""
    suffix = Path(path).suffix.lower()
    if not suffix or str(path).endswith(("/", os.sep)):
        return FOLDER
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot write {suffix} files; end {path} in {', '.join(SUFFIXES)}, or in / for PNGs")
    return suffix


def with_ending(path: str, suffix: str) -> str:
    """A path as typed, with an ending where it has none: a folder is one that is there, or whose name ends in a slash.
    suffix: with its dot, or FOLDER."""
    has_none = not Path(path).suffix and not path.endswith(("/", os.sep))
    is_file = has_none and path.strip(".") and suffix != FOLDER and not Path(path).is_dir()
    return path.rstrip(".") + suffix if is_file else path


def check_target(path: str | Path, force: bool = False) -> None:
    """Refuses, before any work, an output that could not be written.

    Raises UsageError for an unknown suffix or a target that exists (``force`` allows one of the same kind),
    InputError for a folder that is missing or cannot be written.
    """
    if not str(path) or "\0" in str(path):
        raise UsageError("the output path is empty or not a path; name a file, e.g. clip.mp4")
    kind, target = kind_of(path), Path(path)
    try:
        if os.path.lexists(target):
            _check_existing(target, kind, force)
        elif len(os.fsencode(target.name)) > 255:
            raise InputError(f"the name of {target} is too long; shorten it")
        with staging.folder(target):
            pass
    except OSError as error:
        raise _cannot_stage(target, error) from None


def _check_existing(target: Path, kind: str, force: bool) -> None:
    if not force:
        raise UsageError(f"{target} exists already; add --force to replace it, or choose another name")
    if target.is_dir() != (kind == FOLDER):
        there, wanted = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
        raise UsageError(f"{target} is {there}, the output would be {wanted}; choose another name")
    # --force replaces what an earlier run made, never a folder of somebody's own files.
    alien = [f.name for f in target.iterdir() if not _OURS.fullmatch(f.name)] if kind == FOLDER else []
    if alien:
        raise UsageError(f"{target} holds more than numbered PNGs ({alien[0]}); it is not replaced, choose another")


def unique_path(folder: str | Path, stem: str, suffix: str) -> Path:
    """The first of stem.mp4, stem-2.mp4, stem-3.mp4 ... that does not exist. suffix: with its dot, or empty."""
    names = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
    return next(p for name in names if not os.path.lexists(p := Path(folder) / f"{name}{suffix}"))


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A new hidden folder next to the target while the block runs: on its file system, so publishing is a rename.
    Raises InputError where none can be made."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(staging.folder(target))
        except OSError as error:
            raise _cannot_stage(target, error) from None
        yield folder


def _cannot_stage(target: Path, error: OSError) -> InputError:
    missing = error.errno == errno.ENOENT
    reason = "there is no such folder; create it" if missing else refusal.explain(error, target)
    return InputError(f"cannot write into {target.parent}: {reason}")


def publish(made: Path, target: Path, force: bool) -> Path:
    """Moves a finished file or folder to its place in one step, and returns the place. From then on it outlives a power
    cut, too. A folder ``made`` lies in a staging folder. Raises OSError.

    Without ``force`` nothing is ever replaced: if the name was taken while the work ran, the next free one is used,
    since the work may have taken hours.
    """
    publishing.flush(made)
    place = target
    while True:
        try:
            (publishing.replace if force else publishing.move_new)(made, place)
        except FileExistsError:
            if force:
                raise
            place = unique_path(target.parent, target.stem, target.suffix)
        else:
            publishing.flush_folder(place.parent)
            return place
