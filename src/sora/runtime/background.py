"""Work that a thread does before its result is asked for: one thing after the other, until it is stopped."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")

POLL_SECONDS = 0.5  # between looks at a wait that Ctrl-C must be able to end, on every system


class Stopped(Exception):
    """Raised by a work's ``check`` once nobody wants its result any more."""


@dataclass(frozen=True)
class Work(Generic[Result]):
    """run: is given a function that it calls every now and then, and that raises Stopped. is_result: whether it makes
    something that is taken later, and not only prepares for what follows."""

    name: str
    run: Callable[[Callable[[], None]], Result]
    is_result: bool = True


class Background(Generic[Result]):
    """One thread at a time, which does what ``start`` was given in order. It ends when this object goes, and when the
    program ends."""

    def __init__(self) -> None:
        self._futures: dict[str, Future[Result]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, works: Sequence[Work[Result]]) -> None:
        """Do these, in place of what was given before."""
        self.stop()
        if not works:
            return
        self._stop = threading.Event()
        tasks = [(work, Future[Result]()) for work in works]
        self._futures = {work.name: future for work, future in tasks if work.is_result}
        # The thread knows this object by its event alone, and so does not keep it.
        self._thread = threading.Thread(target=_work_off, args=(tasks, self._stop), name="sora-background")
        self._finalizer = weakref.finalize(self, _end, self._stop, self._thread)
        self._thread.start()

    def take(self, name: str) -> Result | None:
        """The result of a work, waited for where it has begun; None where there is none. A result can be taken once.
        Raises what the work raised."""
        future = self._futures.pop(name, None)
        if future is None or future.cancel():
            return None
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
        return None if isinstance(future.exception(), Stopped) else future.result()

    def wait(self) -> None:
        """Wait until all results that were not taken are there."""
        while wait(self._futures.values(), timeout=POLL_SECONDS).not_done:
            pass

    def stop(self) -> None:
        """Drop what was not taken, and wait for the thread to end."""
        if self._thread is not None:
            self._finalizer.detach()
            _end(self._stop, self._thread)
        self._futures, self._thread = {}, None


def _end(stop: threading.Event, thread: threading.Thread) -> None:
    """Ask the thread to end and wait for it, so that what it held is free. The thread itself may be who collects the
    garbage that calls this."""
    stop.set()
    while thread.is_alive() and thread is not threading.current_thread():
        thread.join(POLL_SECONDS)


def _work_off(tasks: list[tuple[Work[Result], Future[Result]]], stop: threading.Event) -> None:
    def check() -> None:
        # Python waits for this thread at its end, when its main thread counts as dead already.
        if stop.is_set() or not threading.main_thread().is_alive():
            raise Stopped

    while tasks:
        work, future = tasks.pop(0)
        if not future.set_running_or_notify_cancel():
            continue
        try:
            check()
            future.set_result(work.run(check))
        except BaseException as error:
            future.set_exception(error)
        del work, future
