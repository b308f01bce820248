"""The frames of a film out of those that were painted, where the film has another rate than the model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from sora import media
from sora.engine.canvas import to_FCYX
from sora.plan.plan import Plan, Stretch


def film_frames(plan: Plan, painted: Iterator[Tensor]) -> Iterator[Tensor]:
    """The film's frames, uint8 chunks (F, 3, Y, X), each as soon as those that it needs are painted. painted: what
    ``engine.paint`` yields of the plan. Known frames are the clips' own, bit for bit."""
    if plan.retiming is None:
        yield from painted
        return
    frames, known = enumerate(_single(painted)), dict(plan.retiming.known_clips)
    stretches = {stretch.film.start: stretch for stretch in plan.retiming.stretches}
    done = 0
    while done < plan.retiming.frames:
        if (clip := known.get(done)) is not None:
            for n in range(len(clip)):
                yield to_FCYX(clip[n : n + 1])
            done += len(clip)
        else:
            stretch = stretches[done]
            made = media.interpolated(
                _shown(stretch, plan.frames, frames),
                plan.format.size,
                stretch.step,
                stretch.lead + len(stretch.film),
            )
            for frame_YXC in islice(made, stretch.lead, None):
                yield torch.from_numpy(frame_YXC.copy()).permute(2, 0, 1)[None]
            done = stretch.film.stop
    for _ in frames:  # what is painted is kept only once all of it has passed
        pass


def _shown(stretch: Stretch, total: int, frames: Iterator[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    """The painted frames of a stretch, out of all with their numbers. total: of them, after which the first of the
    stretch follows again."""
    first, stop = None, min(stretch.painted.stop, total)
    for i, frame_YXC in frames:
        if i >= stretch.painted.start:
            first = frame_YXC if first is None else first
            yield frame_YXC
        if i + 1 >= stop:
            break
    if stretch.painted.stop > total and first is not None:
        yield first


def _single(chunks: Iterator[Tensor]) -> Iterator[np.ndarray]:
    """Frames (Y, X, 3)."""
    for chunk_FCYX in chunks:
        yield from chunk_FCYX.permute(0, 2, 3, 1).contiguous().numpy()
