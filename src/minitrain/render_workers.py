"""Processes that draw, caption and render clips while the trainer's own process only trains.

Rendering is thousands of small operations, which a graphics card would wait for and which other cores do meanwhile.
Groups of clips of one size and length pass through slots of shared memory, which is pinned if the trainer uses CUDA.
Workers are forked, so they are started before anything touches the card; they end with the trainer, however that ends,
and an exception in one of them is raised in the trainer.
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
from minitrain.clips import ClipSource, DataMix, Size
from minitrain.worlds import World

COVER_CELL = 16  # pixels of a side over which the cover is averaged
NICENESS = 5  # the trainer comes first
CAPTIONS_PER_CLIP = 2  # captions of each clip
POLL_SECONDS = 2.0  # seconds after which an idle worker checks whether its trainer is alive

Tokenize = Callable[[list[str]], Tensor]
"""Captions to word ids, (B, L)."""


class WorkerError(RuntimeError):
    """A worker has ended; its traceback is in the message."""


@dataclass(frozen=True)
class RenderConfig:
    """What is rendered. sizes, lengths: how often each (height, width) and number of frames. clips_per_group: of one
    message. second_world_share: of the groups, while ``RenderWorkers.include_second_world`` is set."""

    sizes: Mapping[Size, float]
    lengths: Mapping[int, float]
    clips_per_group: int = 4
    second_world_share: float = 0.0
    mix: DataMix = field(default_factory=DataMix)

    @property
    def bytes(self) -> int:
        """Bytes of the largest group: pixels and cover."""
        pixels = max(h * w for h, w in self.sizes) * max(self.lengths) * self.clips_per_group
        return 3 * pixels + pixels // COVER_CELL**2


@dataclass
class ClipGroup:
    """Clips of one size and length. frames: (B, 3, F, Y, X) uint8. cover: (B, F, Y / COVER_CELL, X / COVER_CELL) uint8,
    how much of a cell the first actor covers. ids: (B, CAPTIONS_PER_CLIP, L) token ids of captions. has_captions: False
    for the second world."""

    frames: Tensor
    cover: Tensor
    ids: Tensor
    holes: list[hole_masks.Hole | None]
    midway: list[bool]
    has_captions: bool

    @property
    def size(self) -> Size:
        return self.frames.shape[3], self.frames.shape[4]

    @property
    def length(self) -> int:
        return self.frames.shape[2]


class RenderWorkers:
    """The processes, and the shared memory between them and the trainer. include_second_world: whether the second world
    is rendered too. clips: how many have been taken so far."""

    def __init__(
        self,
        worlds: Sequence[World],
        config: RenderConfig,
        tokenize: Tokenize,
        workers: int,
        seed: int,
        *,
        device: str = "cpu",
    ) -> None:
        context = mp.get_context("fork")
        self.config, self.device, self.clips = config, device, 0
        self._slots = 2 * workers + 6
        self._memory = mmap.mmap(-1, config.bytes * self._slots)
        self._free, self._done = context.Queue(), context.Queue()
        self._include_second_world = context.Value("b", 1)
        self._copying: list[tuple[Any, int]] = []
        self._pinned = False
        for slot in range(self._slots):
            self._free.put(slot)
        self._parent = os.getpid()
        self._workers = [
            context.Process(target=self._work, args=(worlds, tokenize, Random(seed + i)), daemon=True)
            for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def __enter__(self) -> RenderWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def include_second_world(self) -> bool:
        return bool(self._include_second_world.value)

    @include_second_world.setter
    def include_second_world(self, include: bool) -> None:
        self._include_second_world.value = int(include)

    def close(self) -> None:
        """End all workers. A second call does nothing."""
        for worker in self._workers:
            worker.kill()  # a terminated one may hold the queue's lock for ever
        for worker in self._workers:
            worker.join()
        for line in (self._free, self._done):
            line.cancel_join_thread()
            line.close()
        self._workers = []

    # In a worker -----------------------------------------------------------------------------------------------------

    def _work(self, worlds: Sequence[World], tokenize: Tokenize, rng: Random) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends the workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.nice(NICENESS)
        torch.set_num_threads(1)
        try:
            sources = [ClipSource(world, rng, self.config.mix) for world in worlds]
            while os.getppid() == self._parent:
                try:
                    slot = self._free.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                self._done.put(self._render_into(slot, sources, tokenize, rng))
        except BaseException:
            self._done.put(traceback.format_exc())
            self._done.close()
            self._done.join_thread()
        os._exit(0)  # nothing of the trainer's is to be tidied up here

    def _render_into(
        self, slot: int, sources: Sequence[ClipSource], tokenize: Tokenize, rng: Random
    ) -> tuple[Any, ...]:
        """Render a group into a slot; returns the message about it."""
        config = self.config
        wide = len(sources) > 1 and self.include_second_world and rng.random() < config.second_world_share
        source = sources[int(wide)]
        size = rng.choices(tuple(config.sizes), tuple(config.sizes.values()))[0]
        frames = rng.choices(tuple(config.lengths), tuple(config.lengths.values()))[0]
        specs = [source.draw(size, frames) for _ in range(config.clips_per_group)]
        shown, cover = source.render(specs, size, frames)
        cells = F.avg_pool2d(cover.float(), COVER_CELL).to(torch.uint8)
        self._shared_bytes(slot, shown.numel())[:] = shown.contiguous().view(-1).numpy()
        self._shared_bytes(slot, cells.numel(), shown.numel())[:] = cells.view(-1).numpy()
        ids = (
            None
            if wide
            else tokenize([source.caption(d) for d in specs for _ in range(CAPTIONS_PER_CLIP)]).to(torch.int16)
        )
        words = None if ids is None else ids.view(config.clips_per_group, CAPTIONS_PER_CLIP, -1).numpy()
        return slot, size, frames, words, [d.hole for d in specs], [d.midway for d in specs]

    def _shared_bytes(self, slot: int, length: int, start: int = 0) -> np.ndarray:
        return np.frombuffer(self._memory, np.uint8, length, slot * self.config.bytes + start)

    # In the trainer --------------------------------------------------------------------------------------------------

    def take(self, limit: int, *, wait: float = 0.0) -> list[ClipGroup]:
        """Up to ``limit`` groups that are ready, on the device, waiting at most ``wait`` seconds for the first one.
        Raises WorkerError."""
        self._free_copied_slots()
        if self.device == "cuda" and not self._pinned:
            self._pin_memory()
        found: list[ClipGroup] = []
        while len(found) < limit:
            try:
                message = self._done.get(timeout=wait) if wait and not found else self._done.get_nowait()
            except queue.Empty:
                self._check_workers()
                break
            if isinstance(message, str):
                raise WorkerError(f"a rendering worker failed:\n{message}")
            found.append(self._group(*message))
        return found

    def _check_workers(self) -> None:
        ended = [worker.exitcode for worker in self._workers if worker.exitcode is not None]
        if ended and self._done.empty():
            raise WorkerError(
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
        pixels, cells = (
            count * 3 * frames * height * width,
            count * frames * (height // COVER_CELL) * (width // COVER_CELL),
        )
        shown = torch.from_numpy(self._shared_bytes(slot, pixels)).view(count, 3, frames, height, width)
        cover = torch.from_numpy(self._shared_bytes(slot, cells, pixels)).view(
            count, frames, height // COVER_CELL, width // COVER_CELL
        )
        shown, cover = (shown.clone(), cover.clone()) if self.device == "cpu" else self._upload(shown, cover)
        self._copying.append((self._copy_event(), slot))
        self.clips += count
        ids = torch.zeros(count, CAPTIONS_PER_CLIP, 1) if words is None else torch.from_numpy(words)
        return ClipGroup(shown, cover, ids.int(), holes, midway, words is not None)

    def _upload(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)

    def _copy_event(self) -> Any:
        """A CUDA event that completes when the copies so far have; None on the CPU."""
        if self.device != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def _free_copied_slots(self) -> None:
        """Return the slots whose copies are complete."""
        while self._copying and (self._copying[0][0] is None or self._copying[0][0].query()):
            self._free.put(self._copying.pop(0)[1])

    def _pin_memory(self) -> None:
        """Pin the shared memory so that copies to the card do not wait for the host."""
        self._pinned = True
        whole = torch.from_numpy(np.frombuffer(self._memory, np.uint8))
        try:
            runtime: Any = torch.cuda.cudart()
            code = int(runtime.cudaHostRegister(whole.data_ptr(), whole.numel(), 0))
        except RuntimeError as error:
            code = error
        if code:
            print(f"shared memory could not be pinned ({code}); copies wait for the host", flush=True)
