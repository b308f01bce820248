"""What a journal keeps of one canvas while it is painted, and where it lets the painting stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from torch import Tensor

from sora.engine.checkpoint import SamplerState
from sora.jobs import checkpoints
from sora.jobs.checkpoints import FrameFiles

if TYPE_CHECKING:
    from sora.jobs.journal import Journal

COST = 20.0  # times the seconds of a save that go by before the next
STATE_BYTES = 8 << 30  # the largest state of a sampler that is kept


class CanvasJournal:
    """The ``Checkpoint`` of one canvas."""

    def __init__(self, journal: Journal, name: str, film: int, canvas: int) -> None:
        """canvas: counted from 1 among those of the film."""
        self._journal, self._name, self._film, self._canvas = journal, name, film, canvas
        self._mark, self._saved_at, self._save_seconds = time.monotonic(), 0.0, 0.0
        self._latents: Tensor | None = None
        self._counted = 0  # steps of this canvas, among those of the job that are done

    def state(self) -> SamplerState | None:
        folder = self._journal.folder(self._film, self._name)
        state = None if folder is None else checkpoints.read_state(folder)
        # The count of the steps that are kept includes those of this canvas already.
        self._counted = 0 if state is None else state.step
        self._mark = time.monotonic()
        return state

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        journal, now = self._journal, time.monotonic()
        journal.count_step()
        journal.begin_if_long(now - self._mark, self._canvas, total - done, total)
        self._mark = now
        self._count(done, total)
        if done == total:  # the latents are kept next
            return
        reason = journal.stop_reason()
        if reason is not None:
            journal.begin()
        if journal.is_kept and (reason is not None or now - self._saved_at >= COST * self._save_seconds):
            self._keep_state(state, now)
        if reason is not None:
            raise reason

    def _keep_state(self, state: Callable[[], SamplerState], now: float) -> None:
        made = state()
        if _size(made) <= STATE_BYTES:
            self._journal.keep(lambda folder: checkpoints.write_state(folder, made), self._film, self._name)
            self._journal.save_progress()
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - now

    def _count(self, done: int, total: int) -> None:
        """How far the job is, if what there is now is kept."""
        progress, journal = self._journal.progress, self._journal
        progress.film, progress.canvas, progress.step, progress.steps = self._film, self._canvas, done, total
        progress.steps_done += done - self._counted  # other canvases may be painted at once with this one
        self._counted = done
        progress.steps_total = max(progress.steps_done, len(journal.resolved.variants) * journal.canvases * total)

    def latents(self) -> Tensor | None:
        folder = self._journal.folder(self._film, self._name)
        return None if folder is None else checkpoints.read_latents(folder)

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        self._latents = latents_BCTHW
        if self._journal.is_kept:
            self._write_latents()
        self._stop_if_asked()

    def _write_latents(self) -> None:
        steps = self._journal.progress.step
        if (latents := self._latents) is not None:
            self._journal.keep(lambda folder: checkpoints.write_latents(folder, latents, steps), self._film, self._name)
            self._journal.save_progress()

    def _stop_if_asked(self) -> None:
        """Where a job was not begun yet, the latents are kept now."""
        if (reason := self._journal.stop_reason()) is None:
            return
        if self._journal.job is None:
            self._journal.begin()
            self._write_latents()
        raise reason

    def frames(self) -> Iterator[Tensor] | None:
        folder = self._journal.folder(self._film, self._name)
        return None if folder is None else checkpoints.read_frames(folder)

    def keep_frames(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same chunks, whose files are written in a thread as far as there is room; between two of them a stop is
        heeded."""
        writer = None
        try:
            for number, chunk in enumerate(chunks):
                self._stop_if_asked()
                writer = self._writer(chunk) if number == 0 else writer
                if writer is not None and not self._write_frames(writer, chunk):
                    writer.abandon()
                    writer = None
                yield chunk
            if writer is not None:
                self._journal.keep(lambda _: writer.close(), self._film, self._name)
        finally:
            self._latents = None
            if writer is not None:
                writer.abandon()

    def _writer(self, chunk_FCYX: Tensor) -> FrameFiles | None:
        folder = self._journal.folder(self._film, self._name)
        if folder is None or not self._journal.allows_frames(0):
            return None
        with suppress(OSError):
            return FrameFiles(folder, (chunk_FCYX.shape[2], chunk_FCYX.shape[3]))
        return None

    def _write_frames(self, writer: FrameFiles, chunk: Tensor) -> bool:
        """Whether the frames were kept."""
        return self._journal.allows_frames(chunk.numel()) and self._journal.keep(
            lambda _: writer.write(chunk), self._film, self._name
        )


def _size(state: SamplerState) -> int:
    """In bytes."""
    tensors = [state.latents, *state.history, *state.velocity.values()]
    return sum(each.numel() * each.element_size() for each in tensors)
