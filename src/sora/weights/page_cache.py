"""Reading files before they are needed, so that the system has them in memory by then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sora.storage import regular

PIECE = 2**22  # bytes read at a time


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
