"""Latents that were painted, for later windows that go on from the frames they became.

The frames before and after a gap are given to a model as latents. Where a window has painted these frames itself, its
latents are known: encoding the decoded frames would only lose some of them, anew with each window. A latent can be
taken over where it covers the same frames in both windows, which a causal autoencoder's grid decides. A window's first
latent covers a single frame, encoded alone, and no other latent is like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from sora.engine.canvas import Canvas, Latents
from sora.engine.checkpoint import Checkpoint
from sora.plan.plan import Plan, Window


@dataclass(frozen=True)
class LatentRun:
    """Consecutive latents of a window that are those of an earlier one. painter: which of the plan's windows painted
    them, counted from 0. source: the first of them there. target: where they are in the later window."""

    painter: int
    source: int
    target: range


def latent_runs(windows: Sequence[Window], number: int, time: int) -> tuple[LatentRun, ...]:
    """Which latents of the known frames of ``windows[number]`` earlier windows have painted, in order. time: frames to
    a latent but the first."""
    window = windows[number]
    found = [(at, _painted_as(windows[:number], window, at, time)) for at in range(1, 1 + (window.frames - 1) // time)]
    runs: list[LatentRun] = []
    # Consecutive latents of one painter have one distance from their places there.
    for key, group in groupby(found, lambda each: each[1] and (each[1][0], each[1][1] - each[0])):
        if key is not None:
            places = [at for at, _ in group]
            runs.append(LatentRun(key[0], places[0] + key[1], range(places[0], places[-1] + 1)))
    return tuple(runs)


def _painted_as(earlier: Sequence[Window], window: Window, at: int, time: int) -> tuple[int, int] | None:
    """(which earlier window, which of its latents) painted the frames of the window's latent ``at``; None where they
    are not known, or no latent covers just them."""
    start = window.first + 1 + time * (at - 1)
    frames = range(start, start + time)
    before, after = window.first + window.context_before, window.first + window.frames - window.context_after
    if frames.stop > before and frames.start < after:
        return None
    for painter, other in enumerate(earlier):
        offset = start - other.first - 1
        if offset >= 0 and offset % time == 0 and frames[0] in other.kept and frames[-1] in other.kept:
            return painter, 1 + offset // time
    return None


@dataclass(frozen=True)
class PlacedLatents:
    """Latents (1, C, T, H, W) that were painted, and where they are in a later window. encoded: an encoding of the
    frames as they were decoded from these latents, where the film shows them corrected; None where it shows them."""

    target: range
    latents: Tensor
    encoded: Tensor | None = None


def spliced(latents: Latents, placed: Sequence[PlacedLatents]) -> Latents:
    """The same latents with painted ones in their places. Where the film shows frames corrected, they are corrected,
    too: by how much the encoding of the film differs from that of the frames as decoded."""
    clean = latents.clean_BCTHW.clone() if placed else latents.clean_BCTHW
    for each in placed:
        place = clean[:, :, latents.lead + each.target.start : latents.lead + each.target.stop]
        painted = each.latents.to(clean)
        place.copy_(painted if each.encoded is None else place + (painted - each.encoded.to(clean)))
    return Latents(clean, latents.unknown_B1THW, latents.lead)


class Coder(Protocol):
    """A model's autoencoder at the size of the film."""

    def encode(self, canvas: Canvas) -> Tensor:
        """The latents (1, C, T, H, W) of a canvas."""
        ...

    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Their frames, uint8 (F, 3, Y, X)."""
        ...


class KeptLatents:
    """What later windows of a plan need of the latents that were painted, and of the frames as they were decoded."""

    def __init__(self, plan: Plan, *, enabled: bool = True) -> None:
        self._windows = plan.windows
        self._time = plan.format.time
        keeps = enabled and _paints_whole_frames(plan)
        self._runs = [latent_runs(plan.windows, n, self._time) if keeps else () for n in range(len(plan.windows))]
        self._latents: dict[LatentRun, Tensor] = {}
        self._decoded: dict[int, Tensor] = {}  # frames as decoded, by their number in the film
        self._restored: dict[int, Tensor] = {}  # all latents of a window whose frames were not decoded here

    def add(self, window: Window, latents_BCTHW: Tensor) -> None:
        """The finished latents of a window of the plan. The windows come in order."""
        number = self._windows.index(window)
        self._drop_unneeded(number + 1)
        for run in self._painted_by(number):
            cut = latents_BCTHW[:, :, run.source : run.source + len(run.target)]
            self._latents[run] = cut.clone()  # a view would keep all of them in memory

    def add_frames(self, window: Window, decoded_FCYX: Tensor, film_FCYX: Tensor) -> None:
        """A window's frames as they were decoded, and as the film shows them."""
        needed = self._frames_needed_of(self._windows.index(window))
        for i, (decoded, shown) in enumerate(zip(decoded_FCYX, film_FCYX, strict=True), start=window.first):
            if i in needed and not torch.equal(decoded, shown):
                self._decoded[i] = decoded.clone()

    def restore(self, window: Window, checkpoint: Checkpoint) -> bool:
        """Take what later windows need of a window whose frames are there from its checkpoint. Whether it is all
        there."""
        number = self._windows.index(window)
        if not self._painted_by(number):
            return True
        latents = checkpoint.latents()
        if latents is not None:
            self.add(window, latents)
            self._restored[number] = latents
        return latents is not None

    def given(self, window: Window, canvas: Canvas, model: Coder) -> tuple[PlacedLatents, ...]:
        """Those that a window goes on from. canvas: the window's."""
        runs = self._runs[self._windows.index(window)]
        for painter in sorted({run.painter for run in runs} & self._restored.keys()):
            decoded, first = model.decode(self._restored.pop(painter)), self._windows[painter].first
            self._decoded |= {i: decoded[i - first].clone() for i in self._frames_needed_of(painter)}
        encoded = self._encoded(window, canvas, model, runs) if runs else None
        return tuple(
            PlacedLatents(
                run.target,
                self._latents[run],
                None if encoded is None else encoded[:, :, run.target.start : run.target.stop],
            )
            for run in runs
        )

    def _encoded(self, window: Window, canvas: Canvas, model: Coder, runs: Sequence[LatentRun]) -> Tensor | None:
        """An encoding of the window's known frames as they were decoded, as far as the runs reach; None where the film
        shows them like this."""
        frames = canvas.frames_FCYX.clone()
        for i in self._decoded.keys() & set(_known_frames(window)):
            frames[i - window.first] = self._decoded[i]
        if torch.equal(frames, canvas.frames_FCYX):
            return None
        end = 1 + self._time * (max(run.target.stop for run in runs) - 1)
        return model.encode(Canvas(frames[:end], canvas.known_F1YX[:end], canvas.fps))

    def _painted_by(self, number: int) -> list[LatentRun]:
        return [run for runs in self._runs[number + 1 :] for run in runs if run.painter == number]

    def _frames_needed_of(self, painter: int) -> set[int]:
        """The film's frames, painted by a window, that windows know which go on from its latents."""
        later = [
            w for w, runs in zip(self._windows, self._runs, strict=True) if any(run.painter == painter for run in runs)
        ]
        kept = self._windows[painter].kept
        return {i for window in later for i in _known_frames(window) if i in kept}

    def _drop_unneeded(self, number: int) -> None:
        """What no window from ``number`` on needs."""
        runs = {run for runs in self._runs[number:] for run in runs}
        frames = {i for window in self._windows[number:] for i in _known_frames(window)}
        self._latents = {run: cut for run, cut in self._latents.items() if run in runs}
        self._decoded = {i: frame for i, frame in self._decoded.items() if i in frames}
        painters = {run.painter for run in runs}
        self._restored = {painter: each for painter, each in self._restored.items() if painter in painters}


def _known_frames(window: Window) -> tuple[int, ...]:
    end = window.first + window.frames
    before = range(window.first, window.first + window.context_before)
    return (*before, *range(end - window.context_after, end))


def _paints_whole_frames(plan: Plan) -> bool:
    """Whether painted frames are the model's own: of an edit they may hold pixels of the person's, and on a circle
    latents are no window's."""
    edited = plan.crop is not None or (plan.source is not None and plan.source.known_FYX is not None)
    return not edited and not (plan.cyclic and not plan.known_clips)
