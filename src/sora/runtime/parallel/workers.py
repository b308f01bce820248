"""The other processes, as rank 0 sees them: started, sent what to compute, watched, ended, and where memory ran out
started anew.

A worker runs a module that calls ``worker.serve``. It ends by itself when its pipe closes, however rank 0 came to its
end; where a worker ends unasked, the work of all ends with an error that describes it.
"""

from __future__ import annotations

import pickle
import queue
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sora.errors import SoraError
from sora.runtime.parallel.failures import RankOutOfMemory, explained
from sora.runtime.parallel.messages import packed
from sora.runtime.parallel.process import GRACE, WorkerProcess
from sora.runtime.parallel.ranks import Ranks, abort


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
    """What a worker answers: a value, or the error that ended it. The first comes once it has imported what it needs,
    the second, once it is in the group, is how many bytes are free on its card, None on a CPU."""

    value: Any = None
    error: SoraError | None = None


class Workers:
    """The processes of ranks 1 and up. ranks: this process's own place, once ``connect`` was called. failure: why the
    group is of no more use, None as long as it is. released: what workers need not keep any longer, by the numbers that
    their module gives out; another message names them. starts: how often they were started. free_bytes: on each card
    when its process had joined; empty where all share the CPU's memory."""

    def __init__(self, module: str, size: int, device: torch.device) -> None:
        """Start them. module: what each runs, by its full name. device: of this process; worker N gets the N-th
        of the other cards."""
        self.size, self.device = size, device
        self.ranks: Ranks | None = None
        self.failure: SoraError | None = None
        self.released: list[int] = []
        self.starts = 0
        self.free_bytes: tuple[int, ...] = ()
        self._module, self._threads = module, 0
        self._kept: list[object] = []
        self._start()

    def _start(self) -> None:
        self.failure, self.starts = None, self.starts + 1
        self._folder = tempfile.TemporaryDirectory(prefix="sora-gpus-")
        self._ends = threading.Event()
        self._workers: list[WorkerProcess] = []
        self._leave: list[Callable[[], None]] = []
        self._finalizer = weakref.finalize(self, _end_all, self._workers, self._ends, self._leave)
        for rank in range(1, self.size):
            self._workers.append(WorkerProcess(self._module, rank, self.device))
        for worker in self._workers:
            arguments = (weakref.ref(self), worker, self._ends)
            threading.Thread(target=_watch, args=arguments, name=f"rank {worker.rank}", daemon=True).start()

    def connect(self, threads: int = 0) -> None:
        """Form the group. threads: of torch in each; 0 for as many as it has. Raises what a worker raises."""
        store = str(Path(self._folder.name) / "store")
        self._threads = threads
        with self.guarded():
            for worker in self._workers:
                setup = Setup(worker.rank, self.size, self.device.type, store, threads)
                self._send_bytes(worker, packed(setup)[0])
            self.replies()  # all have imported what they need, and are about to join
            self.ranks = self._joined(store)
            self._leave.append(self.ranks.leave)
            self.free_bytes = tuple(each for each in self.replies() if each is not None)

    def _joined(self, store: str) -> Ranks:
        """This process's place. It is taken in a thread, since whoever joins waits for hours for a process that ends
        meanwhile."""
        sequence = None if self.ranks is None else self.ranks.sequence
        joined: queue.SimpleQueue[Ranks | BaseException] = queue.SimpleQueue()

        card = torch.cuda.current_device() if self.device.type == "cuda" else None

        def join() -> None:
            try:
                if card is not None:
                    torch.cuda.set_device(card)  # which is the first card in every new thread
                joined.put(Ranks(0, self.size, self.device, store, sequence))
            except BaseException as error:
                joined.put(error)

        threading.Thread(target=join, name="rank 0", daemon=True).start()
        while self.failure is None:
            with suppress(queue.Empty):
                found = joined.get(timeout=0.05)
                if isinstance(found, BaseException):
                    raise found
                return found
        raise RuntimeError("a process ended before all had joined")

    def recover(self) -> None:
        """Where memory ran out in one of the processes, start the others anew and let them know what ``send`` was to
        keep; else do nothing. They have no canvas."""
        if not isinstance(self.failure, RankOutOfMemory):
            return
        self._start()
        self.released.clear()
        self.connect(self._threads)
        with self.guarded():
            for message in self._kept:
                self._send(message)

    def send(self, message: object, *, keep: bool = False) -> None:
        """Send a message to all; its tensors go by broadcast. keep: send it to processes that are started in place of
        these, too, as long as they do the same job. Within ``guarded``."""
        if isinstance(message, Begin):
            self._kept.clear()
        if keep or isinstance(message, Begin):
            self._kept.append(message)
        self._send(message)

    def _send(self, message: object) -> None:
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
        group, and is raised as an error that says in which process it was: RankOutOfMemory where memory ran out."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except BaseException as error:
            if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
                self._ends.wait(GRACE)  # a collective fails before the reason for it is known
            cause = self.failure or explained(0, error)
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

    def fail(self, worker: WorkerProcess, error: SoraError | None) -> None:
        """Take note of the end of a worker. error: what it sent before, if anything."""
        if self.failure is None:
            cause = error or SoraError(f"process {worker.rank} of --gpus {self.size} {worker.end()}")
            self.failure = cause
        self._ends.set()
        if self.device.type == "cuda":
            abort()

    def _send_bytes(self, worker: WorkerProcess, data: bytes) -> None:
        try:
            worker.pipe.send_bytes(data)
        except OSError as error:
            raise RuntimeError(f"process {worker.rank} takes no more messages") from error

    def _reply_of(self, worker: WorkerProcess) -> Any:
        data = None
        while data is None and self.failure is None:
            with suppress(queue.Empty):
                data = worker.replies.get(timeout=0.1)
        if data is None:
            raise RuntimeError(f"process {worker.rank} does not answer")
        return pickle.loads(data).value


def _watch(workers: weakref.ref[Workers], worker: WorkerProcess, ends: threading.Event) -> None:
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


def _end_all(workers: list[WorkerProcess], ends: threading.Event, leave: list[Callable[[], None]]) -> None:
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
