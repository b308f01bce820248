"""Films of another rate than the model's: which frames are painted, at the model's rate, and which moments of the film
they show. Plain arithmetic; what a moment between two frames looks like is the matter of ``media.interpolate``.

A stretch of the film is painted with the whole number of frames that comes closest to its length, and laid over it
evenly, so that it begins and ends exactly where it should. Its time is off by half a painted frame at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np

from sora.plan import anchors, operations
from sora.plan.clip import Clip
from sora.plan.plan import Format, Plan, Retiming, Stretch
from sora.plan.shot_spans import TRANSITION_FRAMES, Spans
from sora.plan.windows import plan_windows

TOLERANCE = 1 / 12
"""Share by which a film's rate may differ from the model's and its frames are still painted one by one. Cinema at 24
frames a second has been shown at 25 on television for decades; 15 for 16 is 6 %. Beyond come 10 for 8 and 30 for 24."""

Sample = Callable[[Clip, float], Clip]
"""A clip at another rate, from its first frame on: frame k shows the moment k / fps."""


def is_near(fps: float, model_fps: float) -> bool:
    """Whether a film of that rate is painted frame by frame."""
    return max(fps, model_fps) <= min(fps, model_fps) * (1 + TOLERANCE)


def nearest(clip: Clip, fps: float) -> Clip:
    """The frame nearest to each moment."""
    last = len(clip) - 1
    shown = np.floor(np.arange(int(last * fps / clip.fps + 1e-6) + 1) * clip.fps / fps + 0.5).astype(int)
    return Clip(clip.frames_FYXC[np.minimum(shown, last)], fps)


def generate(prompts: Sequence[str], *, frames: int, fps: float, format: Format, transition: str = "cut") -> Plan:
    """As ``operations.generate`` for a film of ``frames`` at ``fps``, painted at the format's rate. Each shot that
    begins with a cut is a stretch of its own, since nothing lies between two shots."""
    if transition == "flow" or len(prompts) == 1:
        film, between = [range(frames)], TRANSITION_FRAMES * (len(prompts) - 1)
    else:
        starts = [round(n * frames / len(prompts)) for n in range(len(prompts) + 1)]
        film, between = [range(a, b) for a, b in pairwise(starts)], 0
    each = 1 + max(_intervals(max(map(len, film)) - 1, format.fps / fps), between and between + len(prompts) - 1)
    plan = operations.generate(prompts, frames=each * len(film), format=format, transition=transition)
    stretches = tuple(Stretch(shot, range(n * each, (n + 1) * each)) for n, shot in enumerate(film))
    return replace(plan, retiming=Retiming(fps, frames, (), stretches))


def film(prompts: Sequence[str], spans: Spans, *, fps: float, format: Format) -> Plan:
    """As ``operations.film`` for spans of a film at ``fps``, painted at the format's rate. Shots that flow into one
    another are one stretch."""
    painted: list[range] = []
    stretches: list[Stretch] = []
    for group in _without_cuts(spans):
        shown, between = range(group[0].start, group[-1].stop), TRANSITION_FRAMES * (len(group) - 1)
        begin = painted[-1].stop if painted else 0
        count = 1 + max(_intervals(len(shown) - 1, format.fps / fps), between and between + len(group) - 1)
        lengths = _shared([len(span) for span in group], count - between)
        for n, end in enumerate(accumulate(lengths)):
            painted.append(range(begin + end - lengths[n] + n * TRANSITION_FRAMES, begin + end + n * TRANSITION_FRAMES))
        stretches.append(Stretch(shown, range(begin, begin + count)))
    plan = operations.film(prompts, tuple(painted), format=format)
    return replace(plan, retiming=Retiming(fps, spans[-1].stop, (), tuple(stretches)))


def _without_cuts(spans: Spans) -> list[list[range]]:
    """The spans in groups, between which there is a cut."""
    groups: list[list[range]] = []
    for span in spans:
        if groups and groups[-1][-1].stop < span.start:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _shared(lengths: Sequence[int], total: int) -> list[int]:
    """Whole numbers in the ratio of the lengths, as nearly as can be, each 1 or more. total: of all of them, which is
    no less than they are many."""
    spare, whole = total - len(lengths), sum(lengths)
    ends = [round(spare * end / whole) for end in accumulate(lengths)]
    return [1 + end - start for start, end in pairwise([0, *ends])]


def text_loop(prompt: str, *, frames: int, fps: float, format: Format) -> Plan:
    """As ``operations.text_loop`` for a cycle of exactly ``frames`` at ``fps``, painted at the format's rate."""
    time = format.time
    painted = time * max(1, round(frames * format.fps / fps / time))
    plan = operations.text_loop(prompt, frames=painted, format=format)
    # The frame after the last is the first one again.
    whole = Stretch(range(frames), range(painted + 1), trail=1)
    return replace(plan, retiming=Retiming(fps, frames, (), (whole,)))


def at_rate(plan: Plan, fps: float, sample: Sample = nearest) -> Plan:
    """The same film, painted at ``fps`` frames a second. plan: of a film with at least one known clip and one gap.
    sample: brings the known frames next to the gap to that rate."""
    gap, before, after = _gap(plan)
    rate, format = fps / plan.format.fps, replace(plan.format, fps=fps)
    lead, trail = int(before is not None), int(after is not None)
    count = max(1, _intervals(len(gap) - 1 + lead + trail, rate) + 1 - lead - trail)
    known_before = [] if before is None else [_backward(before, format.context + format.time, fps, sample)]
    known_after = [] if after is None else [_forward(after, 2 * format.context_after, fps, sample)]
    begin = sum(map(len, known_before))
    windows = plan_windows(
        range(begin, begin + count), format, known_before=begin, known_after=sum(map(len, known_after))
    )
    clips = (*((0, clip) for clip in known_before), *((begin + count, clip) for clip in known_after))
    painted = range(begin - lead, begin + count + trail)
    retiming = Retiming(plan.format.fps, plan.frames, plan.known_clips, (Stretch(gap, painted, lead, trail),))
    frames = begin + count + sum(map(len, known_after))
    painted_gap = range(begin, begin + count)
    shown = anchors.of_gap(painted_gap, known_before=lead, known_after=trail) if plan.anchors else ()
    return Plan(format, frames, windows, plan.prompts, clips, retiming=retiming, anchors=shown)


def at_painted_frames(plan: Plan, film: Clip) -> Clip:
    """A clip that is as long as the plan's film, at the moments of the plan's frames: as long as these."""
    if plan.retiming is None:
        return film
    nearest_frames = np.floor(film_moments(plan) + 0.5).astype(int).clip(0, len(film) - 1)
    return Clip(film.frames_FYXC[nearest_frames], plan.format.fps)


def film_moments(plan: Plan) -> np.ndarray:
    """The moment of the film that each of the plan's frames shows, float64 (F,), counted in the film's frames. Before
    the first stretch and behind each, time goes on as in it: known frames there may show moments outside the film."""
    frames = np.arange(plan.frames, dtype=float)
    if plan.retiming is None:
        return frames
    shown, begin = np.empty(plan.frames), 0
    stretches = sorted(plan.retiming.stretches, key=lambda each: each.painted.start)
    for n, stretch in enumerate(stretches):
        end = stretches[n + 1].painted.start if n + 1 < len(stretches) else plan.frames
        moments = (frames[begin:end] - stretch.painted.start) / float(stretch.step or 1)
        shown[begin:end] = stretch.film.start - stretch.lead + moments
        begin = end
    return shown


def _intervals(film_intervals: int, rate: float) -> int:
    """Between painted frames, for those between frames of the film."""
    return max(1, round(film_intervals * rate)) if film_intervals else 0


def _gap(plan: Plan) -> tuple[range, Clip | None, Clip | None]:
    """(the film's frames that are painted, the known clip before them, the known clip after them)."""
    known = sorted(plan.known_clips, key=lambda each: each[0])
    starts = [0, *(first + len(clip) for first, clip in known)]
    ends = [*(first for first, _ in known), plan.frames]
    n = next(n for n, (start, end) in enumerate(zip(starts, ends, strict=True)) if start < end)
    before = known[n - 1][1] if n else None
    after = known[n][1] if n < len(known) else known[0][1] if plan.cyclic else None
    return range(starts[n], ends[n]), before, after


def _forward(clip: Clip, frames: int, fps: float, sample: Sample) -> Clip:
    """The clip's beginning, at most so many frames."""
    if len(clip) == 1:
        return replace(clip, fps=fps)
    needed = int(frames * clip.fps / fps) + 2
    return sample(clip[:needed], fps)[:frames]


def _backward(clip: Clip, frames: int, fps: float, sample: Sample) -> Clip:
    """The clip's end, at most so many frames, of which the last is the clip's own."""
    reversed_clip = _forward(clip[::-1], frames, fps, sample)
    return replace(reversed_clip, frames_FYXC=np.ascontiguousarray(reversed_clip.frames_FYXC[::-1]))
