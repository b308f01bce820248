"""Finished files and folders come to their place: in one step where the system has one, else in steps of which a note
in the staging folder tells, so that a kill between them is repaired."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from sora.storage import rename

NOTE, REPLACED = "publishing", "replaced"  # in the staging folder
_NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # of file systems that keep nothing back


def flush(path: Path) -> None:
    """Have the system write a file, or all files of a folder, to the disk, so that a power cut after the rename leaves
    no empty one. Raises OSError."""
    if not path.is_dir():
        _fsync(path, os.O_RDWR)
        return
    for file in path.iterdir():
        flush(file)
    flush_folder(path)


def flush_folder(path: Path) -> None:
    """The same for the names in a folder. A system that cannot is no error: what they name is there."""
    with suppress(OSError):
        _fsync(path, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)


def move_new(made: Path, target: Path) -> None:
    """Move a finished file or folder of the same file system to a name that is free. Raises FileExistsError, where
    rename(2) would overwrite, and OSError."""
    if rename.move_to_free(made, target):
        return
    if made.is_dir():
        _note(made, target)
        target.mkdir()
        _fill(made, target)
        return
    try:
        os.link(made, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: hold the name with an empty file first
        target.touch(exist_ok=False)
        _fill(made, target)


def replace(made: Path, target: Path) -> None:
    """Move a finished file or folder of the same file system over one of its kind, or to a free name. A folder ``made``
    lies in a staging folder, which takes the old one. Raises OSError, and then ``target`` stays what it was."""
    if not (made.is_dir() and target.is_dir()):
        made.replace(target)
        return
    if rename.exchange(made, target):
        return
    old = made.with_name(REPLACED)
    _note(made, target)
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        if not os.path.lexists(target):
            old.rename(target)
        raise


def repair(folder: Path) -> None:
    """Finish what a dead owner of a staging folder was about to publish: a name in the same folder that is missing, or
    held by an empty file or folder of the owner's, gets what was made for it, or what it had before."""
    with suppress(OSError, ValueError):
        note = folder / NOTE
        made_name, place_name = os.fsdecode(note.read_bytes()).split("/")
        made, old, place = folder / made_name, folder / REPLACED, folder.parent / place_name
        if not made_name or not place_name or ".." in (made_name, place_name):
            return
        if os.path.lexists(place) and not _holds_only_the_name(place, note):
            return
        (made if made.exists() else old).replace(place)


def _holds_only_the_name(place: Path, note: Path) -> bool:
    """Whether a folder is empty and was made after the note, and so by its writer."""
    status = place.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_mtime_ns >= note.stat().st_mtime_ns and not any(place.iterdir())


def _note(made: Path, target: Path) -> None:
    """Tell a later ``repair`` what goes where. Names hold no slash."""
    made.with_name(NOTE).write_bytes(os.fsencode(f"{made.name}/{target.name}"))


def _fill(made: Path, target: Path) -> None:
    """Move over an empty file or folder that holds the name; let the name go if that fails."""
    try:
        made.replace(target)
    except BaseException:
        if made.is_dir():
            target.rmdir()
        elif made.exists():
            target.unlink()
        raise
