"""The ffmpeg program on files of others: a process with bounds on its memory, its time and what it prints.

A file that was made to harm finds a process that may read files and pipes alone, write none, and hold so much memory.
Time is bounded by standstill where frames stream, so that a long film is read to its end.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import IO

import imageio_ffmpeg

MEMORY = 2 << 30  # bytes of address space, where nothing is known of the frames
FRAMES_HELD = 64  # of reference, in threads and in filters, of at most 4 bytes a pixel
PATIENCE = 30.0  # seconds without anything new
LINE_PATIENCE = 90.0  # for a line, of which ffmpeg prints hundreds at once
MAX_LOG = 1 << 24  # bytes of a log that are looked at: tags stand in it, and a complaint for each damaged packet
_LAST_WORDS = 2.0  # seconds in which a program that has printed all may end by itself
TOO_LONG = b"\nError: nothing comes of it, so reading it was stopped\n"


def command(*arguments: str) -> list[str]:
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", *arguments]


def taking_frames(*arguments: str, stdout: int, stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """A running ffmpeg that reads frames from its standard input. The system kills it when the thread that starts it
    ends, where Linux's setpriv(1) can. Elsewhere its end is that of its input, and what waits in an encoder is encoded
    first, for seconds. A terminal's Ctrl-C is for sora, which ends it in its own time."""
    program = [*launcher(), *command("-v", "error", *arguments)]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, start_new_session=True)


@cache
def launcher() -> tuple[str, ...]:
    """What stands before a command that is to end with the thread that starts it; nothing where the system cannot."""
    program = shutil.which("setpriv") if sys.platform == "linux" else None
    if program is None:
        return ()
    found = (program, "--pdeathsig", "KILL")
    try:
        tried = subprocess.run([*found, "true"], capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return ()
    return found if tried.returncode == 0 else ()  # some, as BusyBox's, lack the option


def memory_for(pixels: int) -> int:
    """Bytes that decoding frames of so many pixels may take."""
    return MEMORY + FRAMES_HELD * 4 * pixels


def run(
    arguments: Sequence[str], *, max_bytes: int = 1 << 20, seconds: float = PATIENCE, writes: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """What ffmpeg prints, at most ``max_bytes`` of it, after which or after so many seconds it is stopped. Its status
    is 0 where it printed all that was wanted, and its log says when it took too long. writes: whether it may write
    files."""
    with _process(arguments, MEMORY, writes) as (process, log):
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        began = time.monotonic()
        try:
            out = _pipe(process).read(max_bytes)
            if len(out) == max_bytes:
                process.kill()
            status = process.wait()
        finally:
            timer.cancel()
        late = TOO_LONG if time.monotonic() - began >= seconds else b""
        status = 0 if len(out) == max_bytes else status
        return subprocess.CompletedProcess(arguments, status, out, log.text() + late)


class Output:
    """What a running ffmpeg prints. stalled: whether it was stopped since nothing came. log: once the block is over."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process, self._out = process, _pipe(process)
        self._deadline: float | None = None
        self._over = threading.Event()
        self.stalled, self.ended, self.log = False, False, ""
        threading.Thread(target=self._watch, name="decoder", daemon=True).start()

    def read(self, size: int, patience: float = PATIENCE) -> bytes:
        """The next bytes, fewer only at the end. patience: seconds, after which what has not come will not."""
        self._deadline = time.monotonic() + patience
        try:
            data = self._out.read(size)
        finally:
            self._deadline = None  # what is done with the bytes may take longer
        self.ended = len(data) < size
        return data

    def lines(self) -> Iterator[bytes]:
        """Line by line."""
        while True:
            self._deadline = time.monotonic() + LINE_PATIENCE
            line = self._out.readline(1 << 16)
            self._deadline = None
            if not line:
                self.ended = True
                return
            yield line

    def close(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self.stalled = True
                self._process.kill()
                return


@contextmanager
def running(arguments: Sequence[str], *, memory: int = MEMORY) -> Iterator[Output]:
    """A running ffmpeg, stopped at the block's end."""
    with _process(arguments, memory) as (process, log):
        output = Output(process)
        try:
            yield output
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_WORDS if output.ended else 0)
        finally:
            output.close()
    output.log = log.text().decode(errors="replace")


class _Log:
    """Takes all of a log, so that ffmpeg never waits, and keeps its beginning."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, bytearray()
        self._thread = threading.Thread(target=self._take, name="log", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            while piece := self._stream.read(1 << 14):
                self._kept += piece[: MAX_LOG - len(self._kept)]

    def text(self) -> bytes:
        self._thread.join()
        return bytes(self._kept)


@contextmanager
def _process(
    arguments: Sequence[str], memory: int, writes: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], _Log]]:
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    _limit(process.pid, memory, writes)
    log = _Log(process.stderr)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()
        log.text()
        _pipe(process).close()
        process.stderr.close()


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _limit(pid: int, memory: int, writes: bool) -> None:
    """Bounds a process's memory and what it may write, where the system can for one that runs already."""
    if sys.platform != "linux":
        return
    import resource

    limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_CORE: 0} | ({} if writes else {resource.RLIMIT_FSIZE: 0})
    for kind, most in limits.items():
        with contextlib.suppress(OSError, ValueError):  # it may have ended, or have a lower bound
            resource.prlimit(pid, kind, (most, most))
