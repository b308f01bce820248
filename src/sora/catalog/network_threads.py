"""The network is used in threads of their own, which end with the process: a name that is looked up cannot be
interrupted, and Ctrl-C must not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread

from sora.catalog.transfer import Session, Stopped

TICK = 0.1  # seconds between two looks at what has come
PATIENCE = 0.5  # seconds that stopped threads get to close what they write

Notify = Callable[[str], None]


class NetworkThreads:
    """Runs tasks in threads and waits for them. on_note: gets what a person should know meanwhile, a line each.
    on_tick: is called now and then."""

    def __init__(self, session: Session, on_note: Notify | None, on_tick: Callable[[], None] = lambda: None) -> None:
        self.session, self.on_note, self.on_tick = session, on_note, on_tick
        self.error: BaseException | None = None
        self.last_note = ""

    def run(self, tasks: list[Callable[[], None]]) -> None:
        """Carries out tasks at once, and reports meanwhile. Raises the first error, once all have ended or soon."""

        def guarded(task: Callable[[], None]) -> None:
            try:
                task()
            except Stopped:
                pass
            except BaseException as error:
                self.error = self.error or error
                self.session.stop.set()

        threads = [Thread(target=guarded, args=(task,), daemon=True) for task in tasks]
        try:
            for thread in threads:
                thread.start()
            self._report()
            while any(thread.is_alive() for thread in threads) and not self.session.stop.is_set():
                threads[0].join(TICK) if threads[0].is_alive() else time.sleep(TICK)
                self._report()
        finally:
            if any(thread.is_alive() for thread in threads):
                self.session.stop.set()
                until = time.monotonic() + PATIENCE
                for thread in threads:
                    thread.join(max(0.0, until - time.monotonic()))
        self._report()
        if self.error is not None:
            raise self.error

    def _report(self) -> None:
        while self.session.notes:
            note = self.session.notes.popleft()
            if self.on_note is not None and note != self.last_note:
                self.on_note(note)
            self.last_note = note
        self.on_tick()
