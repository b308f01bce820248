"""How often the networks run for a request: passes, encodings and decodings of each canvas, by plain arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

from sora import models
from sora.jobs.resolve import ResolvedRequest
from sora.jobs.variants import Variant
from sora.models.work import CanvasWork, Work
from sora.plan import anchors
from sora.plan.plan import Window

EVALUATIONS = {"heun": 2}  # of the velocity in a step; one for other samplers
CACHE_SKIPS, CACHE_BEGINS = 0.6, 8
"""Of a step cache, which skips a share of passes that grows with the steps: of 30 steps it skipped 44 % and of 6 none
(the embedded model, ``benchmarks/RESULTS.md``). CACHE_SKIPS is the share of endless steps, CACHE_BEGINS the steps up to
which there is none."""
CYCLIC_LATENTS = 5  # that a cycle is decoded further than it is long


@dataclass(frozen=True)
class CanvasRuns:
    """What runs for one canvas. work: of the canvas. passes: of one sample through the transformer, as many as take the
    time of whole ones. calls: of the transformer, each of one sample or of two. encode, decode: of all that is encoded
    and decoded. frames: of the canvas. texts: that are encoded before it. blended, matched: whether its frames are
    blended with known ones, and matched to an earlier window's."""

    work: CanvasWork
    passes: float
    calls: float
    encode: Work
    decode: Work
    frames: int
    texts: float = 0.0
    blended: bool = False
    matched: bool = False


def of_film(resolved: ResolvedRequest, texts: float | None = None) -> tuple[CanvasRuns, ...] | None:
    """What runs for one of a request's films, canvas by canvas; None for a family that does not count its work. texts:
    that are encoded for it, None for all, each once; the first canvas has them."""
    canvases = _tiled(resolved) if resolved.request.refine else _windowed(resolved)
    found = tuple(canvases)
    if not found or any(each is None for each in found):
        return None if found else ()
    first, *others = (each for each in found if each is not None)
    count = len(set(texts_of(resolved, resolved.variants[0]))) if texts is None else texts
    return replace(first, texts=count), *others


def texts_of(resolved: ResolvedRequest, variant: Variant) -> tuple[str, ...]:
    """The texts that a variant's film is painted under."""
    request, source = resolved.request, resolved.plan.source
    negative = () if request.guidance == 1 else (request.negative_prompt or "",)
    return *variant.texts, *negative, *((source.source_prompt,) if source is not None and _is_flow(resolved) else ())


def _is_flow(resolved: ResolvedRequest) -> bool:
    source = resolved.plan.source
    return source is not None and source.method == "flow"


def _windowed(resolved: ResolvedRequest) -> Iterator[CanvasRuns | None]:
    plan = resolved.plan
    size = resolved.model_size if resolved.request.refine else plan.format.model_size
    strength = 1.0 if plan.source is None else plan.source.strength
    begun, of_canvas = set[int](), cache(partial(_canvas, resolved, strength=strength))
    for window in plan.windows:
        known, is_later = _is_known(resolved, window), window.colour_group in begun
        begun.add(window.colour_group)
        guidance, pictures = _guidance(resolved, window), _pictures(resolved, window)
        found = of_canvas((window.frames, *size), known=known, guidance=guidance, pictures=pictures)
        yield found and replace(found, blended=known, matched=is_later)


def _tiled(resolved: ResolvedRequest) -> Iterator[CanvasRuns | None]:
    """A picture, and the tiles in which it is refined."""
    from sora.engine import upscale  # imports torch

    yield from _windowed(resolved)
    tiles = upscale.tile_count(resolved.model_size, resolved.size)
    strength, guidance = resolved.request.refine or 1.0, resolved.request.guidance or 1.0
    shape = 1, *resolved.model_size
    for _ in range(tiles):
        yield _canvas(resolved, shape, known=False, guidance=guidance, pictures=0, strength=strength)


def _canvas(
    resolved: ResolvedRequest,
    shape_FYX: tuple[int, int, int],
    *,
    known: bool,
    guidance: float,
    pictures: int,
    strength: float,
) -> CanvasRuns | None:
    work = models.canvas_work(resolved.spec, shape_FYX, encodes=known, references=pictures)
    if work is None:
        return None
    is_flow = _is_flow(resolved)
    calls, samples = _calls(resolved, strength, guidance, is_flow=is_flow)
    encode = work.encode
    if strength < 1 or is_flow:  # what an edit starts from is encoded as a whole
        whole = models.canvas_work(resolved.spec, shape_FYX, encodes=True)
        encode = encode + (whole or work).encode
    latents = 1 + (shape_FYX[0] - 1) // resolved.spec.grid.time
    is_cyclic = resolved.plan.cyclic and not resolved.plan.known_clips
    decoded = (latents - 1 + CYCLIC_LATENTS) / latents if is_cyclic else 1.0
    return CanvasRuns(work, calls * samples, calls, encode, decoded * work.decode, frames=shape_FYX[0])


def _calls(resolved: ResolvedRequest, strength: float, guidance: float, *, is_flow: bool) -> tuple[float, float]:
    """(how often the transformer is called, of how many samples on average), as many as take the time of whole ones."""
    request, spec = resolved.request, resolved.spec
    steps = max(1, round((request.steps or spec.defaults.steps) * strength))
    evaluations = steps * (1 if is_flow else EVALUATIONS.get(request.sampler or "", 1))
    evaluations -= evaluations > steps  # the last step of two evaluations has one
    guided = 0.0 if guidance == 1 else _guided_share(resolved, steps)
    skipped = 0.0
    if resolved.speed.fast and spec.defaults.cache_threshold:
        skipped = max(0.0, CACHE_SKIPS * (1 - CACHE_BEGINS / steps))
    return evaluations * (1 - skipped), 1 + guided + is_flow


def _guided_share(resolved: ResolvedRequest, steps: int) -> float:
    """The share of the steps that take a second pass: under ``--speed fast`` those at times from ``guidance_stop``."""
    if not resolved.speed.fast:
        return 1.0
    shift, stop = resolved.request.shift or 1.0, resolved.spec.defaults.guidance_stop
    even = (1 - i / steps for i in range(steps))
    return sum(shift * t / (shift * t + 1 - t) >= stop for t in even) / steps


def _guidance(resolved: ResolvedRequest, window: Window) -> float:
    """As the engine gives it to a window: less of it where frames on its sides are known."""
    guidance, d = resolved.request.guidance or 1.0, resolved.spec.defaults
    if resolved.plan.source is not None:
        return guidance
    both = window.context_before and window.context_after
    share = d.bridge_guidance if both else d.extend_guidance if window.context_before or window.context_after else 1.0
    return 1 + (guidance - 1) * share


def _is_known(resolved: ResolvedRequest, window: Window) -> bool:
    """Whether any pixel of a window's canvas is known."""
    plan = resolved.plan
    if window.context_before or window.context_after:
        return True
    if plan.source is not None:
        return plan.source.known_FYX is not None
    return plan.control is not None or (bool(plan.known_clips) and len(plan.windows) == 1)


def _pictures(resolved: ResolvedRequest, window: Window) -> int:
    plan = resolved.plan
    if not resolved.spec.takes_references:
        return 0
    shown = plan.reference_count if plan.references or window.shot > 0 else 0
    return shown + len(anchors.shown_with(plan, window))
