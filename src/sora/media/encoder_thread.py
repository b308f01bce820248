"""An encoder in a thread of its own: frames are encoded while the next are painted."""

from __future__ import annotations

import threading
from queue import Queue
from typing import Protocol

import numpy as np

WAITING = 2**26  # bytes of frames that may wait for the encoder
MAX_WAITING, MIN_WAITING = 64, 2  # frames


class Encoder(Protocol):
    """Frames of one size, in order, into a file."""

    def write(self, frame_YXC: np.ndarray) -> None: ...

    def close(self) -> None:
        """All frames are there: finishes the file."""
        ...

    def abandon(self) -> None:
        """Lets go of everything; the file may be half made. Harmless after ``close``."""
        ...


class EncoderThread:
    """Hands frames to an encoder that works in a thread of its own, and waits where that falls too far behind, so that
    memory stays flat. What goes wrong there is raised here, by the next ``write`` or ``close``.

    Frames must not change once they are written.
    """

    def __init__(self, encoder: Encoder, frame_bytes: int) -> None:
        self._encoder = encoder
        self._frames: Queue[np.ndarray | None] = Queue(min(max(WAITING // frame_bytes, MIN_WAITING), MAX_WAITING))
        self._failure: BaseException | None = None
        self._over = False
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    def write(self, frame_YXC: np.ndarray) -> None:
        self._complain()
        self._frames.put(frame_YXC)

    def close(self) -> None:
        self._frames.put(None)
        self._thread.join()
        self._complain()
        self._encoder.close()

    def abandon(self) -> None:
        self._over = True
        self._encoder.abandon()  # before the thread ends: it may wait for a program that does not read
        self._frames.put(None)
        self._thread.join()

    def _work(self) -> None:
        """Goes on taking frames after a failure, or whoever paints would wait for room for ever."""
        while (frame_YXC := self._frames.get()) is not None:
            if self._over or self._failure is not None:
                continue
            try:
                self._encoder.write(frame_YXC)
            except BaseException as error:
                self._failure = error

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure
