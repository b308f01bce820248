"""Standard output and error that can be closed, broken or of any encoding without stopping what the program does."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sora.errors import InputError, UsageError

READABLE = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2500\u2501\u2550\u2578\u257a", "-"),
    **dict.fromkeys("\u2502\u2503\u2551", "|"),
    **dict.fromkeys("\u2022\u00b7\u2219\u25cf\u2713\u2714", "*"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\u3000", " "),
    "\u2026": "...",
    "\u2192": "->",
    "\u2190": "<-",
    "\u00d7": "x",
    "\u2264": "<=",
    "\u2265": ">=",
    "\uff0c": ", ",
}
"""What stands for a character that an encoding lacks, where plain letters can."""

_LACKS = "sora.readable"  # the name of how such characters are encoded


def _readable(error: UnicodeError) -> tuple[str, int]:
    """The encoder's way out: plain letters where they serve, escapes elsewhere."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (READABLE.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(escaped), error.end


class ForgivingStream:
    """Passes text on. What its encoding lacks is written in plain letters or as escapes; once nobody reads any more, it
    goes nowhere."""

    def __init__(self, stream: Any, *, leads_nowhere: bool = False) -> None:
        self._stream, self.leads_nowhere = stream, leads_nowhere

    @property
    def encoding(self) -> str:
        """Its name; another than ASCII's, since typer takes a stream of ASCII for broken and writes UTF-8 into it."""
        name = getattr(self._stream, "encoding", None) or "ascii"
        try:
            return "iso8859-1" if codecs.lookup(name).name == "ascii" else name
        except LookupError:
            return "iso8859-1"

    def write(self, text: Any) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            return self.write(text.encode(encoding, _LACKS).decode(encoding))
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


class Aside(ForgivingStream):
    """What stands for standard output while that takes a film: all that is printed goes to standard error. film: the
    real standard output."""

    def __init__(self, film: Any) -> None:
        super().__init__(sys.stderr)
        self._film = film

    def send(self, file: Path) -> None:
        """Copy a file to the real standard output. Raises InputError where its reader is gone."""
        raw = self._film._stream if isinstance(self._film, ForgivingStream) else self._film
        try:
            with file.open("rb") as opened:
                shutil.copyfileobj(opened, raw.buffer, 1 << 20)
            raw.buffer.flush()
        except OSError as error:
            if isinstance(self._film, ForgivingStream):
                self._film._give_up()
            reason = "its reader is gone" if isinstance(error, BrokenPipeError) else error.strerror or error
            raise InputError(f"cannot write the film to standard output: {reason}; name a file with -o") from None


@contextmanager
def kept_for_film(wanted: bool) -> Iterator[None]:
    """Where wanted, standard output takes nothing but a film in the block, see ``Aside``. Raises UsageError where it is
    a terminal or closed."""
    if not wanted:
        yield
        return
    real = sys.stdout
    if real.isatty() or getattr(real, "leads_nowhere", False):
        what = "a terminal" if real.isatty() else "closed"
        hint = "pipe it to a program, as in | ffplay -, or name a file"
        raise UsageError(f"-o - writes a film to standard output, which is {what}; {hint}")
    sys.stdout = Aside(real)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout = real


def install() -> None:
    """Make this process's standard streams forgiving."""
    codecs.register_error(_LACKS, _readable)
    _open_standard_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        is_closed = stream is None  # since the program began
        stream = open(os.devnull, "w", encoding="utf-8") if is_closed else stream  # noqa: SIM115, PTH123
        setattr(sys, name, ForgivingStream(stream, leads_nowhere=is_closed))


def _open_standard_descriptors() -> None:
    """A descriptor that is closed would be given to the next file that is opened, and be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
