"""The bytes of one file of the hub: into one part, which the next run goes on with, and checked before they get the
name of a finished file.

The part of a file is ``blobs/DIGEST.incomplete`` in huggingface_hub's cache, a name of the digest alone. It is written
at the places where the bytes belong, never appended to: two programs that write it at once, on a file system whose
locks do not hold, write the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sora.catalog import digests
from sora.catalog.transfer import Dropped, Refused, Response, Retries, Session, opened

SYNCED = 1 << 26  # bytes after which they are on the disk for sure: neither a power cut nor an end costs more
LOCKED_PAUSE = 0.2  # seconds between two attempts to lock a file that another program fetches


class WrongBytes(Exception):
    """What came is not what was published; in words."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub. name: in the repository. digest: in hex, as the cache names its bytes. size: in bytes."""

    name: str
    url: str
    digest: str
    size: int


def fetch(file: RemoteFile, blobs: Path, locks: Path, session: Session) -> Path:
    """Where a file's bytes are, all of them and checked, after fetching what was not there. blobs: the folder for them.
    locks: the folder of huggingface_hub's locks, one for each digest.

    Raises WrongBytes for bytes that are not the published ones, none of which is left; Refused, OSError and what the
    client raises where the hub or the disk cannot be used; Stopped.
    """
    blob = blobs / file.digest
    with _locked(locks / f"{file.digest}.lock", file.name, session):
        if _is_finished(blob, file, session):
            return blob
        blobs.mkdir(parents=True, exist_ok=True)
        for stray in blobs.glob(f"{file.digest}.*.incomplete"):  # of programs that never go on with what they left
            stray.unlink(missing_ok=True)
        partial = partial_file(blobs, file.digest)
        _complete(partial, file, session)
        digests.record(partial, file.digest)
        partial.replace(blob)
    return blob


def partial_file(blobs: Path, digest: str) -> Path:
    """The file of what has come of a file that is not finished."""
    return blobs / f"{digest}.incomplete"


@contextmanager
def _locked(path: Path, name: str, session: Session) -> Iterator[None]:
    """No other thread and no other program that knows huggingface_hub's locks fetches the same bytes meanwhile."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock, waits = FileLock(path, mode=0o664), False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except NotImplementedError:  # a file system without locks, where the worst is that bytes are fetched twice
            break
        except Timeout:
            if not waits:
                session.notes.append(f"another program fetches {name}; waiting for it")
            waits = True
            session.pause(LOCKED_PAUSE)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def _is_finished(blob: Path, file: RemoteFile, session: Session) -> bool:
    """Whether the bytes are there already, whoever fetched them. What is damaged goes."""
    if not blob.is_file():
        return False
    if blob.stat().st_size == file.size:
        if digests.is_recorded(blob, file.digest):
            return True
        if digests.of_file(blob, file.digest, lambda _: session.check()) == file.digest:
            digests.record(blob, file.digest)
            return True
    digests.forget(file.digest)
    blob.unlink()
    return False


def _complete(partial: Path, file: RemoteFile, session: Session) -> None:
    """Fills a part up. Where it turns out wrong and began in an earlier run, all of it is fetched once more."""
    is_old = partial.is_file() and partial.stat().st_size > 0
    for _ in range(2 if is_old else 1):
        if _fill(partial, file, session) == file.digest:
            return
        partial.unlink()
    raise WrongBytes(f"the hub sent other bytes of {file.name} than were published, and they are deleted")


def _fill(partial: Path, file: RemoteFile, session: Session) -> str:
    """Fetches what a part lacks; the digest of the whole."""
    whole = digests.new_hash(file.digest, file.size)
    with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as disk:
        if partial.stat().st_size > file.size:
            disk.truncate(0)
        done = 0
        while piece := disk.read(digests.PIECE):
            session.check()
            whole.update(piece)
            done += len(piece)
        for piece in _pieces(file, done, session):
            _write(disk, piece)
            whole.update(piece)
            if (done + len(piece)) // SYNCED > done // SYNCED:
                os.fsync(disk.fileno())
            done += len(piece)
        os.fsync(disk.fileno())
    return whole.hexdigest()


def _write(disk: Any, piece: bytes) -> None:
    """All of a piece, to a file without a buffer, whose own ``write`` may take less."""
    rest = memoryview(piece)
    while rest:
        rest = rest[disk.write(rest) :]


def _pieces(file: RemoteFile, done: int, session: Session) -> Iterator[bytes]:
    """The bytes from an offset on, over as many connections as it takes."""
    retries = Retries(session)
    while done < file.size:
        try:
            for piece in _connection(file, done, session):
                done += len(piece)
                retries.succeeded()
                yield piece
            if done < file.size:
                raise Dropped(f"the connection ended after {done} of {file.size} bytes of {file.name}")
        except Refused as error:
            if error.status == 416:
                raise WrongBytes(f"the hub has less of {file.name} than the {file.size} bytes published") from None
            retries.failed(error)
        except Exception as error:
            retries.failed(error)


def _connection(file: RemoteFile, offset: int, session: Session) -> Iterator[bytes]:
    """The bytes from an offset on that one connection brings, never more than there should be."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with opened(session, "GET", file.url, headers) as response:
        skipped, left = offset - _start(response, file, offset), file.size - offset
        for piece in response.pieces:
            session.check()
            cut = min(skipped, len(piece))  # of a hub that sends the whole file again
            skipped -= cut
            wanted = piece[cut : cut + left]
            left -= len(wanted)
            if wanted:
                yield wanted
            if not left:
                return


def _start(response: Response, file: RemoteFile, offset: int) -> int:
    """The offset at which an answer begins. Raises WrongBytes for one that is of another length than the file."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (response.headers.get("Content-Range") or "").strip())
        if found and int(found[1]) <= offset and found[2] in ("*", str(file.size)):
            return int(found[1])
        size = found[2] if found else "an unknown number of"
    else:
        size = (not response.is_encoded and response.headers.get("Content-Length")) or str(file.size)
        if size == str(file.size):
            return 0
    raise WrongBytes(f"the hub has {size} bytes of {file.name}, where {file.size} were published")
