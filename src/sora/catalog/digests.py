"""Digests of files, as the hub names them, and a record of the files that were checked against theirs.

The record is in sora's cache folder, a small file for each digest. It holds the size and the time of the file that was
checked, so that it counts for nothing once that file has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sora.storage import atomic, cache

PIECE = 1 << 20  # bytes that are read at once


def is_digest(name: str) -> bool:
    """Whether a name is a digest in hex: SHA-256, which the hub gives for large files, or git's for small ones."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) is not None


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, 40 digits in hex, and no branch or tag."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def new_hash(name: str, size: int) -> Any:
    """An empty hash, of hashlib, of the kind that a digest is. size: of the whole file, which git hashes first."""
    return hashlib.sha256() if len(name) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def of_file(file: Path, name: str, on_bytes: Callable[[int], None]) -> str:
    """The digest of a file's bytes, of the kind that ``name`` is; for a name that is none, the name itself. on_bytes:
    is called with the size of every piece that was read. Raises OSError."""
    size = file.stat().st_size
    if not is_digest(name):
        on_bytes(size)
        return name
    whole = new_hash(name, size)
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            whole.update(piece)
            on_bytes(len(piece))
    return whole.hexdigest()


def record(file: Path, digest: str) -> None:
    """Notes that a file has this digest. Where the note cannot be written, the file will be read once more."""
    if not is_digest(digest):
        return
    with suppress(OSError):
        note = _note(digest)
        note.parent.mkdir(parents=True, exist_ok=True)
        checked = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        atomic.write(note, json.dumps(_facts(file) | {"checked": checked}).encode(), replace=True, durable=False)


def is_recorded(file: Path, digest: str) -> bool:
    """Whether a file was found to have this digest, and has not changed since."""
    try:
        found = json.loads(_note(digest).read_bytes())
        return all(found.get(name) == value for name, value in _facts(file).items())
    except (OSError, ValueError, AttributeError):
        return False


def forget(digest: str) -> None:
    """Removes the record of a file that is gone or damaged."""
    with suppress(OSError):
        _note(digest).unlink()


def _facts(file: Path) -> dict[str, int]:
    facts = file.stat()
    return {"bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns}


def _note(digest: str) -> Path:
    return cache.folder() / "checked" / f"{digest}.json"
