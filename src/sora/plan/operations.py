"""The verbs, as pure functions from what a person asks to a Plan. No model, no device, no file.

Clips and pictures have the film's size and rate already. frames: how many are painted, unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sora.errors import UsageError
from sora.plan import anchors, shot_spans
from sora.plan.clip import Clip
from sora.plan.crop import Crop
from sora.plan.plan import Format, Plan, SourceClip, Window
from sora.plan.shot_spans import Spans
from sora.plan.windows import plan_windows

NOISE_INDEX_STRIDE = 1000  # windows of a later shot draw other noise than those of the first, but for its first window


def generate(prompts: Sequence[str], *, frames: int, format: Format, transition: str = "cut") -> Plan:
    """A film from words alone: nothing is known. frames: of the whole film, shared evenly by the shots, one for each
    prompt. transition: "cut" starts each shot afresh, "flow" paints TRANSITION_FRAMES frames between two shots."""
    return film(prompts, shot_spans.even(frames, len(prompts), transition), format=format)


def film(prompts: Sequence[str], spans: Spans, *, format: Format) -> Plan:
    """A film from words alone, of shots that may each have a length of its own. spans: the frames of each shot; those
    between two of them flow from the one to the other."""
    planned: list[Window] = []
    for n, (span, before) in enumerate(zip(spans, [range(0), *spans], strict=False)):
        first, *rest = _with_shot_noise(
            plan_windows(span, format, known_before=0, known_after=0, shot=n, colour_group=2 * n), n
        )
        planned.append(first)
        if gap := range(before.stop, span.start):
            known = len(planned[-1].kept)
            planned += _with_shot_noise(
                plan_windows(
                    gap, format, known_before=format.context, known_after=known, shot=n, colour_group=2 * n - 1
                ),
                n,
            )
        planned += rest
    return Plan(format, spans[-1].stop, tuple(planned), tuple(prompts))


def _with_shot_noise(windows: tuple[Window, ...], shot: int) -> list[Window]:
    """Windows of a later shot. Its first keeps the film's own noise: one seed, one look."""
    return [replace(w, noise_index=w.noise_index + NOISE_INDEX_STRIDE * shot * (w.noise_index > 0)) for w in windows]


def image(prompt: str, *, format: Format) -> Plan:
    """One picture from words: a canvas one frame long."""
    return generate((prompt,), frames=1, format=format)


def img2vid(
    image_YXC: np.ndarray, prompt: str, *, frames: int, format: Format, last_image_YXC: np.ndarray | None = None
) -> Plan:
    """A picture brought to life. frames: of the whole film, whose first is the picture, and whose last is ``last_YXC``
    where one is given."""
    known_clips = [(0, _still(image_YXC, format))]
    if last_image_YXC is not None:
        if frames < 2:
            raise UsageError("a film from one picture to another has 2 frames at least; ask for more --seconds")
        known_clips.append((frames - 1, _still(last_image_YXC, format)))
    gap = range(1, frames - len(known_clips) + 1)
    return _filled(format, frames, gap, (1, len(known_clips) - 1), prompt, tuple(known_clips))


def extend(clip: Clip, prompt: str, *, frames: int, format: Format, backward: bool = False) -> Plan:
    """A clip that goes on, or that begins earlier. Its own frames stay as they are."""
    _check(clip, format)
    total = len(clip) + frames
    if backward:
        return _filled(format, total, range(frames), (0, len(clip)), prompt, ((frames, clip),))
    return _filled(format, total, range(len(clip), total), (len(clip), 0), prompt, ((0, clip),))


def loop(clip: Clip, prompt: str, *, frames: int, format: Format) -> Plan:
    """A clip and a painted way back from its end to its beginning."""
    _check(clip, format)
    total = len(clip) + frames
    gap = range(len(clip), total)
    return replace(_filled(format, total, gap, (len(clip), len(clip)), prompt, ((0, clip),)), cyclic=True)


def text_loop(prompt: str, *, frames: int, format: Format) -> Plan:
    """An endless loop from words alone. frames: of the whole film, a multiple of the grid's time."""
    if frames % format.time:
        raise ValueError(f"{frames} frames do not close a circle of {format.time} a latent")
    # The cycle is cut in the middle of a latent frame, not where two of them meet. The canvas has one latent frame more
    # than the cycle, at its beginning: the one that precedes it.
    window = Window(-1 - format.time // 2, 1 + frames, 0, 0, range(frames))
    return Plan(format, frames, (window,), (prompt,), cyclic=True)


def bridge(a: Clip, b: Clip, prompt: str, *, frames: int, format: Format) -> Plan:
    """Two clips joined by painted frames."""
    _check(a, format)
    _check(b, format)
    gap = range(len(a), len(a) + frames)
    return _filled(format, gap.stop + len(b), gap, (len(a), len(b)), prompt, ((0, a), (gap.stop, b)))


def edit(
    clip: Clip,
    prompt: str,
    *,
    format: Format,
    strength: float,
    paint_FYX: np.ndarray | None = None,
    frame_range: range | None = None,
    method: str = "noise",
    source_prompt: str = "",
    crop: Crop | None = None,
) -> Plan:
    """A clip painted anew: all of it, the pixels of ``paint_FYX`` (bool; one frame stands for all), the frames of
    ``frame_range``, or where both meet. strength: in [0, 1]; 0 returns the clip, 1 keeps nothing of what it paints.
    crop: what the model sees of each frame, and ``format.model_size`` is of its shape."""
    _check(clip, format)
    if strength == 0:
        return Plan(format, len(clip), (), (prompt,), ((0, clip),))
    gap = range(len(clip)) if frame_range is None else frame_range
    known_after = len(clip) - gap.stop
    known = None if paint_FYX is None else ~paint_FYX
    source = SourceClip(clip, strength, known, method, source_prompt)
    if strength == 1 and known is None and method == "noise":
        source = None
    planned = plan_windows(gap, format, known_before=gap.start, known_after=known_after)
    known_clips = [(0, clip[: gap.start]) if gap.start else None, (gap.stop, clip[gap.stop :]) if known_after else None]
    return Plan(format, len(clip), planned, (prompt,), tuple(p for p in known_clips if p), source, crop=crop)


def _filled(
    format: Format,
    frames: int,
    gap: range,
    known: tuple[int, int],
    prompt: str,
    known_clips: tuple[tuple[int, Clip], ...],
) -> Plan:
    """A film of so many frames whose ``gap`` is painted between known frames. known: how many are before and after
    it."""
    before, after = known
    planned = plan_windows(gap, format, known_before=before, known_after=after)
    shown = anchors.of_gap(gap, known_before=before, known_after=after)
    return Plan(format, frames, planned, (prompt,), known_clips, anchors=shown)


def _still(picture_YXC: np.ndarray, format: Format) -> Clip:
    clip = Clip(picture_YXC[None], format.fps)
    _check(clip, format)
    return clip


def _check(clip: Clip, format: Format) -> None:
    if clip.size != format.size:
        raise ValueError(f"the clip is {clip.size}, the film {format.size}; fit it first")
