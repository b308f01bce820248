"""What painting reports as it goes on. Imports no torch, so that whoever listens need not either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressEvent:
    """How far a painting is.

    phase: "load" (the model), "encode" (what is known, and the words), "sample", "decode", or "refine" (the tiles of a
    large picture). done, total: steps of the phase; frames for "decode". A phase begins with done = 0, but for
    "sample" and "decode", which report what is finished. window: which of ``windows``, the canvases that a film is
    painted in one after another, counted from 1; each has phases of its own. shot: which of the film's ``shots`` the
    window is of, counted from 1.
    """

    phase: str
    done: int
    total: int
    window: int = 1
    windows: int = 1
    shot: int = 1
    shots: int = 1


Listener = Callable[[ProgressEvent], None]
