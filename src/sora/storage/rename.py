"""Renames that the system does in one step and ``os`` does not offer: two names exchanged, and a name taken only while
it is free. Linux has both in renameat2(2), on most of its file systems."""

from __future__ import annotations

import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

_NOREPLACE, _EXCHANGE = 1, 2  # renameat2's flags
_HERE = -100  # AT_FDCWD: relative paths are those of the process
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}  # EPERM: a container that filters calls


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders of a file system change names, in one step. False where the system cannot. Raises
    OSError."""
    return _rename(one, other, _EXCHANGE)


def move_to_free(source: Path, target: Path) -> bool:
    """Move a file or folder to a name that is free, in one step. False where the system cannot. Raises FileExistsError
    and other OSErrors."""
    return _rename(source, target, _NOREPLACE)


def _rename(source: Path, target: Path, flag: int) -> bool:
    call = _renameat2()
    if call is None:
        return False
    import ctypes

    if call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


@cache
def _renameat2() -> Any:
    """The C library's function; None where it has none."""
    import ctypes  # late, since most commands rename nothing

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    call.restype = ctypes.c_int
    return call
