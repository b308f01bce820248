"""Cutting a stretch of film that is to be painted into windows a model can paint. Plain arithmetic on frame numbers.

A causal autoencoder packs its first frame alone and the others ``time`` at once, so a canvas has 1 + time * k frames,
what is known at its beginning 1 + time * k too, and what is known at its end a multiple of time.
"""

from __future__ import annotations

from sora.plan.plan import Format, Window


def plan_windows(
    gap: range, format: Format, *, known_before: int, known_after: int, shot: int = 0, colour_group: int = 0
) -> tuple[Window, ...]:
    """Windows that paint the frames of ``gap``, in the order to paint them.

    known_before, known_after: how many known frames are before and after the gap. Windows go forward where nothing is
    known after it, backward where nothing is known before it, and between two known ends forward, until a last window
    reaches the other side.
    """
    if known_after and not known_before:
        return _backward(gap, format, known_after, shot, colour_group)
    if not known_after:
        return _forward(gap, format, known_before, shot, colour_group)
    after = _context_after(known_after, format)
    lead = 0
    if len(gap) > format.window - _context_before(known_before, format) - after:
        lead = max(format.time, len(gap) - (format.window - format.context - after))
    chain = _forward(gap[:lead], format, known_before, shot, colour_group)
    return (*chain, _closing_window(gap[lead:], format, known_before + lead, after, len(chain), shot, colour_group))


def _forward(gap: range, format: Format, known_before: int, shot: int, colour_group: int) -> tuple[Window, ...]:
    windows: list[Window] = []
    while gap:
        context = _context_before(known_before, format)
        keep = gap[: format.window - context]
        frames = _on_grid(context + len(keep), format.time)
        windows.append(Window(keep.start - context, frames, context, 0, keep, shot, colour_group, len(windows)))
        gap, known_before = gap[len(keep) :], known_before + len(keep)
    return tuple(windows)


def _backward(gap: range, format: Format, known_after: int, shot: int, colour_group: int) -> tuple[Window, ...]:
    windows: list[Window] = []
    while gap:
        after = _context_after(known_after, format, limit=2 * format.context_after)
        room = _below_grid(format.window, format.time) - after
        keep = gap[max(0, len(gap) - room) :]
        frames = _on_grid(after + len(keep), format.time)
        windows.append(Window(keep.stop + after - frames, frames, 0, after, keep, shot, colour_group, len(windows)))
        gap, known_after = gap[: len(gap) - len(keep)], known_after + len(keep)
    return tuple(windows)


def _closing_window(
    gap: range, format: Format, known_before: int, context_after: int, noise_index: int, shot: int, colour_group: int
) -> Window:
    """The window that joins both sides. Its known beginning grows until the whole lies on the grid: where there is no
    film that far back, the film's first frame stands for it."""
    context_before = _context_before(known_before, format)
    frames = _on_grid(context_before + len(gap) + context_after, format.time)
    context_before = frames - len(gap) - context_after
    return Window(
        gap.start - context_before, frames, context_before, context_after, gap, shot, colour_group, noise_index
    )


def _context_before(known: int, format: Format) -> int:
    """Frames of context out of those known before a gap: 1 + time * k, or none."""
    return _below_grid(min(known, format.context), format.time) if known else 0


def _context_after(known: int, format: Format, limit: int | None = None) -> int:
    """Frames of context out of those known after a gap: a multiple of time, or all where there are fewer."""
    known = min(known, format.context_after if limit is None else limit)
    return known // format.time * format.time or known


def _on_grid(frames: int, time: int) -> int:
    return 1 + time * -(-(frames - 1) // time)


def _below_grid(frames: int, time: int) -> int:
    return 1 + time * ((frames - 1) // time)
