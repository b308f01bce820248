"""Which weights a folder or a file holds, recognised in milliseconds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sora.errors import ModelError
from sora.storage import regular

HEAD = 1 << 16  # bytes of each file that are read, in which most headers end


def fingerprint(path: Path) -> str:
    """sha256, in hex, of the names, sizes and first bytes of a file, or of all the files of a folder: it changes with
    anything that is saved anew in another shape, number format or place. Raises ModelError."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    try:
        for file in files:
            name = file.relative_to(path).as_posix()
            digest.update(f"{name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
            with regular.opened(file) as opened:
                digest.update(opened.read(HEAD))
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}); check its permissions") from None
    return digest.hexdigest()
