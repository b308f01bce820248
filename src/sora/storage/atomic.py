"""Files that are there whole or not at all: written under another name in the same folder, then moved in one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A name in the folder of ``path``, hidden and with its suffix, to write a file under; at the block's end the file
    is moved to ``path``. Where the block raises, or wrote no file, ``path`` stays what it was.

    replace: whether a file that stands there may go. Raises FileExistsError where one stands and may not, and OSError.
    """
    temp_path = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temp_path
        if replace:
            temp_path.replace(path)
        else:
            move_new(temp_path, path)
    finally:
        temp_path.unlink(missing_ok=True)


def write(path: Path, data: bytes, *, replace: bool = False) -> None:
    """A file of these bytes. As ``written``."""
    with written(path, replace=replace) as temp_path:
        temp_path.write_bytes(data)


def move_new(made: Path, target: Path) -> None:
    """Moves a finished file or folder of the same file system to a name that is free. Raises FileExistsError, where
    rename(2) would overwrite, and OSError."""
    if made.is_dir():
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


def _fill(made: Path, target: Path) -> None:
    """Moves over an empty file or folder that holds the name; lets the name go if that fails."""
    try:
        made.replace(target)
    except BaseException:
        if made.is_dir():
            target.rmdir()
        elif made.exists():
            target.unlink()
        raise
