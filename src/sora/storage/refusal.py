"""Why a system does not write, in words: a full disk, a quota, a limit, a broken disk."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

_ROOM = "free some space, or choose another place"
REASONS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("your quota of the disk is used up", _ROOM),
    errno.EFBIG: (
        "the file is larger than the file system or `ulimit -f` allows",
        "make it smaller, or raise the limit",
    ),
    errno.EIO: ("the disk reports an error", "check the disk, or choose another place"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
    errno.ENOMEM: ("the machine's memory is full", "close other programs, or choose a smaller size"),
}
"""errno -> (what happened, what to do)."""

MEGABYTE = 1_000_000


def explain(error: OSError, place: Path) -> str:
    """ "the disk is full (0.2 MB free); free some space, or choose another place". place: what was to be written."""
    return explain_number(error.errno, place) or f"{error.strerror or error}; choose another place"


def explain_number(number: int | None, place: Path) -> str:
    """The same of an errno; empty for one that says nothing of disks."""
    if number not in REASONS:
        return ""
    happened, advice = REASONS[number]
    return f"{happened}{_free(place) if number == errno.ENOSPC else ''}; {advice}"


def explain_log(log: str, place: Path) -> str:
    """The same of what another program wrote about its end; empty where no such reason is in it."""
    number = next((number for number in REASONS if os.strerror(number) in log), None)
    return explain_number(number, place)


def explain_status(status: int, place: Path) -> str:
    """The same of another program's exit status, where that is minus the number of a signal or, as ffmpeg's, 256 minus
    an errno; empty otherwise."""
    if status == -getattr(signal, "SIGXFSZ", 0):
        return explain_number(errno.EFBIG, place)
    if status == -getattr(signal, "SIGKILL", 0):
        return "the system killed it, most likely for memory; close other programs, or choose a smaller size"
    if status >= 0:
        return explain_number(256 - status, place)
    name = next((s.name for s in signal.Signals if s == -status), str(-status))
    return f"it ended by signal {name}; try again, or choose another kind of file"


def _free(place: Path) -> str:
    """ " (0.2 MB free)"; empty where nobody knows."""
    try:
        return f" ({shutil.disk_usage(place.absolute().parent).free / MEGABYTE:.1f} MB free)"
    except OSError:
        return ""
