"""The system's page cache, from where files are read many times faster than from a disk: which of them it holds, and
reading them into it before they are needed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from sora.storage import regular

PIECE = 2**22  # bytes read at a time
SPOTS = 64  # of each file, spread evenly, whose bytes are asked for


def read_into_page_cache(files: Iterable[Path], max_bytes: int, check: Callable[[], None] = lambda: None) -> int:
    """Read files once and keep nothing, as long as they come to no more than ``max_bytes`` in all; of more, nothing is
    read. check: called between pieces; what it raises ends the reading. Returns the bytes read. A file that cannot be
    read ends it quietly: whoever needs it says what is wrong."""
    files, done = list(files), 0
    buffer = bytearray(PIECE)
    try:
        if sum(file.stat().st_size for file in files) > max_bytes:
            return 0
        for file in files:
            with regular.opened(file) as opened:
                while got := opened.readinto(buffer):  # type: ignore[attr-defined]
                    done += got
                    check()
    except OSError:
        pass
    return done


def share_on_disk(files: Iterable[Path]) -> float:
    """Of the bytes of these files, the share in [0, 1] that is not in the page cache; 0 where the system does not tell.
    A file that cannot be opened does not count."""
    sizes, away = 0, 0.0
    for file in files:
        try:
            with regular.opened(file) as opened:
                size = os.fstat(opened.fileno()).st_size
                away += size * _share_on_disk(opened.fileno(), size)
                sizes += size
        except OSError:
            continue
    return away / sizes if sizes else 0.0


def _share_on_disk(descriptor: int, size: int) -> float:
    if not hasattr(os, "RWF_NOWAIT"):  # not Linux
        return 0.0
    missed, spots = 0, min(SPOTS, size)
    for spot in range(spots):
        try:
            os.preadv(descriptor, [bytearray(1)], spot * size // spots, os.RWF_NOWAIT)
        except BlockingIOError:
            missed += 1
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # a file system that cannot tell
                return 0.0
            raise
    return missed / spots if spots else 0.0
