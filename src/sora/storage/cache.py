"""The folder of what sora keeps to save time."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """Where it lies: ``SORA_CACHE``, else the place of a user's caches. It need not exist yet. Whoever removes it loses
    time alone."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(os.environ.get("SORA_CACHE") or (Path(home) / "sora" if home else Path.home() / ".cache" / "sora"))
