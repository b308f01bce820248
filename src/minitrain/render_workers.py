"""Processes that draw, tell and render clips, while the trainer's own process does nothing but train.

Rendering is thousands of small operations, which a graphics card would wait for and which a second core does meanwhile.
Groups of clips of one size and length pass through slots of shared memory, which is pinned where the trainer is on
CUDA. Workers are forked, so they are started before anything touches the card; they end with the trainer, whatever ends
that, and what goes wrong in one of them is raised in the trainer.
"""

from __future__ import annotations

import mmap
import multiprocessing as mp
import os
import queue
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain import hole_masks
from minitrain.clips import Clips, Mix, Size
from minitrain.worlds import World

CELL = 16  # pixels of a side over which the cover is averaged
NICENESS = 5  # the trainer comes first
WORDINGS = 2  # captions of each clip
GLANCE = 2.0  # seconds after which a worker that has nothing to do looks whether its trainer lives

Read = Callable[[list[str]], Tensor]
"""Captions to word ids, (B, L)."""


class WorkerFailed(RuntimeError):
    """A worker has ended; its traceback is in the message."""


@dataclass(frozen=True)
class RenderPlan:
    """What is rendered. sizes, lengths: how often clips of which (height, width) and how many frames. group: clips of
    one message. wide: share of groups of the second world, as long as ``RenderWorkers.broad`` is set."""

    sizes: Mapping[Size, float]
    lengths: Mapping[int, float]
    group: int = 4
    wide: float = 0.0
    mix: Mix = field(default_factory=Mix)

    @property
    def bytes(self) -> int:
        """Of the largest group: pixels and cover."""
        pixels = max(h * w for h, w in self.sizes) * max(self.lengths) * self.group
        return 3 * pixels + pixels // CELL**2


@dataclass
class ClipGroup:
    """Clips of one size and length. frames: (B, 3, F, Y, X) uint8. cover: (B, F, Y / CELL, X / CELL) uint8, how much of
    a cell the first actor covers. ids: (B, WORDINGS, L) words of captions. told: whether there are captions, which the
    second world has none of."""

    frames: Tensor
    cover: Tensor
    ids: Tensor
    holes: list[hole_masks.Hole | None]
    midway: list[bool]
    told: bool

    @property
    def size(self) -> Size:
        return self.frames.shape[3], self.frames.shape[4]

    @property
    def length(self) -> int:
        return self.frames.shape[2]


class RenderWorkers:
    """The processes, and the slots between them and the trainer. broad: whether the second world is rendered too.
    clips: how many have been taken so far."""

    def __init__(
        self, worlds: Sequence[World], plan: RenderPlan, read: Read, workers: int, seed: int, *, device: str = "cpu"
    ) -> None:
        context = mp.get_context("fork")
        self.plan, self.device, self.clips = plan, device, 0
        self._slots = 2 * workers + 6
        self._memory = mmap.mmap(-1, plan.bytes * self._slots)
        self._free, self._done = context.Queue(), context.Queue()
        self._broad = context.Value("b", 1)
        self._copying: list[tuple[Any, int]] = []
        self._pinned = False
        for slot in range(self._slots):
            self._free.put(slot)
        self._parent = os.getpid()
        self._workers = [
            context.Process(target=self._work, args=(worlds, read, Random(seed + i)), daemon=True)
            for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def __enter__(self) -> RenderWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def broad(self) -> bool:
        return bool(self._broad.value)

    @broad.setter
    def broad(self, wish: bool) -> None:
        self._broad.value = int(wish)

    def close(self) -> None:
        """End all workers. A second call does nothing."""
        for worker in self._workers:
            worker.kill()  # one that is told to terminate may hold the queue's lock for ever
        for worker in self._workers:
            worker.join()
        for line in (self._free, self._done):
            line.cancel_join_thread()
            line.close()
        self._workers = []

    # In a worker -----------------------------------------------------------------------------------------------------

    def _work(self, worlds: Sequence[World], read: Read, rng: Random) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.nice(NICENESS)
        torch.set_num_threads(1)
        try:
            sources = [Clips(world, rng, self.plan.mix) for world in worlds]
            while os.getppid() == self._parent:
                try:
                    slot = self._free.get(timeout=GLANCE)
                except queue.Empty:
                    continue
                self._done.put(self._rendered(slot, sources, read, rng))
        except BaseException:
            self._done.put(traceback.format_exc())
            self._done.close()
            self._done.join_thread()
        os._exit(0)  # nothing of the trainer's is to be tidied up here

    def _rendered(self, slot: int, sources: Sequence[Clips], read: Read, rng: Random) -> tuple[Any, ...]:
        """A group in a slot, and what is told about it."""
        plan = self.plan
        wide = len(sources) > 1 and self.broad and rng.random() < plan.wide
        source = sources[int(wide)]
        size = rng.choices(tuple(plan.sizes), tuple(plan.sizes.values()))[0]
        frames = rng.choices(tuple(plan.lengths), tuple(plan.lengths.values()))[0]
        drawn = [source.draw(size, frames) for _ in range(plan.group)]
        shown, cover = source.render(drawn, size, frames)
        cells = F.avg_pool2d(cover.float(), CELL).to(torch.uint8)
        self._bytes(slot, shown.numel())[:] = shown.contiguous().view(-1).numpy()
        self._bytes(slot, cells.numel(), shown.numel())[:] = cells.view(-1).numpy()
        ids = None if wide else read([source.tell(d) for d in drawn for _ in range(WORDINGS)]).to(torch.int16)
        words = None if ids is None else ids.view(plan.group, WORDINGS, -1).numpy()
        return slot, size, frames, words, [d.hole for d in drawn], [d.midway for d in drawn]

    def _bytes(self, slot: int, length: int, start: int = 0) -> np.ndarray:
        return np.frombuffer(self._memory, np.uint8, length, slot * self.plan.bytes + start)

    # In the trainer --------------------------------------------------------------------------------------------------

    def take(self, most: int, *, wait: float = 0.0) -> list[ClipGroup]:
        """Up to that many groups that are ready, on the device; waiting so many seconds for a first one. Raises
        WorkerFailed."""
        self._give_back()
        if self.device == "cuda" and not self._pinned:
            self._pin()
        found: list[ClipGroup] = []
        while len(found) < most:
            try:
                told = self._done.get(timeout=wait) if wait and not found else self._done.get_nowait()
            except queue.Empty:
                self._look_after()
                break
            if isinstance(told, str):
                raise WorkerFailed(f"a rendering worker failed:\n{told}")
            found.append(self._group(*told))
        return found

    def _look_after(self) -> None:
        ended = [worker.exitcode for worker in self._workers if worker.exitcode is not None]
        if ended and self._done.empty():
            raise WorkerFailed(
                f"a rendering worker ended by itself (exit code {ended[0]}), perhaps for lack of memory; try fewer"
                " --workers"
            )

    def _group(
        self,
        slot: int,
        size: Size,
        frames: int,
        words: np.ndarray | None,
        holes: list[hole_masks.Hole | None],
        midway: list[bool],
    ) -> ClipGroup:
        count, (height, width) = len(holes), size
        pixels, cells = count * 3 * frames * height * width, count * frames * (height // CELL) * (width // CELL)
        shown = torch.from_numpy(self._bytes(slot, pixels)).view(count, 3, frames, height, width)
        cover = torch.from_numpy(self._bytes(slot, cells, pixels)).view(count, frames, height // CELL, width // CELL)
        shown, cover = (shown.clone(), cover.clone()) if self.device == "cpu" else self._uploaded(shown, cover)
        self._copying.append((self._mark(), slot))
        self.clips += count
        ids = torch.zeros(count, WORDINGS, 1) if words is None else torch.from_numpy(words)
        return ClipGroup(shown, cover, ids.int(), holes, midway, words is not None)

    def _uploaded(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)

    def _mark(self) -> Any:
        """What tells when the copies begun so far have ended; None where they have."""
        if self.device != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def _give_back(self) -> None:
        """Slots whose copies have ended."""
        while self._copying and (self._copying[0][0] is None or self._copying[0][0].query()):
            self._free.put(self._copying.pop(0)[1])

    def _pin(self) -> None:
        """So that copies to the card do not wait for the host."""
        self._pinned = True
        whole = torch.from_numpy(np.frombuffer(self._memory, np.uint8))
        try:
            runtime: Any = torch.cuda.cudart()
            code = int(runtime.cudaHostRegister(whole.data_ptr(), whole.numel(), 0))
        except RuntimeError as error:
            code = error
        if code:
            print(f"shared memory could not be pinned ({code}); copies wait for the host", flush=True)
