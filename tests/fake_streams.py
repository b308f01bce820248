"""CUDA's streams and events for machines without CUDA, as far as who waits for whom, and for which copy. For
``fake_cuda``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

cards: list[Any] = []
"""The devices that stand in for a real one, the innermost last."""


def current() -> Any:
    return cards[-1]


@dataclass
class Copy:
    """One that page-locked memory waits for."""

    target: Tensor
    source: Tensor
    done: bool = False

    def __post_init__(self) -> None:
        self.source = self.source.detach()  # so that the program's own tensor goes when the program drops it

    def finish(self) -> None:
        if not self.done:
            self.done = True
            self.target.copy_(self.source)


class FakeStream:
    def __init__(self, device: object = None, **_: Any) -> None:
        self.waiting: list[Copy] = []
        self.cuda_stream = current().add_stream(self)

    def wait_event(self, event: FakeEvent) -> None:
        current().sanitizer._handle_event_wait(id(event), self.cuda_stream)
        self.waiting += event.copies

    def wait_stream(self, other: FakeStream) -> None:
        event = FakeEvent()
        event.record(other)
        self.wait_event(event)

    def synchronize(self) -> None:
        current().sanitizer._handle_stream_synchronization(self.cuda_stream)
        self.flush()

    @property
    def unfinished(self) -> list[Copy]:
        return [copy for copy in self.waiting if not copy.done]

    def flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        for copy in waiting:
            copy.finish()


class FakeEvent:
    """As CUDA has it, one that was never recorded is waited for by nobody."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self.copies: list[Copy] = []
        self.timed, self.recorded = enable_timing, False
        current().sanitizer._handle_event_creation(id(self))
        current().events.append(self)  # ids are not used twice

    def record(self, stream: FakeStream | None = None) -> None:
        recorded: FakeStream = stream or current().stream()
        self.recorded = True
        self.copies = recorded.unfinished
        current().sanitizer._handle_event_record(id(self), recorded.cuda_stream)

    def wait(self, stream: FakeStream | None = None) -> None:
        (stream or current().stream()).wait_event(self)

    def synchronize(self) -> None:
        current().sanitizer._handle_event_synchronization(id(self))
        for copy in self.copies:
            copy.finish()

    def query(self) -> bool:
        return all(copy.done for copy in self.copies)

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.timed and end.timed and self.recorded and end.recorded
        return 1.0
