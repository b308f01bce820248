"""Where the time of one film goes, by the engine's events: what ``own_runs`` keeps of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from sora.engine.progress import Listener, ProgressEvent
from sora.weights import loading_time


class PhaseClock:
    """seconds: by phase, "encode", "sample", "decode" and "write", of a film from the first event to ``stop``; "load"
    is what loading took meanwhile, and is in no other phase. whole: whether every step of every window ran. steps: how
    many there were; later_steps: (how many, their seconds) of those after each window's first, in which a compiler may
    work.

    now, loading: clocks in seconds.
    """

    def __init__(
        self, now: Callable[[], float] = time.perf_counter, loading: Callable[[], float] = loading_time.seconds
    ) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(("load", "encode", "sample", "decode", "write"), 0.0)
        self.whole = True
        self.steps, self.later_steps = 0, (0, 0.0)
        self._now, self._loading = now, loading
        self._mark, self._loaded = now(), loading()
        self._phase = ""

    def on_event(self, event: ProgressEvent) -> None:
        phase = event.phase
        passed = self._lap(self._phase or phase if event.done == 0 else phase)
        if phase == "sample":
            self._count_step(event, passed)
        if phase == "refine":
            self.whole = False
        self._phase = phase

    def before(self, listener: Listener) -> Listener:
        """A listener that keeps this clock, and then passes the event on."""

        def on_event(event: ProgressEvent) -> None:
            self.on_event(event)
            listener(event)

        return on_event

    def stop(self) -> None:
        """The film is written."""
        self._lap("write")

    def _count_step(self, event: ProgressEvent, passed: float) -> None:
        self.steps += 1
        if self._phase != "sample":
            self.whole = self.whole and event.done == 1
        else:
            steps, seconds = self.later_steps
            self.later_steps = steps + 1, seconds + passed

    def _lap(self, phase: str) -> float:
        """Seconds since the last one, without loading."""
        now, loaded = self._now(), self._loading()
        loading = loaded - self._loaded
        passed = max(0.0, now - self._mark - loading)
        self.seconds["load"] += loading
        self.seconds[phase] = self.seconds.get(phase, 0.0) + passed
        self._mark, self._loaded = now, loaded
        return passed
