"""Reading a file in threads into page-locked memory, while what was read before is copied to a GPU.

One thread that reads and then copies, by turns, moves about 3 GB/s from the page cache to a card; neither the memory
nor the bus is busy then. A copy from page-locked memory does not hold up the thread that asks for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from sora.errors import ModelError

BUFFERS, THREADS = 8, 4


class ReadAhead:
    """Buffers that are filled ahead of their use. Close it at the end.

    device: where the pieces go; on CUDA the buffers are page-locked. piece: bytes of a buffer.
    """

    def __init__(self, device: torch.device, piece: int) -> None:
        self.piece, self._on_cuda = piece, device.type == "cuda"
        self._buffers = [torch.empty(piece, dtype=torch.uint8, pin_memory=self._on_cuda) for _ in range(BUFFERS)]
        self._copied: list[torch.cuda.Event | None] = [None] * BUFFERS
        self._threads, self._next = ThreadPoolExecutor(THREADS), 0

    def pieces(self, file: Path, start: int, counts: Sequence[int]) -> Iterator[Tensor]:
        """The file's bytes from ``start`` on, in pieces of so many bytes, at most ``piece`` each: flat uint8 tensors on
        the CPU. Each may be overwritten once the next but BUFFERS - 1 is asked for and what the current stream was
        given to do with it is done. Raises ModelError for a file that ends too early."""
        places, waiting = list(accumulate(counts, initial=start)), deque[tuple[int, int, Future[None]]]()
        try:
            for number, count in enumerate(counts):
                waiting.append(self._submit(file, places[number], count))
                if len(waiting) == BUFFERS - 1:
                    yield from self._take(waiting)
            while waiting:
                yield from self._take(waiting)
        finally:
            for *_, future in waiting:
                future.cancel()
            for *_, future in waiting:
                if not future.cancelled():
                    future.exception()

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _submit(self, file: Path, place: int, count: int) -> tuple[int, int, Future[None]]:
        buffer = self._next
        self._next = (buffer + 1) % BUFFERS
        if (copied := self._copied[buffer]) is not None:
            copied.synchronize()
        return buffer, count, self._threads.submit(_read, file, place, self._buffers[buffer][:count])

    def _take(self, waiting: deque[tuple[int, int, Future[None]]]) -> Iterator[Tensor]:
        buffer, count, future = waiting.popleft()
        future.result()
        yield self._buffers[buffer][:count]
        if self._on_cuda:
            copied = self._copied[buffer] = self._copied[buffer] or torch.cuda.Event()
            copied.record()


def _read(file: Path, place: int, piece: Tensor) -> None:
    view = piece.numpy().data
    with file.open("rb", buffering=0) as opened:
        opened.seek(place)
        while view:
            got = opened.readinto(view)
            if not got:
                raise ModelError(f"the weights file {file} ends too early; download it again")
            view = view[got:]
