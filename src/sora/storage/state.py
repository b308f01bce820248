"""The folder of what must outlive a process: jobs that can be gone on with, and who stages files where."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """Where the state lies: ``SORA_STATE``, else the place that the system has for a user's state. It need not exist
    yet. Unlike the cache, its loss costs work."""
    if chosen := os.environ.get("SORA_STATE"):
        return Path(chosen).absolute()
    from platformdirs import user_state_path

    return user_state_path("sora", appauthor=False)
