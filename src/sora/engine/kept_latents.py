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

from torch import Tensor

from sora.engine.canvas import Latents
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


PlacedLatents = tuple[range, Tensor]
"""Where latents are in a window, and the latents (1, C, T, H, W)."""


class KeptLatents:
    """What later windows of a plan need of the latents that were painted, and no more."""

    def __init__(self, plan: Plan, *, enabled: bool = True) -> None:
        self._windows = plan.windows
        keeps = enabled and _paints_whole_frames(plan)
        self._runs = [latent_runs(plan.windows, n, plan.format.time) if keeps else () for n in range(len(plan.windows))]
        self._kept: dict[LatentRun, Tensor] = {}

    def add(self, window: Window, latents_BCTHW: Tensor) -> None:
        """The finished latents of a window of the plan, whose windows are painted in order."""
        number = self._windows.index(window)
        for run in (run for runs in self._runs[: number + 1] for run in runs):
            self._kept.pop(run, None)
        for run in self._painted_by(number):
            cut = latents_BCTHW[:, :, run.source : run.source + len(run.target)]
            self._kept[run] = cut.clone()  # a view would keep all of them in memory

    def restore(self, window: Window, checkpoint: Checkpoint) -> bool:
        """Take what is needed of a window from its checkpoint. Whether all of it is there."""
        if not self._painted_by(self._windows.index(window)):
            return True
        latents = checkpoint.latents()
        if latents is not None:
            self.add(window, latents)
        return latents is not None

    def given(self, window: Window) -> tuple[PlacedLatents, ...]:
        """Those that a window goes on from."""
        return tuple((run.target, self._kept[run]) for run in self._runs[self._windows.index(window)])

    def _painted_by(self, number: int) -> list[LatentRun]:
        return [run for runs in self._runs[number + 1 :] for run in runs if run.painter == number]


def _paints_whole_frames(plan: Plan) -> bool:
    """Whether painted frames are the model's own: of an edit they may hold pixels of the person's, and on a circle
    latents are no window's."""
    edited = plan.crop is not None or (plan.source is not None and plan.source.known_FYX is not None)
    return not edited and not (plan.cyclic and not plan.known_clips)


def spliced(latents: Latents, placed: Sequence[PlacedLatents]) -> Latents:
    """The same latents with others in the places where they belong."""
    clean = latents.clean_BCTHW.clone() if placed else latents.clean_BCTHW
    for target, cut in placed:
        clean[:, :, latents.lead + target.start : latents.lead + target.stop] = cut.to(clean)
    return Latents(clean, latents.unknown_B1THW, latents.lead)
