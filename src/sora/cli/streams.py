"""Standard output and error that can be closed, broken or of any encoding without stopping what the program does."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any


class ForgivingStream:
    """Passes text on. What its encoding lacks is written as escapes; once nobody reads any more, it goes nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: Any) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Let the descriptor lead nowhere, so that what is still buffered can be flushed there."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    @property
    def buffer(self) -> ForgivingStream:
        """As forgiving, for bytes."""
        return ForgivingStream(self._stream.buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """Make this process's standard streams forgiving."""
    _open_standard_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed when the program began
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        setattr(sys, name, ForgivingStream(stream))


def _open_standard_descriptors() -> None:
    """A descriptor that is closed would be given to the next file that is opened, and be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
