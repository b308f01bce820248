"""Everything temporary: files and folders that are made next to what they become, so that publishing is a rename, and
that are swept when their owner is dead.

A staged file or folder is called ``.sora-TOKEN``. Before it is made, an entry ``staging/TOKEN`` in the state folder
says where it will be, and its owner holds a lock on the entry, which the system lets go when the owner dies, however it
dies. Whoever stages next removes what the entries without an owner name. Where the state folder cannot be written, the
folder of the target is searched instead, for staged folders on which nobody holds a lock.

An entry can only ever have something removed that is called after the entry's own token.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from sora.storage import publishing, state

try:
    import fcntl
except ImportError:  # no locks of this kind: nothing is registered, and nothing is swept
    fcntl = None

DAY = 86_400.0  # seconds
MAX_ABSENT = 30 * DAY  # for which an entry waits for a disk that is not there
MAX_PATH_BYTES = 1 << 13
MAX_NEIGHBOURS = 10_000  # files of a folder among which staged ones are looked for
ATTEMPTS = 5

_live: set[Path] = set()
_TOKEN = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"\.sora-([0-9a-f]{16})(\..*)?", re.DOTALL)
_MAX_SUFFIX = 32  # characters; file systems allow names of 255 bytes


def registry() -> Path:
    """The folder of the entries. It need not exist."""
    return state.folder() / "staging"


@contextmanager
def folder(target: Path) -> Iterator[Path]:
    """A new hidden folder next to ``target`` while the block runs; then it is removed with all that is in it. Raises
    OSError where none can be made."""
    _sweep_near(target)
    for attempt in range(ATTEMPTS):
        token = _new_token()
        path = _staged_path(target, token)
        with _registered(token, path):
            path.mkdir(mode=0o700)
            try:
                lock = _lock_folder(path)
                try:
                    if not path.exists() and attempt + 1 < ATTEMPTS:
                        continue  # another took it for a dead owner's, in the moment before it was locked
                    yield path
                finally:
                    if lock is not None:
                        os.close(lock)
            finally:
                shutil.rmtree(path, ignore_errors=True)
        return


@contextmanager
def file(target: Path) -> Iterator[Path]:
    """A free hidden name next to ``target``, with its suffix, for a file that is written while the block runs; what is
    there at its end is removed. Raises OSError."""
    _sweep_near(target)
    token = _new_token()
    path = _staged_path(target, token, "".join(target.suffixes)[-_MAX_SUFFIX:])
    with _registered(token, path):
        try:
            yield path
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def sweep() -> list[Path]:
    """Remove what dead owners left, and finish what they were about to publish. Returns what was removed. Nothing that
    goes wrong here is an error: the next sweep tries again."""
    removed = list[Path]()
    try:
        entries = sorted(registry().iterdir())
    except OSError:
        return removed
    for entry in entries:
        with suppress(OSError):
            found = _sweep_entry(entry)
            removed += [] if found is None else [found]
    return removed


def remove_live() -> None:
    """Remove what this process stages at the moment, for when it ends at once. The next sweep takes what is made after
    it, and the entries."""
    for path in list(_live):
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()


def _new_token() -> str:
    """16 hexadecimal digits, of which the first 4 stand for this machine: on a disk that several share, a lock of
    another's may not be seen."""
    return _machine() + secrets.token_hex(6)


def _machine() -> str:
    import platform

    return sha256(platform.node().encode()).hexdigest()[:4]


def _staged_path(target: Path, token: str, suffix: str = "") -> Path:
    return target.absolute().parent / f".sora-{token}{suffix}"


@contextmanager
def _registered(token: str, path: Path) -> Iterator[None]:
    """An entry for ``path`` while the block runs, and after it if the path is still there. None where the state folder
    cannot be written, which is no reason not to stage."""
    entry = registry() / token
    lock = None
    with suppress(OSError):
        lock = _register(entry, path)
    _live.add(path)
    try:
        yield
    finally:
        _live.discard(path)
        if lock is not None:
            if not os.path.lexists(path):
                with suppress(OSError):
                    entry.unlink()
            os.close(lock)


def _register(entry: Path, path: Path) -> int | None:
    """The locked entry's file descriptor; None where it was swept before it could be locked. Raises OSError."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(entry, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        _lock(descriptor)
        os.write(descriptor, os.fsencode(path))
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BaseException:
        os.close(descriptor)
        with suppress(OSError):
            entry.unlink()
        raise
    os.close(descriptor)
    return None


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where another holds it, and other OSErrors where there are no locks."""
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no file locks")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_folder(path: Path) -> int | None:
    """A lock on a folder itself, for those who find it without an entry; None where the file system has none."""
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        _lock(descriptor)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def _sweep_near(target: Path) -> None:
    """What is cheap enough to do whenever something is staged."""
    sweep()
    if not os.access(_existing(registry()), os.W_OK):
        with suppress(OSError):
            _sweep_neighbours(target.absolute().parent)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next((p for p in (path, *path.parents) if p.exists()), path)


def _sweep_entry(entry: Path) -> Path | None:
    """Remove what an entry names, and the entry. Returns the path that was removed. Raises OSError where its owner is
    alive."""
    if not _TOKEN.fullmatch(entry.name):
        return None
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(entry, flags)
    try:
        _lock(descriptor)
        age = time.time() - os.fstat(descriptor).st_mtime
        if not entry.name.startswith(_machine()) and age < DAY:
            return None
        path = Path(os.fsdecode(os.read(descriptor, MAX_PATH_BYTES)))
        found = _NAME.fullmatch(path.name)
        ours = found is not None and found[1] == entry.name and path.is_absolute()
        if ours and not path.parent.is_dir() and age < MAX_ABSENT:
            return None
        removed = ours and _remove(path)
        if not ours or not os.path.lexists(path):
            entry.unlink()
        return path if removed else None
    finally:
        os.close(descriptor)


def _sweep_neighbours(place: Path) -> None:
    """Remove staged folders of a folder on which nobody holds a lock, and staged files of yesterday."""
    with os.scandir(place) as files:
        names = [file.name for _, file in zip(range(MAX_NEIGHBOURS), files, strict=False)]
    for name in names:
        if found := _NAME.fullmatch(name):
            with suppress(OSError):
                _sweep_neighbour(place / name, found[1])


def _sweep_neighbour(path: Path, token: str) -> None:
    status = path.lstat()
    recent = time.time() - status.st_mtime < DAY
    if recent and not (stat.S_ISDIR(status.st_mode) and token.startswith(_machine())):
        return
    if not stat.S_ISDIR(status.st_mode):
        _remove(path)
        return
    lock = _lock_folder(path)
    if lock is None:
        return
    try:
        _remove(path)
    finally:
        os.close(lock)


def _remove(path: Path) -> bool:
    """Remove a staged file or folder of a dead owner of our own, once what it was publishing is whole. Returns whether
    something was removed."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
        return False
    if not stat.S_ISDIR(status.st_mode):
        path.unlink()
        return True
    publishing.repair(path)
    shutil.rmtree(path, ignore_errors=True)
    return True
