"""Files that are there whole or not at all: written under another name in the same folder, then moved in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sora.storage import publishing, staging


@contextmanager
def written(path: Path, *, replace: bool = False, durable: bool = True) -> Iterator[Path]:
    """A name in the folder of ``path``, hidden and with its suffix, to write a file under; at the block's end the file
    is moved to ``path``. Where the block raises, or wrote no file, ``path`` stays what it was.

    replace: whether a file that stands there may go. durable: whether the file outlives a power cut from then on, for
    which the disk is waited for. Raises FileExistsError where one stands and may not go, and OSError.
    """
    with staging.file(path) as temp_path:
        yield temp_path
        if durable:
            publishing.flush(temp_path)
        if replace:
            temp_path.replace(path)
        else:
            publishing.move_new(temp_path, path)
        if durable:
            publishing.flush_folder(path.parent)


def write(path: Path, data: bytes, *, replace: bool = False, durable: bool = True) -> None:
    """A file of these bytes. As ``written``."""
    with written(path, replace=replace, durable=durable) as temp_path:
        temp_path.write_bytes(data)


def overwrite(path: Path, data: bytes, *, sync: bool) -> None:
    """Writes a file of a folder that one process owns, in one step: whoever reads sees the old file or the new one,
    also after a kill. What a kill leaves is overwritten by the next call. sync: whether the file must survive a power
    cut, which costs a few milliseconds. Raises OSError."""
    temp_path = path.with_name(f"{path.name}.part")
    try:
        with temp_path.open("wb") as opened:
            opened.write(data)
            if sync:
                opened.flush()
                os.fsync(opened.fileno())
        temp_path.replace(path)
    except OSError:
        with suppress(OSError):
            temp_path.unlink(missing_ok=True)
        raise
