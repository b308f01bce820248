"""Ctrl-C, TERM and HUP: the first one lets the step that is being computed end, so that it is kept; the second one
stops at once.

A signal that the program was started with ignored, as INT is in the background of a script and HUP under nohup, stays
ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A person or the system asked the program to stop. status: of its exit, 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__("stopped")
        self.status = 128 + number


@dataclass
class _State:
    """reason: of the first signal, None before it. waits: whether a step is being computed that ends first. announce:
    says that it does. clean: removes what is half made, when the program ends at once."""

    reason: Stopped | None = None
    waits: bool = False
    announce: Callable[[], None] = lambda: None
    clean: list[Callable[[], None]] = field(default_factory=list)


_state = _State()


def install() -> None:
    """Heed the signals from now on. Only the program does, never a library call."""
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _on_signal)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, set(heeded)), name="signals", daemon=True).start()


def on_quit(clean: Callable[[], None]) -> None:
    """What to do when the program ends at once; it must be quick, and safe from another thread."""
    _state.clean.append(clean)


def requested() -> Stopped | None:
    """What a signal asked for since the program began."""
    return _state.reason


@contextmanager
def end_of_step_first(announce: Callable[[], None]) -> Iterator[None]:
    """In the block the first signal raises nothing; the block looks at ``requested`` between steps. announce: tells a
    person that the step ends first."""
    _state.waits, _state.announce = True, announce
    try:
        yield
    finally:
        _state.waits = False


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001, as signal.signal calls it
    if _state.reason is not None:
        return  # the watching thread ends the program
    _state.reason = Stopped(number)
    if not _state.waits:
        raise _state.reason
    _state.announce()


def _watch(reader: int, heeded: set[int]) -> None:
    """Count signals in a thread of its own, since the main one may be inside a long computation."""
    count = 0
    while data := os.read(reader, 64):
        count += sum(byte in heeded for byte in data)
        if count > 1:
            for clean in _state.clean:
                clean()
                clean()  # the main thread may have made something in between
            first = _state.reason
            os._exit(first.status if first is not None else 128 + data[-1])
