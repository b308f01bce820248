"""A farm of processes that draw, tell and render clips, while the trainer's own process does nothing but train.

Rendering is thousands of small operations that a graphics card waits for; sixteen cores do them beside it. Groups of
clips of one size and length pass through slots of shared memory, which is pinned where the trainer is on CUDA. Workers
are forked, so a farm is made before anything touches the card.
"""

from __future__ import annotations

import mmap
import multiprocessing as mp
import os
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sora.training import patterns
from sora.training.pool import WORDINGS, Drawn, Mix, Pool, dissolve
from sora.training.worlds import World

CELL = 16  # pixels of a side over which the cover is averaged
ADHERING = 5  # how nice workers are to the trainer


@dataclass(frozen=True)
class Plan:
    """sizes, lengths: how often clips of which (height, width) and how many frames. group: clips of one message.
    entangled, midway: as in ``Mix``. other: share of groups of the second world, as long as ``Farm.broad`` is set."""

    sizes: Mapping[tuple[int, int], float]
    lengths: Mapping[int, float]
    group: int = 4
    mix: Mix = field(default_factory=Mix)
    other: float = 0.0


@dataclass
class Group:
    """frames: (B, 3, F, Y, X) uint8. cover: (B, F, Y / CELL, X / CELL) uint8. ids: (B, WORDINGS, L). own: whether of
    the first world, the one that is told."""

    frames: Tensor
    cover: Tensor
    ids: Tensor
    holes: list[patterns.Hole | None]
    midway: list[bool]
    own: bool

    @property
    def key(self) -> tuple[tuple[int, int], int]:
        return (self.frames.shape[3], self.frames.shape[4]), self.frames.shape[2]


class Farm:
    """Workers and the slots between them and the trainer."""

    def __init__(
        self,
        worlds: Sequence[World],
        plan: Plan,
        read: Callable[[list[str]], Tensor],
        workers: int,
        seed: int,
        slots: int | None = None,
    ) -> None:
        context = mp.get_context("fork")
        self.plan, self.slots = plan, slots or 3 * workers + 8
        most = max(h * w for h, w in plan.sizes) * max(plan.lengths) * plan.group
        self.room = 3 * most + most // CELL**2 + plan.group * max(plan.lengths)
        self.memory = mmap.mmap(-1, self.room * self.slots)
        self.free, self.done = context.Queue(), context.Queue()
        self.broad = context.Value("b", 1)
        self.pending: list[tuple[Any, int]] = []
        self.groups = 0
        for slot in range(self.slots):
            self.free.put(slot)
        self.workers = [
            context.Process(target=self._work, args=(worlds, read, seed + i), daemon=True) for i in range(workers)
        ]
        for worker in self.workers:
            worker.start()
        self._pinned = False

    def _slot(self, slot: int, length: int, start: int = 0) -> np.ndarray:
        return np.frombuffer(self.memory, np.uint8, length, slot * self.room + start)

    # In a worker -----------------------------------------------------------------------------------------------------

    def _work(self, worlds: Sequence[World], read: Callable[[list[str]], Tensor], seed: int) -> None:
        os.nice(ADHERING)
        torch.set_num_threads(1)
        rng, plan = Random(seed), self.plan
        bare: Any = SimpleNamespace(mean=torch.zeros(1), config=SimpleNamespace(space=CELL))
        pools = [Pool(bare, world, rng, plan.mix) for world in worlds]
        parent = os.getppid()
        while True:
            try:
                slot = self.free.get(timeout=5)
            except queue.Empty:
                if os.getppid() != parent:
                    os._exit(0)
                continue
            which = int(len(pools) > 1 and self.broad.value and rng.random() < plan.other)
            size = rng.choices(tuple(plan.sizes), tuple(plan.sizes.values()))[0]
            frames = rng.choices(tuple(plan.lengths), tuple(plan.lengths.values()))[0]
            pool = pools[which]
            drawn = [pool._draw(size, frames, held=False) for _ in range(plan.group)]
            shown, cover = _rendered(pool, drawn, size, frames)
            cells = F.avg_pool2d(cover.float(), CELL).to(torch.uint8)
            self._slot(slot, shown.numel())[:] = shown.contiguous().view(-1).numpy()
            self._slot(slot, cells.numel(), shown.numel())[:] = cells.view(-1).numpy()
            texts = ["" if d.told is None else pool.source.tell(d.told, rng) for d in drawn for _ in range(WORDINGS)]
            ids = read(texts).to(torch.int16).view(plan.group, WORDINGS, -1).numpy() if which == 0 else None
            holes, midway = [d.hole for d in drawn], [Pool._is_midway(d) for d in drawn]
            self.done.put((slot, size, frames, ids, holes, midway))

    # In the trainer --------------------------------------------------------------------------------------------------

    def take(self, most: int, device: str, *, wait: float = 0.0) -> list[Group]:
        """Up to that many groups that are ready, on the device."""
        self._release()
        if device == "cuda" and not self._pinned:
            self._pin()
        found = []
        while len(found) < most:
            try:
                told = self.done.get(timeout=wait) if wait and not found else self.done.get_nowait()
            except queue.Empty:
                break
            found.append(self._group(told, device))
        return found

    def _group(self, told: tuple[Any, ...], device: str) -> Group:
        slot, (height, width), frames, ids, holes, midway = told
        count = len(holes)
        pixels = count * 3 * frames * height * width
        cells = count * frames * (height // CELL) * (width // CELL)
        shown = torch.from_numpy(self._slot(slot, pixels)).view(count, 3, frames, height, width)
        cover = torch.from_numpy(self._slot(slot, cells, pixels)).view(count, frames, height // CELL, width // CELL)
        if device == "cuda":
            shown, cover = shown.to(device, non_blocking=True), cover.to(device, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self.pending.append((event, slot))
        else:
            shown, cover = shown.clone(), cover.clone()
            self.free.put(slot)
        self.groups += 1
        words = torch.zeros(count, WORDINGS, 1) if ids is None else torch.from_numpy(ids)
        return Group(shown, cover, words.int(), holes, midway, ids is not None)

    def _release(self) -> None:
        while self.pending and self.pending[0][0].query():
            self.free.put(self.pending.pop(0)[1])

    def _pin(self) -> None:
        """So that copies to the card do not wait for the host."""
        self._pinned = True
        whole = torch.from_numpy(np.frombuffer(self.memory, np.uint8))
        try:
            code = int(torch.cuda.cudart().cudaHostRegister(whole.data_ptr(), whole.numel(), 0))
        except RuntimeError as error:
            code = error
        if code:
            print(f"shared memory could not be pinned ({code}); copies wait for the host", flush=True)

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()


def _rendered(pool: Pool, drawn: list[Drawn], size: tuple[int, int], frames: int) -> tuple[Tensor, Tensor]:
    """As ``Pool._rendered``, in uint8: (B, 3, F, Y, X) and (B, F, Y, X)."""
    others = [(i, d) for i, d in enumerate(drawn) if d.other]
    films = [d.film for d in drawn] + [d.other[0] for _, d in others if d.other]
    first = [d.first for d in drawn] + [d.other[1] for _, d in others if d.other]
    shown, cover = pool.source.render(films, frames, *size, first=first, device="cpu")
    count = len(drawn)
    for k, (i, d) in enumerate(others):
        assert d.hole is not None
        share = dissolve(patterns.table([d.hole]), frames)[0]
        a, b = shown[i].float(), shown[count + k].float()
        shown[i] = a.lerp(b, share[None, :, None, None]).round().to(torch.uint8)
        wide = share[:, None, None]
        cover[i] = torch.maximum(cover[i] * (wide < 1), cover[count + k] * (wide > 0))
    return shown[:count], cover[:count]
