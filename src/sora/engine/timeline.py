"""The timeline of a clip while it is painted: which frames are known, which are finished, which can be released."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sora.engine.canvas import NO_GUIDES, Canvas, Guides, to_FCYX
from sora.plan import anchors
from sora.plan.plan import Plan, Window


class Timeline:
    """The frames of a plan, known and painted. It keeps no more painted frames than the windows that are still to be
    painted need, so that a long clip takes no more memory than a short one.

    A clip that is extended backward is the exception: none of it can be released before its beginning is painted.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._painted: dict[int, Tensor] = {}
        self._released = 0
        self._pending = list(plan.windows)

    def canvas_for(self, window: Window) -> Canvas:
        """The canvas of a window, at the clip's size. Unknown frames show the plan's source clip, or black."""
        span = range(window.first, window.first + window.frames)
        inside = range(window.first + window.context_before, span.stop - window.context_after)
        black = torch.zeros(3, *self.plan.format.size, dtype=torch.uint8)
        frames = torch.stack([self._source_frame(i, black) if i in inside else self._context_frame(i) for i in span])
        known = torch.zeros(len(span), 1, *self.plan.format.size, dtype=torch.bool)
        for n, i in enumerate(span):
            known[n] = self._source_mask(i) if i in inside else True
        return Canvas(frames, known, self.plan.format.fps, self._guides(window))

    def _guides(self, window: Window) -> Guides:
        """What the model is shown with a window."""
        plan, span = self.plan, range(window.first, window.first + window.frames)
        references = tuple(torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in plan.references)
        anchored = tuple((i - window.first, self._context_frame(i)) for i in anchors.shown_with(plan, window))
        if plan.control is None:
            plain = Guides(references, scales=plan.guide_scales, anchors=anchored)
            return plain if references or anchored else NO_GUIDES
        # What a window paints beyond the film's ends only fills up the model's grid: it follows the nearest frame.
        places = [min(max(i, 0), len(plan.control.clip) - 1) for i in span]
        control = torch.cat([to_FCYX(plan.control.clip[n : n + 1]) for n in places])
        controlled = torch.tensor([n in plan.control.frames for n in places])
        return Guides(references, control, controlled, plan.guide_scales, anchored)

    def add(self, window: Window, frames_FCYX: Tensor, begin: int = 0) -> None:
        """Add painted frames of a window, from the window's frame ``begin`` on; the timeline keeps those that belong to
        the clip. A window may come in several pieces, in order."""
        for i, frame_CYX in enumerate(frames_FCYX, start=window.first + begin):
            if i in window.kept:
                self._painted[i] = frame_CYX.clone()  # a view would keep the whole window in memory
        if begin + len(frames_FCYX) >= window.frames > begin:
            self._pending.remove(window)

    def pop_ready(self) -> Iterator[Tensor]:
        """Release the frames that no window changes any more, in order, as uint8 (1, 3, Y, X); each comes once."""
        while self._released < self.plan.frames:
            frame = self._painted.get(self._released)
            if frame is None:
                frame = self._given_frame(self._released)
            if frame is None:
                break
            yield frame[None]
            self._released += 1
        self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        needed = min((w.first for w in self._pending), default=self.plan.frames)
        for i in [i for i in self._painted if i < min(needed, self._released)]:
            del self._painted[i]

    def _context_frame(self, i: int) -> Tensor:
        """A frame that is known by now. Beyond the clip's ends it is the nearest one, in a cyclic clip the one
        there."""
        nearest = min(max(i, 0), self.plan.frames - 1)
        frame = self._frame(i % self.plan.frames if self.plan.cyclic else nearest)
        if frame is None:  # a loop whose clip is shorter than the context: the frame before it is yet to be painted
            frame = self._frame(nearest)
        if frame is None:
            raise ValueError(f"frame {i} is needed before it is painted")
        return frame

    def _frame(self, i: int) -> Tensor | None:
        frame = self._painted.get(i)
        return self._given_frame(i) if frame is None else frame

    def _given_frame(self, i: int) -> Tensor | None:
        """Frame i of the clips that the person gave; None where it is none of theirs."""
        for first, clip in self.plan.known_clips:
            if first <= i < first + len(clip):
                return to_FCYX(clip[i - first : i - first + 1])[0]
        return None

    def _source_frame(self, i: int, black: Tensor) -> Tensor:
        """Frame i of the clip that is edited; black where nothing is."""
        if self.plan.source is None:
            return black
        last = len(self.plan.source.clip) - 1
        i = i % (last + 1) if self.plan.cyclic else min(max(i, 0), last)
        return to_FCYX(self.plan.source.clip[i : i + 1])[0]

    def source_frames(self, window: Window) -> Tensor | None:
        """The frames of the clip that is edited from which a window's own start, uint8 (F, 3, Y, X); None for films
        that start from none."""
        if self.plan.source is None:
            return None
        black = torch.zeros(3, *self.plan.format.size, dtype=torch.uint8)
        return torch.stack([self._source_frame(i, black) for i in window.kept])

    def _source_mask(self, i: int) -> Tensor | bool:
        """Which pixels of frame i an edit leaves alone."""
        source = self.plan.source
        if source is None or source.known_FYX is None:
            return False
        return torch.from_numpy(source.known_FYX[min(max(i, 0), len(source.known_FYX) - 1)])
