"""The journal of a command while it paints: when a job is begun, what is kept of it and how often, and where it pauses.

A job is begun once the steps so far say that the whole will take long; before that nothing touches the disk. Trouble
with the disk never stops a painting: the journal says so once and keeps no more.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sora.engine.checkpoint import Checkpoint
from sora.jobs import job as jobs
from sora.jobs import replay
from sora.jobs.delivery import Delivery
from sora.jobs.job import FAILED, FINISHED, STOPPED, Job, Machine, Progress
from sora.jobs.resolve import ResolvedRequest

if TYPE_CHECKING:
    from filelock import FileLock

AFTER = 30.0  # seconds; a job that is expected to take longer is kept
FRAME_BYTES = 4 << 30  # of the frames that are kept of a job; others are decoded again from their latents
SPARE_BYTES = 2 << 30  # of the disk that frames leave free


class Paused(Exception):
    """The steps that ``stop_after`` allows are done, and what they made is kept."""


@dataclass(frozen=True)
class Options:
    """after: seconds that a job must be expected to take to be kept, infinity to keep none, 0 to keep every job from
    its first moment. stop_after: steps to pause after, None to go on to the end. stop: what to raise at the end of a
    step because somebody asked for it meanwhile, None for nothing. note: takes a line for a person."""

    after: float = AFTER
    stop_after: int | None = None
    stop: Callable[[], BaseException | None] = lambda: None
    note: Callable[[str], None] = lambda _: None


@dataclass
class Journal:
    """Of one command, whose films are painted one after another. job: that is gone on with, None for a new one, which
    is begun in time. lock: of that job."""

    resolved: ResolvedRequest
    delivery: Delivery
    machine: Machine
    options: Options = field(default_factory=Options)
    job: Job | None = None
    lock: FileLock | None = None
    progress: Progress = field(default_factory=Progress)
    key: str = ""
    _began: float = field(default_factory=time.monotonic)
    _steps_of_this_run: int = 0
    _frame_bytes: int = 0
    _broken: bool = False

    def __post_init__(self) -> None:
        self.key = self.key or jobs.key_of(self.resolved, self.delivery)
        self._seconds_before = self.progress.seconds
        if self.job is not None:
            from sora.jobs import checkpoints

            self.progress.steps_done = checkpoints.kept_steps(self.job.folder)
        if self.job is None and (self.options.after <= 0 or self.options.stop_after is not None):
            self.begin()

    @property
    def is_kept(self) -> bool:
        """Whether there is a job on disk that takes what is painted."""
        return self.job is not None and not self._broken

    @property
    def may_be_kept(self) -> bool:
        return self.options.after != float("inf") and not self._broken

    @property
    def canvases(self) -> int:
        """Windows, and about how many tiles, of a film."""
        area = (
            self.resolved.size[0] * self.resolved.size[1] / (self.resolved.model_size[0] * self.resolved.model_size[1])
        )
        tiles = round(2.5 * area) if self.resolved.request.refine else 0
        return len(self.resolved.plan.windows) + tiles

    def checkpoints(self, film: int) -> Callable[[str], Checkpoint]:
        """The checkpoints of a film, counted from 1."""
        from sora.jobs.canvas_journal import CanvasJournal  # which needs torch

        canvases = 0

        def checkpoint(name: str) -> Checkpoint:
            nonlocal canvases
            canvases += 1
            return CanvasJournal(self, name, film, canvases)

        return checkpoint

    def path_of(self, film: int) -> Path | None:
        """Where a film stands that an earlier run finished, None where it has to be painted."""
        done, begun = (paths.get(str(film)) for paths in (self.progress.done, self.progress.paths))
        if done is not None:
            return Path(done) if Path(done).exists() else None
        request = self.resolved.request_of(self.resolved.variants[film - 1])
        # That run may have been killed between publishing the film and saying so here.
        return Path(begun) if begun is not None and replay.holds(Path(begun), request) else None

    def film_begins(self, film: int, path: str) -> None:
        """A film is painted from now on. path: where it goes."""
        self.progress.paths[str(film)] = str(Path(path).absolute())

    def film_done(self, film: int, path: Path) -> None:
        """A film is published; its frames are no longer needed, its latents are kept to decode them otherwise."""
        self.progress.done[str(film)] = str(path.absolute())
        if self.is_kept:
            self._guarded(self._drop_frames, film)
            self.save_progress()

    def close(self, error: BaseException | None) -> None:
        """The command ends. error: that ended it, None where all is painted."""
        if self.job is None:
            return
        self.progress.message = "" if error is None else str(error)
        stopped = error is None or isinstance(error, (Paused, KeyboardInterrupt))
        finished = error is None and len(self.progress.done) >= len(self.resolved.variants)
        self.progress.state = FINISHED if finished else STOPPED if stopped else FAILED
        self.save_progress()
        if self.lock is not None:
            self.lock.release()

    def begin(self) -> None:
        """From now on what is painted is kept, if the disk allows."""
        if self.job is None and self.may_be_kept:
            self._guarded(self._begin)

    def _begin(self) -> None:
        self.job, self.lock = jobs.begin(self.resolved, self.delivery, self.canvases, self.machine, self.key)

    def begin_if_long(self, seconds_a_step: float, canvas: int, steps_left: int, steps: int) -> None:
        """Begin a job if it is expected to take long. canvas: that is being painted, of this film. steps_left: in
        it."""
        films_left = len(self.resolved.variants) - self.progress.film
        canvases_left = max(0, self.canvases - canvas) + films_left * self.canvases
        expected = time.monotonic() - self._began + seconds_a_step * (steps_left + canvases_left * steps)
        if expected > self.options.after:
            self.begin()

    def count_step(self) -> None:
        self._steps_of_this_run += 1

    def stop_reason(self) -> BaseException | None:
        """What ends the painting at this step, if anything."""
        if (reason := self.options.stop()) is not None:
            return reason
        limit = self.options.stop_after
        if limit is None or self._steps_of_this_run < limit:
            return None
        return Paused(f"paused after {self._steps_of_this_run} steps")

    def save_progress(self) -> None:
        self.progress.seconds = self._seconds_before + time.monotonic() - self._began
        if self.job is not None:
            self._guarded(self.job.write_progress, self.progress)

    def keep(self, write: Callable[[Path], None], film: int, canvas: str) -> bool:
        """Let ``write`` write into the folder of a canvas. Whether that went well."""
        return self.job is not None and self._guarded(write, self.folder(film, canvas) or Path())

    def folder(self, film: int, canvas: str) -> Path | None:
        return None if self.job is None else self.job.film_folder(film) / canvas

    def allows_frames(self, count: int) -> bool:
        """Whether so many bytes of frames may be kept, too."""
        if not self.is_kept or self.job is None:
            return False
        self._frame_bytes += count
        with suppress(OSError):
            return self._frame_bytes <= FRAME_BYTES and shutil.disk_usage(self.job.folder).free > SPARE_BYTES + count
        return False

    def _drop_frames(self, film: int) -> None:
        from sora.jobs import checkpoints

        assert self.job is not None
        for folder in self.job.film_folder(film).iterdir():
            checkpoints.drop_frames(folder)

    def _guarded(self, work: Callable[..., object], *arguments: object) -> bool:
        """Do what needs the disk. Whether it went well; a person hears of the first failure."""
        if self._broken:
            return False
        try:
            work(*arguments)
        except (OSError, MemoryError) as error:
            self._broken = True
            reason = getattr(error, "strerror", None) or error
            self.options.note(f"this job is not kept any further: {jobs.jobs_folder()} cannot be written ({reason})")
        return not self._broken
