"""Windows that do not depend on each other, sampled at once. Each keeps what a window keeps, as if it were alone.

A batch is sampled when its first window's turn comes. The others find their latents finished when theirs comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.profiler import record_function

from sora.engine import finite, sampler
from sora.engine.checkpoint import Checkpoint, Checkpoints, SamplerState
from sora.engine.model import Batchable
from sora.engine.progress import Listener, ProgressEvent
from sora.engine.sampler import FloatTimeVelocity, History, Sampler, SamplerStep
from sora.engine.schedule import schedule
from sora.engine.velocity import profiled
from sora.errors import OutOfMemory
from sora.plan import batches
from sora.plan.plan import Plan, Window
from sora.runtime import heap

if TYPE_CHECKING:
    from sora.engine.canvas import Canvas
    from sora.engine.engine import Settings
    from sora.engine.model import Model


class Member:
    """The ``Checkpoint`` of one window of a batch: its own, but that it is asked once what it holds."""

    def __init__(self, own: Checkpoint) -> None:
        self._own, self._latents = own, own.latents()
        self._state = own.state() if self._latents is None else None

    def is_ahead(self, step: int) -> bool:
        """Whether it holds more than ``step`` steps of its window."""
        return self._latents is not None or (self._state is not None and self._state.step > step)

    def state(self) -> SamplerState | None:
        return self._state

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        self._own.after_step(state, done, total)

    def latents(self) -> Tensor | None:
        return self._latents

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        self._latents = latents_BCTHW
        self._own.keep_latents(latents_BCTHW)

    def frames(self) -> Iterator[Tensor] | None:
        return self._own.frames()

    def keep_frames(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        return self._own.keep_frames(chunks)


class MembersCheckpoint:
    """The ``Checkpoint`` of a batch, made of those of its windows.

    A process may end between two saves, and then some windows are further than others. The batch goes on from the last
    step that all of them have. Those that are further are idle rows until the others have come that far: a row does
    not depend on the rest of its batch, so that the result is the same to the bit.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members

    def state(self) -> SamplerState | None:
        waiting = [member for member in self.members if member.latents() is None]
        states = [member.state() for member in waiting]
        begin = min(0 if state is None else state.step for state in states)
        last = next((state for state in states if state is not None and state.step == begin), None)
        if last is None:
            return None
        each = [state if state is not None and state.step == begin else last for state in self._states]
        history = tuple(torch.cat(row) for row in zip(*(state.history for state in each), strict=True))
        return SamplerState(begin, torch.cat([state.latents for state in each]), history, last.velocity)

    @property
    def _states(self) -> list[SamplerState | None]:
        return [member.state() for member in self.members]

    def placing(self, inner: Sampler) -> Sampler:
        """The same sampler, which takes each window that is further than the batch back in at its own step."""

        def placing_sampler(times: Sequence[float]) -> SamplerStep:
            step = inner(times)

            def place(velocity: FloatTimeVelocity, x: Tensor, i: int, history: History) -> tuple[Tensor, History]:
                for row, state in enumerate(self._states):
                    if state is not None and state.step == i:
                        x = _with_row(x, row, state.latents)
                        pairs = zip(history, state.history, strict=True)
                        history = tuple(_with_row(whole, row, own) for whole, own in pairs)
                return step(velocity, x, i, history)

            return place

        return placing_sampler

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        whole: list[SamplerState] = []

        def row_state(row: int) -> SamplerState:
            if not whole:
                whole.append(state())
            return _row(whole[0], row)

        behind = [(row, member) for row, member in enumerate(self.members) if not member.is_ahead(done - 1)]
        _for_each(lambda row, member: member.after_step(lambda: row_state(row), done, total), behind)

    def latents(self) -> Tensor | None:
        return None

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        waiting = [(row, member) for row, member in enumerate(self.members) if member.latents() is None]
        _for_each(lambda row, member: member.keep_latents(latents_BCTHW[row : row + 1].clone()), waiting)

    def frames(self) -> Iterator[Tensor] | None:
        return None

    def keep_frames(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        return chunks


@dataclass
class Batches:
    """The checkpoints of a plan's windows, of which some are filled in batches. canvas_of: of the model's size.
    settings_of: how a window is sampled."""

    model: Model
    plan: Plan
    checkpoints: Checkpoints
    canvas_of: Callable[[Window], Canvas]
    settings_of: Callable[[Window], Settings]

    def __post_init__(self) -> None:
        self._members: dict[int, Member] = {}
        self._runs = {run[0]: run for run in self._planned()}

    def _planned(self) -> list[tuple[int, ...]]:
        if not isinstance(self.model, Batchable):
            return []
        found: list[tuple[int, ...]] = []
        for run in batches.independent_runs(self.plan):
            shape = self.plan.windows[run[0]].frames, *self.plan.format.model_size
            most = self.model.batched_windows(shape)
            found += [each for each in batches.split_evenly(run, most) if len(each) > 1]
        return found

    def checkpoint(self, number: int, on_event: Listener) -> Checkpoint:
        """The checkpoint of the plan's window ``number``, counted from 0. Where it is the first of a batch, all of that
        is sampled now; a batch that does not fit in memory is not, and its windows are sampled one by one."""
        if (run := self._runs.pop(number, None)) is not None:
            self._members = {n: Member(self.checkpoints(f"window-{n + 1:04d}")) for n in run}
            if any(member.latents() is None for member in self._members.values()):
                self._sample_or_leave(run, on_event)
        own = self._members.pop(number, None)
        return self.checkpoints(f"window-{number + 1:04d}") if own is None else own

    def _sample_or_leave(self, run: tuple[int, ...], on_event: Listener) -> None:
        try:
            self._sample(run, on_event)
        except (torch.OutOfMemoryError, OutOfMemory):
            pass
        else:
            return
        heap.trim()  # not in the handler: the error holds what took the memory
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _sample(self, run: tuple[int, ...], on_event: Listener) -> None:
        model, windows = self.model, [self.plan.windows[n] for n in run]
        assert isinstance(model, Batchable)
        each, members = [self.settings_of(window) for window in windows], [self._members[n] for n in run]
        settings, canvas = each[0], self.canvas_of(windows[0])
        prompts = [self.plan.prompts[window.shot] for window in windows]
        on_event(ProgressEvent("encode", 0, 1))
        with record_function("encode"):
            latents = model.encode(canvas)
            bound = model.bind_batch(canvas, latents, prompts, settings.negative_prompt, settings.guidance)
        on_event(ProgressEvent("encode", 1, 1))
        finite.check(latents.clean_BCTHW, "the latents of what is known")
        channels, length, height, width = model.spec.grid.latent_shape(*canvas.shape)
        shape = channels, latents.lead + length, height, width
        noise = torch.cat([sampler.initial_noise(shape, own.seed) for own in each]).to(latents.clean_BCTHW)
        times = schedule(model, settings, 1.0, noise[0, 0].numel() // model.spec.grid.patch**2)
        checkpoint = MembersCheckpoint(members)
        with record_function("sample"):
            finished = sampler.sample(
                profiled("pass", bound),
                latents,
                noise,
                times,
                sampler=checkpoint.placing(sampler.seeded(settings.sampler, *(own.seed for own in each))),
                on_step=lambda done, total: on_event(ProgressEvent("sample", done, total)),
                checkpoint=checkpoint,
            )
        checkpoint.keep_latents(finished[:, :, latents.lead :])


def _for_each(work: Callable[[int, Member], None], members: Sequence[tuple[int, Member]]) -> None:
    """Do the work for all of them, also where one of them raises; the first error is raised then."""
    errors: list[BaseException] = []
    for row, member in members:
        try:
            work(row, member)
        except BaseException as error:  # what stops a job may be a KeyboardInterrupt
            errors.append(error)
    if errors:
        raise errors[0]


def _row(state: SamplerState, row: int) -> SamplerState:
    """What of a batch's state belongs to one window."""
    own = slice(row, row + 1)
    denoised = None if state.denoised is None else state.denoised[own]
    return SamplerState(state.step, state.latents[own], tuple(h[own] for h in state.history), state.velocity, denoised)


def _with_row(whole: Tensor, row: int, own: Tensor) -> Tensor:
    """The batch with one of its rows replaced."""
    return torch.cat([whole[:row], own.to(whole), whole[row + 1 :]])
