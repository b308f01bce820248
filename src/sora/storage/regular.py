"""Files of others, opened: regular ones alone, and no more of them than is bounded. A pipe would be waited for, a
device read without end, and what is only looked at must not fill the memory.

All functions raise OSError, with a ``strerror`` for a person, for what is missing, no regular file or too large.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON_BYTES = 8 << 20  # of a configuration, an index or a recipe's file
MAX_PIECES = 100_000  # of data between holes
MAX_JSON_DEPTH = 64  # lists and objects within one another
_NOT_WAITED_FOR = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def opened(path: str | Path, max_bytes: int | None = None) -> BinaryIO:
    """A regular file, open for reading. max_bytes: of its size; None for any."""
    _check(Path(path).stat(), max_bytes)  # before it is opened, which some devices act on
    file = os.fdopen(os.open(path, os.O_RDONLY | _NOT_WAITED_FOR), "rb")
    try:
        _check(os.fstat(file.fileno()), max_bytes)  # what is open may be another by now
    except OSError:
        file.close()
        raise
    return file


def bytes_on_disk(path: str | Path) -> int:
    """How much of a file is stored and not a hole, as an unfinished download or a file made to look large has them; all
    of it where the system does not tell. Counted no further than MAX_PIECES pieces of data."""
    with opened(path) as file:
        size, descriptor = os.fstat(file.fileno()).st_size, file.fileno()
        if not hasattr(os, "SEEK_DATA"):
            return size
        written, at = 0, 0
        for _ in range(MAX_PIECES):
            try:
                begin = os.lseek(descriptor, at, os.SEEK_DATA)
                at = os.lseek(descriptor, begin, os.SEEK_HOLE)
            except OSError as error:
                return written if error.errno == errno.ENXIO else size  # no data is left, or nobody can tell
            written += at - begin
        return size


def _check(facts: os.stat_result, max_bytes: int | None) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, expected a file")
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, f"it is {_kind(facts.st_mode)}, expected a file")
    if max_bytes is not None and facts.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it is over {_size(max_bytes)}, more than such a file holds")


def _kind(mode: int) -> str:
    """What stands there that is no file."""
    named = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return named.get(stat.S_IFMT(mode), "a device")


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} kiB" if count >= 1 << 10 else f"{count} bytes"


def read(path: str | Path, max_bytes: int) -> bytes:
    """All of a file that has at most so many bytes."""
    with opened(path, max_bytes) as file:
        data = file.read(max_bytes + 1) or b""  # nothing, not even an empty piece, where a kernel's own file would wait
    if len(data) > max_bytes:  # it grew, or is a kernel's own file, which claims no size
        raise OSError(errno.EFBIG, f"it is over {_size(max_bytes)}, more than such a file holds")
    return data


def read_json(path: str | Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """What a JSON file in UTF-8 holds. Raises ValueError for what is no JSON or over MAX_JSON_DEPTH levels deep."""
    return parse_json(read(path, max_bytes).decode("utf-8-sig"))


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError as ``read_json``."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if is_deeper(value, MAX_JSON_DEPTH):
        raise ValueError("it is nested too deep")
    return value


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects are more than so deep in one another, without recursion, so that no reader fails."""
    level: list[Any] = [value]
    for _ in range(depth + 1):
        nested = [each for each in level if isinstance(each, (dict, list))]
        if not nested:
            return False
        level = [inner for each in nested for inner in (each.values() if isinstance(each, dict) else each)]
    return any(isinstance(each, (dict, list)) for each in level)
