"""Cutting a stretch of film that is to be painted into windows a model can paint. Plain arithmetic on frame numbers.

A causal autoencoder packs its first frame alone and the others ``time`` at once, so a canvas has 1 + time * k frames,
what is known at its beginning 1 + time * k too, and what is known at its end a multiple of time.
"""

from __future__ import annotations

from sora.plan.plan import Format, Window


def windows(gap: range, form: Format, *, left: int, right: int, shot: int = 0, part: int = 0) -> tuple[Window, ...]:
    """Windows that paint the frames of ``gap``, in the order to paint them.

    left, right: how many known frames stand before and after the gap. Forward where there is nothing after it, backward
    where there is nothing before it; between two known ends forward, until one last window reaches the other side.
    """
    if right and not left:
        return _backward(gap, form, right, shot, part)
    if not right:
        return _forward(gap, form, left, shot, part)
    after = _arriving(right, form)
    lead = 0
    if len(gap) > form.window - _leaving(left, form) - after:
        lead = max(form.time, len(gap) - (form.window - form.context - after))
    chain = _forward(gap[:lead], form, left, shot, part)
    return (*chain, _between(gap[lead:], form, left + lead, after, len(chain), shot, part))


def _forward(gap: range, form: Format, left: int, shot: int, part: int) -> tuple[Window, ...]:
    made: list[Window] = []
    while gap:
        context = _leaving(left, form)
        keep = gap[: form.window - context]
        frames = _on_grid(context + len(keep), form.time)
        made.append(Window(keep.start - context, frames, context, 0, keep, shot, part, len(made)))
        gap, left = gap[len(keep) :], left + len(keep)
    return tuple(made)


def _backward(gap: range, form: Format, right: int, shot: int, part: int) -> tuple[Window, ...]:
    made: list[Window] = []
    while gap:
        after = _arriving(right, form, most=2 * form.after)
        room = _below_grid(form.window, form.time) - after
        keep = gap[max(0, len(gap) - room) :]
        frames = _on_grid(after + len(keep), form.time)
        made.append(Window(keep.stop + after - frames, frames, 0, after, keep, shot, part, len(made)))
        gap, right = gap[: len(gap) - len(keep)], right + len(keep)
    return tuple(made)


def _between(gap: range, form: Format, left: int, after: int, draw: int, shot: int, part: int) -> Window:
    """The window that joins both sides. Its known beginning grows until the whole lies on the grid: where there is no
    film that far back, the film's first frame stands for it."""
    context = _leaving(left, form)
    frames = _on_grid(context + len(gap) + after, form.time)
    context = frames - len(gap) - after
    return Window(gap.start - context, frames, context, after, gap, shot, part, draw)


def _leaving(known: int, form: Format) -> int:
    """Frames of context out of those known before a gap: 1 + time * k, or none."""
    return _below_grid(min(known, form.context), form.time) if known else 0


def _arriving(known: int, form: Format, most: int | None = None) -> int:
    """Frames of context out of those known after a gap: a multiple of time, or all where there are fewer."""
    known = min(known, form.after if most is None else most)
    return known // form.time * form.time or known


def _on_grid(frames: int, time: int) -> int:
    return 1 + time * -(-(frames - 1) // time)


def _below_grid(frames: int, time: int) -> int:
    return 1 + time * ((frames - 1) // time)
