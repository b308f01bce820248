"""Into which windows a film is cut to measure its drift: those in which it was painted, as far as that is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sora import catalog
from sora.catalog.spec import ModelSpec
from sora.errors import UsageError
from sora.media import drift
from sora.media.drift import Change, Changes, Drift, DriftMeter, FilmWindow
from sora.media.read import MAX_CLIP_FRAMES
from sora.plan import operations, retiming, shot_spans
from sora.plan.plan import Format, Plan
from sora.plan.request import Request

Windows = tuple[FilmWindow, ...]


def windows_of(plan: Plan) -> Windows:
    """Of what a plan paints. A film that goes on from known frames is cut evenly, from its beginning on."""
    rate = plan.film_fps / plan.format.fps
    windows: list[FilmWindow] = []
    for shot, frames in _shots(plan):
        windows += _cut(frames, plan.format, rate, shot)
    return tuple(windows)


def meter_of(plan: Plan) -> DriftMeter | None:
    """Of a film that is about to be painted; None for one that is painted in one window."""
    return DriftMeter(windows_of(plan)) if len(plan.windows) > 1 else None


def windows_in(request: Request, frames: int, fps: float) -> Windows:
    """Of a film's file or of a video in memory, from its recipe's request. frames, fps: of the film itself. No other
    file is opened; a film of a model that is no row of the catalog is cut by seconds."""
    spec = catalog.MODELS.get(request.model or catalog.DEFAULT)
    if spec is None:
        return drift.windows_by_seconds(frames, fps)
    if request.verb == "generate" and (plan := _plan_of(request, spec, frames, fps)) is not None:
        return windows_of(plan)
    format = spec.format((spec.grid.space, spec.grid.space), spec.defaults.fps)
    return tuple(_cut(range(frames), format, fps / format.fps))


def summary(found: Drift) -> str:
    """One line for a person, as in "steady; from the first window at most 1.2 of 255 grey levels, contrast +1 %,
    sharpness -8 %"; empty for a film of one window."""
    changes = found.changes
    if changes is None:
        return ""
    start = "from the first window" if found.from_shots is None else "from the first window of each shot"
    return f"{changes.summary}; {start} at most {numbers_of(changes)}"


def numbers_of(changes: Changes) -> str:
    """The furthest of each measure, in a line."""
    colour, contrast, sharpness = changes.worst
    levels = max(map(abs, colour.colour))
    return f"{levels:.1f} of 255 grey levels, contrast {contrast.contrast:+.0%}, sharpness {sharpness.sharpness:+.0%}"


def to_data(found: Drift, fps: float) -> dict[str, Any]:
    """As it stands in JSON. Times are in seconds."""
    changes = found.changes
    return {
        "summary": None if changes is None else changes.summary,
        "from_first": _changes_data(found.from_first, fps),
        "from_shots": _changes_data(found.from_shots, fps),
        "windows": [
            {
                "begin": round(each.window.frames.start / fps, 3),
                "end": round(each.window.frames.stop / fps, 3),
                "shot": each.window.shot + 1,
                "color": [round(value, 2) for value in each.colour],
                "contrast": round(each.contrast, 3),
                "sharpness": round(each.sharpness, 3),
            }
            for each in found.windows
        ],
    }


def _changes_data(changes: Changes | None, fps: float) -> dict[str, Any] | None:
    if changes is None:
        return None
    colour, contrast, sharpness = changes.worst
    worst = {
        "color": _change_data(colour)["color"],
        "contrast": _change_data(contrast)["contrast"],
        "sharpness": _change_data(sharpness)["sharpness"],
        "begins": [round(each.window.frames.start / fps, 3) for each in changes.worst],
    }
    return {"summary": changes.summary, "worst": worst, "last": _change_data(changes.last)}


def _change_data(change: Change) -> dict[str, Any]:
    return {
        "color": [round(value, 2) for value in change.colour],
        "contrast": round(change.contrast, 4),
        "sharpness": round(change.sharpness, 4),
    }


def _shots(plan: Plan) -> Iterator[tuple[int, range]]:
    """(number, frames of the film) of each shot; frames in which one flows into the next belong to none."""
    if plan.known_clips or plan.cyclic or not plan.windows:
        yield 0, range(plan.film_frames)
        return
    kept: dict[int, list[range]] = {}
    for window in plan.windows:
        if not window.context_after:
            kept.setdefault(window.shot, []).append(window.kept)
    for shot, ranges in sorted(kept.items()):
        yield shot, _in_film(plan, range(min(r.start for r in ranges), max(r.stop for r in ranges)))


def _in_film(plan: Plan, painted: range) -> range:
    """The frames of the film that show a stretch of painted frames."""
    if plan.retiming is None:
        return painted
    for stretch in plan.retiming.stretches:
        if painted.start in stretch.painted:
            share = len(stretch.film) / len(stretch.painted)
            begin, end = (round((at - stretch.painted.start) * share) for at in (painted.start, painted.stop))
            return range(stretch.film.start + begin, min(stretch.film.start + end, stretch.film.stop))
    return range(0)


def _cut(frames: range, format: Format, rate: float, shot: int = 0) -> Windows:
    """rate: frames of the film to a painted one."""
    first, others = round(format.window * rate), round((format.window - format.context) * rate)
    return drift.even_windows(frames, first, others, shot)


def _plan_of(request: Request, spec: ModelSpec, frames: int, fps: float) -> Plan | None:
    """Of a film made from words alone; None where its recipe does not fit the film."""
    words, transition = tuple(text or "" for text in request.shot_words), request.transition or "cut"
    size = (spec.grid.space, spec.grid.space)  # any will do
    if frames * spec.defaults.fps / fps > MAX_CLIP_FRAMES:
        return None  # at no rate that sora paints
    frame_by_frame = retiming.is_near(fps, spec.defaults.fps)
    format = spec.format(size, fps if frame_by_frame else spec.defaults.fps)
    try:
        if not frame_by_frame and not request.shots:
            return retiming.generate(words, frames=frames, fps=fps, format=format, transition=transition)
        if request.shots:
            spans = shot_spans.of(request.shots, fps=fps, default=1, total=None, transition=transition)
        else:
            spans = shot_spans.even(frames, len(words), transition)
        if spans[-1].stop != frames:
            return None
        return (
            operations.film(words, spans, format=format)
            if frame_by_frame
            else retiming.film(words, spans, fps=fps, format=format)
        )
    except UsageError:
        return None
