"""What compiling costs and saves, and what of it earlier processes left on disk. Importing this imports no torch."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sora.storage import cache

SHARE_SAVED = 0.2
"""The share of a pass that compiling saves: on an H100 0.219 of the 5B's, 0.207 of the 1.3B's (torch 2.11)."""

COLD_SECONDS, CACHED_SECONDS = 17.0, 2.4
"""What the first compiled pass takes longer: 13 to 20 s there, 2.4 s from torch's cache on disk."""

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # where torch keeps what it compiles


def pays(plain_seconds: float, cost: float) -> bool:
    """Whether compiling saves time. plain_seconds: that the passes take uncompiled. cost: seconds that it takes."""
    return plain_seconds * SHARE_SAVED >= cost


def cost_of(graph: str | None = None) -> float:
    """Seconds that compiling a graph takes, by its name; None is whichever was compiled before."""
    return CACHED_SECONDS if _is_kept(graph) else COLD_SECONDS


def _is_kept(graph: str | None) -> bool:
    with suppress(OSError):
        marked = (_markers() / graph).is_file() if graph else any(_markers().iterdir())
        return marked and any((folder() / "fxgraph").iterdir())
    return False


def mark(graph: str) -> None:
    """Note for later processes that torch's cache has a graph: an empty file in the cache, so that whoever empties that
    removes it, too. A folder that cannot be written to only costs time."""
    with suppress(OSError):
        _markers().mkdir(parents=True, exist_ok=True)
        (_markers() / graph).touch()


def discard(graph: str) -> bool:
    """After a graph failed to compile that an earlier process compiled: torch's cache must be damaged, so remove it all
    if it is in our folder. Returns whether that was done."""
    if not _is_kept(graph) or folder() != _own_folder():
        return False
    shutil.rmtree(folder(), ignore_errors=True)
    with suppress(OSError):
        folder().mkdir(exist_ok=True)
        return True
    return False


def _markers() -> Path:
    return folder() / "sora"


def folder() -> Path:
    """Of torch's cache: in ours, unless a person chose another place. It need not exist yet."""
    return Path(os.environ.get(VARIABLE) or _own_folder())


def _own_folder() -> Path:
    return cache.folder() / "compiled"


def choose_folder() -> None:
    """Let torch use that folder. Where it cannot be written to, torch has a temporary one of its own."""
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        if os.access(folder(), os.W_OK):
            os.environ[VARIABLE] = str(folder())
