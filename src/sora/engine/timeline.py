"""The film while it is painted: what stands, what is painted so far, and which frames can go out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sora.engine.canvas import Canvas, to_FCYX
from sora.plan.plan import Plan, Window


class Timeline:
    """Holds no more of the painted film than the windows to come still need, so that a long film stays flat in memory.

    A film that is painted backward is the exception: nothing of it can go out before its beginning is painted.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._painted: dict[int, Tensor] = {}
        self._out = 0
        self._ahead = list(plan.windows)

    def canvas_for(self, window: Window) -> Canvas:
        """What the window sees, at the film's size. Unknown frames show what the plan starts from, else nothing."""
        span = range(window.first, window.first + window.frames)
        inside = range(window.first + window.left, span.stop - window.right)
        blank = torch.zeros(3, *self.plan.format.size, dtype=torch.uint8)
        frames = torch.stack([self._beneath(i, blank) if i in inside else self._standing(i) for i in span])
        known = torch.zeros(len(span), 1, *self.plan.format.size, dtype=torch.bool)
        for n, i in enumerate(span):
            known[n] = self._kept(i) if i in inside else True
        return Canvas(frames, known, self.plan.format.fps)

    def add(self, window: Window, frames_FCYX: Tensor, begin: int = 0) -> None:
        """The window's painted frames from its frame ``begin`` on, of which the film keeps some; they may come in
        several pieces, in order."""
        for i, frame_CYX in enumerate(frames_FCYX, start=window.first + begin):
            if i in window.keep:
                self._painted[i] = frame_CYX.clone()  # a view would hold the whole window in memory
        if begin + len(frames_FCYX) >= window.frames > begin:
            self._ahead.remove(window)

    def pop_ready(self) -> Iterator[Tensor]:
        """The frames that no window has to paint any more, in order, as uint8 (1, 3, Y, X); each comes once."""
        while self._out < self.plan.frames:
            frame = self._painted.get(self._out)
            if frame is None:
                frame = self._placed(self._out)
            if frame is None:
                break
            yield frame[None]
            self._out += 1
        self._forget()

    def _forget(self) -> None:
        needed = min((w.first for w in self._ahead), default=self.plan.frames)
        for i in [i for i in self._painted if i < min(needed, self._out)]:
            del self._painted[i]

    def _standing(self, i: int) -> Tensor:
        """A frame that is known by now. Beyond the film's ends the nearest stands for it, on a circle the one there."""
        inside = min(max(i, 0), self.plan.frames - 1)
        frame = self._found(i % self.plan.frames if self.plan.circle else inside)
        if frame is None:  # a circle whose clip is shorter than the context: before it lies what is to be painted
            frame = self._found(inside)
        if frame is None:
            raise ValueError(f"frame {i} is asked of the film before it is painted")
        return frame

    def _found(self, i: int) -> Tensor | None:
        frame = self._painted.get(i)
        return self._placed(i) if frame is None else frame

    def _placed(self, i: int) -> Tensor | None:
        for first, clip in self.plan.placed:
            if first <= i < first + len(clip):
                return to_FCYX(clip[i - first : i - first + 1])[0]
        return None

    def _beneath(self, i: int, blank: Tensor) -> Tensor:
        if self.plan.start is None:
            return blank
        last = len(self.plan.start.clip) - 1
        i = i % (last + 1) if self.plan.circle else min(max(i, 0), last)
        return to_FCYX(self.plan.start.clip[i : i + 1])[0]

    def _kept(self, i: int) -> Tensor | bool:
        start = self.plan.start
        if start is None or start.known_FYX is None:
            return False
        return torch.from_numpy(start.known_FYX[min(max(i, 0), len(start.known_FYX) - 1)])
