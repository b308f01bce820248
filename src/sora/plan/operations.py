"""The verbs, as pure functions from what a person asks to a Plan. No model, no device, no file.

Clips and pictures have the film's size and rate already. frames: how many are painted, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sora.errors import UsageError
from sora.plan.clip import Clip
from sora.plan.crop import Crop
from sora.plan.plan import Format, Plan, Start, Window
from sora.plan.windows import windows

TRANSITION_FRAMES = 8  # frames in which one shot flows into the next
DRAWS_APART = 1000  # windows of a later shot draw other noise than those of the first, but for its first window


def generate(prompts: Sequence[str], *, frames: int, form: Format, transition: str = "cut") -> Plan:
    """A film from words alone: nothing is known. frames: of the whole film, shared evenly by the shots, one for each
    prompt. transition: "cut" starts each shot afresh, "flow" paints TRANSITION_FRAMES frames between two shots."""
    between = TRANSITION_FRAMES if transition == "flow" else 0
    count = len(prompts)
    if frames - between * (count - 1) < count:
        raise UsageError(f"{frames} frames are too few for {count} shots; ask for more --seconds or fewer --then")
    starts = [round(n * (frames + between) / count) for n in range(count + 1)]
    made: list[Window] = []
    for n in range(count):
        shot = range(starts[n], starts[n + 1] - between)
        first, *rest = _apart(windows(shot, form, left=0, right=0, shot=n, part=2 * n), n)
        made.append(first)
        if n and between:
            gap = range(shot.start - between, shot.start)
            known = len(made[-1].keep)
            made += _apart(windows(gap, form, left=form.context, right=known, shot=n, part=2 * n - 1), n)
        made += rest
    return Plan(form, frames, tuple(made), tuple(prompts))


def _apart(made: tuple[Window, ...], shot: int) -> list[Window]:
    """Windows of a later shot. Its first keeps the film's own noise: one seed, one look."""
    return [replace(w, draw=w.draw + DRAWS_APART * shot * (w.draw > 0)) for w in made]


def image(prompt: str, *, form: Format) -> Plan:
    """One picture from words: a canvas one frame long."""
    return generate((prompt,), frames=1, form=form)


def img2vid(
    image_YXC: np.ndarray, prompt: str, *, frames: int, form: Format, last_YXC: np.ndarray | None = None
) -> Plan:
    """A picture brought to life. frames: of the whole film, whose first is the picture, and whose last is ``last_YXC``
    where one is given."""
    placed = [(0, _still(image_YXC, form))]
    if last_YXC is not None:
        if frames < 2:
            raise UsageError("a film from one picture to another has 2 frames at least; ask for more --seconds")
        placed.append((frames - 1, _still(last_YXC, form)))
    gap = range(1, frames - len(placed) + 1)
    return Plan(form, frames, windows(gap, form, left=1, right=len(placed) - 1), (prompt,), tuple(placed))


def extend(clip: Clip, prompt: str, *, frames: int, form: Format, backward: bool = False) -> Plan:
    """A clip that goes on, or that begins earlier. Its own frames stay as they are."""
    _check(clip, form)
    total = len(clip) + frames
    if backward:
        made = windows(range(frames), form, left=0, right=len(clip))
        return Plan(form, total, made, (prompt,), ((frames, clip),))
    made = windows(range(len(clip), total), form, left=len(clip), right=0)
    return Plan(form, total, made, (prompt,), ((0, clip),))


def loop(clip: Clip, prompt: str, *, frames: int, form: Format) -> Plan:
    """A clip and a painted way back from its end to its beginning."""
    _check(clip, form)
    total = len(clip) + frames
    made = windows(range(len(clip), total), form, left=len(clip), right=len(clip))
    return Plan(form, total, made, (prompt,), ((0, clip),), circle=True)


def cycle(prompt: str, *, frames: int, form: Format) -> Plan:
    """An endless loop from words alone. frames: of the whole film, a multiple of the grid's time."""
    if frames % form.time:
        raise ValueError(f"{frames} frames do not close a circle of {form.time} a latent")
    # The circle is cut in the middle of a latent frame, not where two of them meet. The canvas has one latent more than
    # the circle, at its beginning: what comes before.
    window = Window(-1 - form.time // 2, 1 + frames, 0, 0, range(frames))
    return Plan(form, frames, (window,), (prompt,), circle=True)


def bridge(a: Clip, b: Clip, prompt: str, *, frames: int, form: Format) -> Plan:
    """Two clips joined by painted frames."""
    _check(a, form)
    _check(b, form)
    gap = range(len(a), len(a) + frames)
    made = windows(gap, form, left=len(a), right=len(b))
    return Plan(form, gap.stop + len(b), made, (prompt,), ((0, a), (gap.stop, b)))


def edit(
    clip: Clip,
    prompt: str,
    *,
    form: Format,
    strength: float,
    paint_FYX: np.ndarray | None = None,
    stretch: range | None = None,
    method: str = "noise",
    was: str = "",
    crop: Crop | None = None,
) -> Plan:
    """A clip painted anew: all of it, the pixels of ``paint_FYX`` (bool; one frame stands for all), the frames of
    ``stretch``, or where both meet. strength: in [0, 1]; 0 returns the clip, 1 keeps nothing of what it paints. crop:
    what the model sees of each frame, and ``form.painted`` is of its shape."""
    _check(clip, form)
    if strength == 0:
        return Plan(form, len(clip), (), (prompt,), ((0, clip),))
    gap = range(len(clip)) if stretch is None else stretch
    right = len(clip) - gap.stop
    known = None if paint_FYX is None else ~paint_FYX
    start = Start(clip, strength, known, method, was)
    if strength == 1 and known is None and method == "noise":
        start = None
    made = windows(gap, form, left=gap.start, right=right)
    placed = [(0, clip[: gap.start]) if gap.start else None, (gap.stop, clip[gap.stop :]) if right else None]
    return Plan(form, len(clip), made, (prompt,), tuple(p for p in placed if p), start, crop=crop)


def _still(picture_YXC: np.ndarray, form: Format) -> Clip:
    clip = Clip(picture_YXC[None], form.fps)
    _check(clip, form)
    return clip


def _check(clip: Clip, form: Format) -> None:
    if clip.size != form.size:
        raise ValueError(f"the clip is {clip.size}, the film {form.size}; fit it first")
