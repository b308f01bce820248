"""The other processes, as rank 0 sees them: started, sent what to compute, watched, ended.

A worker runs a module that calls ``worker.serve``. It ends by itself when its pipe closes, however rank 0 came to its
end; where a worker ends unasked, the work of all ends with an error that describes it.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import torch

from sora.errors import OutOfMemory, SoraError, printable
from sora.runtime.parallel.messages import packed
from sora.runtime.parallel.ranks import Ranks, abort

GRACE = 5.0  # seconds: in which workers that are asked to end do so, and in which a failure's cause is known
MAX_ERROR_BYTES = 4000  # of what a worker wrote before it ended


@dataclass(frozen=True)
class Setup:
    """What a worker is sent first. rank, size, store: as in ``Ranks``. device: "cuda" or "cpu", of all processes.
    threads: of torch; 0 for as many as it has."""

    rank: int
    size: int
    device: str
    store: str
    threads: int


@dataclass(frozen=True)
class Begin:
    """Makes workers ready for the messages that follow, and forget what they had before. job: what their module needs
    for that."""

    job: Any


@dataclass(frozen=True)
class Reply:
    """What a worker answers: a value, or the error that ended it."""

    value: Any = None
    error: SoraError | None = None


class _Worker:
    """One process. replies: what it answered, as bytes."""

    def __init__(self, module: str, rank: int, device: torch.device) -> None:
        own, theirs = socket.socketpair()
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, as long as the process
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                env=_environment(rank, device),
                start_new_session=True,  # Ctrl-C is for rank 0 alone, which may let a step end first
            )
        self.rank, self.pipe = rank, Connection(own.detach())
        self.replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def end(self) -> str:
        """How it ended, in words; it has closed its pipe."""
        try:
            status = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if status < 0:
            why = ", as Linux does where its memory runs out" if status == -signal.SIGKILL else ""
            return f"was ended by {signal.Signals(-status).name}{why}"
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - MAX_ERROR_BYTES))
        lines = self.errors.read().decode(errors="replace").strip().splitlines()  # the last says which exception
        return f"ended with status {status}" + (
            f": {printable(lines[-1].removeprefix(f'[rank{self.rank}]: '), 300)}" if lines else ""
        )


class Workers:
    """The processes of ranks 1 and up. ranks: this process's own place, once ``connect`` was called. failure: why the
    group is of no more use, None as long as it is. released: what workers need not keep any longer, by the numbers that
    their module gives out; another message names them."""

    def __init__(self, module: str, size: int, device: torch.device) -> None:
        """Start them. module: what each runs, by its full name. device: of this process; worker N gets the N-th
        after it."""
        self.size, self.device = size, device
        self.ranks: Ranks | None = None
        self.failure: SoraError | None = None
        self.released: list[int] = []
        self._folder = tempfile.TemporaryDirectory(prefix="sora-gpus-")
        self._ends = threading.Event()
        self._workers: list[_Worker] = []
        self._leave: list[Callable[[], None]] = []
        self._finalizer = weakref.finalize(self, _end_all, self._workers, self._ends, self._leave)
        for rank in range(1, size):
            self._workers.append(_Worker(module, rank, device))
        for worker in self._workers:
            arguments = (weakref.ref(self), worker, self._ends)
            threading.Thread(target=_watch, args=arguments, name=f"rank {worker.rank}", daemon=True).start()

    def connect(self, threads: int = 0) -> None:
        """Form the group. threads: of torch in each; 0 for as many as it has. Raises what a worker raises."""
        store = str(Path(self._folder.name) / "store")
        with self.guarded():
            for worker in self._workers:
                setup = Setup(worker.rank, self.size, self.device.type, store, threads)
                self._send_bytes(worker, packed(setup)[0])
            self.replies()  # all have imported what they need, and are about to join
            self.ranks = Ranks(0, self.size, self.device, store)
            self._leave.append(self.ranks.leave)

    def send(self, message: object) -> None:
        """Send a message to all; its tensors go by broadcast. Within ``guarded``."""
        assert self.ranks is not None
        data, tensors = packed(message)
        for worker in self._workers:
            self._send_bytes(worker, data)
        self.ranks.broadcast(tensors)

    def replies(self) -> list[Any]:
        """The next answer of each, in the order of their ranks. Raises what a worker raised."""
        return [self._reply_of(worker) for worker in self._workers]

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Around everything that all processes do together: whatever goes wrong in it, here or in a worker, ends the
        group, and is raised as an error that says in which process it was."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except BaseException as error:
            if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
                self._ends.wait(GRACE)  # a collective fails before the reason for it is known
            cause = self.failure or _out_of_memory(0, error)
            self.failure = cause or SoraError("the processes of --gpus were stopped")
            self.close()
            if cause is None:
                raise
            raise cause from error
        if self.failure is not None:
            self.close()
            raise self.failure

    def close(self) -> None:
        """End all workers, whatever they compute: they keep nothing. May be called more than once."""
        self.failure = self.failure or SoraError("the processes of --gpus were stopped")
        self._finalizer()
        self._folder.cleanup()

    def fail(self, worker: _Worker, error: SoraError | None) -> None:
        """Take note of the end of a worker. error: what it sent before, if anything."""
        if self.failure is None:
            cause = error or SoraError(f"process {worker.rank} of --gpus {self.size} {worker.end()}")
            self.failure = cause
        self._ends.set()
        if self.device.type == "cuda":
            abort()

    def _send_bytes(self, worker: _Worker, data: bytes) -> None:
        try:
            worker.pipe.send_bytes(data)
        except OSError as error:
            raise RuntimeError(f"process {worker.rank} takes no more messages") from error

    def _reply_of(self, worker: _Worker) -> Any:
        data = None
        while data is None and self.failure is None:
            with suppress(queue.Empty):
                data = worker.replies.get(timeout=0.1)
        if data is None:
            raise RuntimeError(f"process {worker.rank} does not answer")
        return pickle.loads(data).value


def _watch(workers: weakref.ref[Workers], worker: _Worker, ends: threading.Event) -> None:
    """Pass on what a worker answers, until it is gone."""
    error: SoraError | None = None
    with suppress(OSError, EOFError):
        while error is None:
            data = worker.pipe.recv_bytes()
            error = pickle.loads(data).error
            if error is None:
                worker.replies.put(data)
    if not ends.is_set() and (own := workers()) is not None:
        own.fail(worker, error)


def _end_all(workers: list[_Worker], ends: threading.Event, leave: list[Callable[[], None]]) -> None:
    """End all processes and wait until they are gone. leave: leaves their group, where there is one."""
    ends.set()
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()
        worker.pipe.close()
        worker.errors.close()
    for each in leave:
        each()


def _out_of_memory(rank: int, error: BaseException) -> SoraError | None:
    if not isinstance(error, torch.OutOfMemoryError):
        return None
    return memory_error(rank)


def memory_error(rank: int) -> OutOfMemory:
    """Of the device of one process."""
    hint = "try another plan with --memory, as in --memory streamed, or a smaller --size or fewer --frames"
    return OutOfMemory(f"the device of process {rank} ran out of memory; {hint}")


def _environment(rank: int, device: torch.device) -> dict[str, str]:
    """Of the process of a rank: it finds this very program, and sees its own device alone."""
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    environment["PYTHONSAFEPATH"] = "1"  # and no module of the folder that the program was started in
    if device.type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        cards = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
        environment["CUDA_VISIBLE_DEVICES"] = cards[rank]
    return environment
