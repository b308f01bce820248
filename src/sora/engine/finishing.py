"""What becomes of a window's frames once they are decoded: matched to its shot's first window, and blended with what is
known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sora.engine import blend, matching
from sora.engine.canvas import Canvas
from sora.engine.kept_latents import KeptLatents
from sora.engine.matching import Statistics
from sora.engine.timeline import Timeline
from sora.plan.plan import Window

if TYPE_CHECKING:
    from sora.engine.model import Model


def target_of(timeline: Timeline, window: Window, firsts: Mapping[int, Statistics]) -> Statistics | None:
    """What a window is matched to: the first one of its colour group; in an edit, as its source has changed since.
    firsts: of the groups' first windows that are painted. None for such a first window."""
    first = firsts.get(window.colour_group)
    source = None if first is None else timeline.source_frames(window)
    if first is None or source is None:
        return first
    beginning = next(w for w in timeline.plan.windows if w.colour_group == window.colour_group)
    source_first = timeline.source_frames(beginning)
    assert source_first is not None
    return matching.followed(first, Statistics.of(source_first), Statistics.of(source))


def blend_window(
    model: Model,
    canvas: Canvas,
    chunks: Iterator[Tensor],
    window: Window,
    target: Statistics | None,
    kept: KeptLatents,
) -> Iterator[Tensor]:
    """A window's frames, matched to the target and blended with the known pixels. They come in one chunk, since each
    frame may depend on all."""
    decoded_FCYX = torch.cat(list(chunks))
    film_FCYX, nearer = _matched(model, canvas, window, decoded_FCYX, target)
    if nearer is not None:
        del film_FCYX  # one more film of the window is in memory than has to be
        film_FCYX, _ = _matched(model, canvas, window, decoded_FCYX, nearer)
    kept.add_frames(window, decoded_FCYX, film_FCYX)
    yield film_FCYX


def _matched(
    model: Model, canvas: Canvas, window: Window, decoded_FCYX: Tensor, target: Statistics | None
) -> tuple[Tensor, Statistics | None]:
    """(a window's frames, matched to the target and with the known pixels; a target by which they come nearer to it).
    The known frames give the painted ones detail, too, which counts with what the matching left."""
    if target is None:
        return _with_known_pixels(model, canvas, window, decoded_FCYX), None
    matched_FCYX = matching.match(decoded_FCYX, target)
    film_FCYX = _with_known_pixels(model, canvas, window, matched_FCYX)
    own = film_FCYX[window.kept.start - window.first : window.kept.stop - window.first]
    return film_FCYX, matching.nearer(target, matched_FCYX, own)


def _with_known_pixels(model: Model, canvas: Canvas, window: Window, painted_FCYX: Tensor) -> Tensor:
    """A window's frames with the known pixels pasted back, and blended with them where that is the model's way."""
    known = canvas.known_F1YX
    if known.any() and (model.spec.defaults.blend_at_images or not _only_images_known(window, known)):
        return blend.blend_known(canvas, painted_FCYX)
    return torch.where(known, canvas.frames_FCYX, painted_FCYX) if known.any() else painted_FCYX


def _only_images_known(window: Window, known_F1YX: Tensor) -> bool:
    """Whether nothing is known but one whole frame at either end or both."""
    flat = known_F1YX.flatten(1)
    return max(window.context_before, window.context_after) <= 1 and torch.equal(flat.all(dim=1), flat.any(dim=1))
