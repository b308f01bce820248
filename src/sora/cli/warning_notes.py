"""Warnings of work that goes on, as notes for a person."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sora.cli.progress import note
from sora.errors import SoraWarning


@contextmanager
def as_notes(label: str, quiet: bool) -> Iterator[None]:
    """Within the block each ``SoraWarning`` is one line on stderr, and every one is shown; others are as they were.
    label: before each line. quiet: the person asked for silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", SoraWarning)
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, SoraWarning):
                note(f"{label}{message}", quiet)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = shown
        yield
