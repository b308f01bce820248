"""How long this thread has been loading checkpoints, to tell that from what it does with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Total(threading.local):
    seconds = 0.0
    is_counting = False


_total = _Total()


def seconds() -> float:
    """Spent by this thread since it began. Only differences mean anything."""
    return _total.seconds


@contextmanager
def counted() -> Iterator[None]:
    """The time of the block counts as loading, once where blocks are inside each other; also a decorator."""
    if _total.is_counting:
        yield
        return
    began, _total.is_counting = time.perf_counter(), True
    try:
        yield
    finally:
        _total.seconds += time.perf_counter() - began
        _total.is_counting = False
