"""Where this machine's own films found what they were made from: the path last seen of each digest, in the state
folder of the person alone. Films themselves hold names, and can be made again here all the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sora.plan.recipe_names import is_in_memory
from sora.storage import atomic, regular, state

FILE = "inputs.json"
MAX_ENTRIES = 2000
MAX_BYTES = 1 << 24
PATIENCE = 2.0  # seconds to wait for another sora that writes it


def remember(inputs: Iterable[tuple[str, str]]) -> None:
    """Note each (absolute path, digest); of more than MAX_ENTRIES the oldest go. What cannot be kept is left out: it
    saves a person a flag, and no film is worth less without."""
    entries = {digest: path for path, digest in inputs if not is_in_memory(path)}
    if not entries:
        return
    from filelock import FileLock, Timeout  # late: it brings asyncio

    folder = state.folder()
    with suppress(OSError, Timeout):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / f"{FILE}.lock", timeout=PATIENCE):
            known = _read()
            if all(known.get(digest) == path for digest, path in entries.items()):
                return
            kept = {digest: path for digest, path in known.items() if digest not in entries} | entries
            newest = dict(list(kept.items())[-MAX_ENTRIES:])
            with atomic.written(folder / FILE, replace=True) as file:
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as opened:
                    json.dump(newest, opened)


def path_of(digest: str) -> Path | None:
    """The path that was noted last. Whether that file is there, and still the same, is for the caller to see."""
    path = _read().get(digest)
    return None if path is None else Path(path)


def _read() -> dict[str, str]:
    """Everything noted; nothing where the file is damaged."""
    try:
        with regular.opened(state.folder() / FILE) as file:
            known = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: path for key, path in known.items() if isinstance(path, str) and Path(path).is_absolute()}
