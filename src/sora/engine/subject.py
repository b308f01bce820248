"""The subject of a film's first shot, as a reference for the shots after it: its sharpest frame.

Sharp is what has most variance of its Laplacian, a measure of focus (Pech-Pacheco et al., Diatom autofocusing in
brightfield microscopy, ICPR 2000). It is counted in whole numbers, so that the choice among the same
frames is the same anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from sora.engine.canvas import Canvas
from sora.plan.plan import Plan, Window

CANDIDATES = 16  # frames of the first shot, evenly over all of it, that are compared
LUMA = (299, 587, 114)  # thousandths, BT.601


class SubjectFrame:
    """The frame of a plan's first shot that its later windows are shown. It is found while the frames pass, painted or
    read back."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._candidates = candidates(plan) if plan.shows_first_shot else frozenset[int]()
        self._best: tuple[Fraction, Tensor] | None = None

    def consider(self, window: Window, frames_FCYX: Tensor, begin: int) -> None:
        """Finished frames of a window, from its frame ``begin`` on."""
        if window.shot != 0:
            return
        for i, frame_CYX in enumerate(frames_FCYX, start=window.first + begin):
            if i in window.kept and i in self._candidates:
                found = sharpness(frame_CYX)
                if self._best is None or found > self._best[0]:
                    self._best = found, frame_CYX.clone()

    def shown_to(self, window: Window, canvas: Canvas) -> Canvas:
        """A window's canvas, with the frame among its guides where that is of a later shot."""
        if window.shot == 0 or self._best is None:
            return canvas
        guides = replace(canvas.guides, references=(self._best[1],), scales=self._plan.guide_scales)
        return replace(canvas, guides=guides)


def candidates(plan: Plan) -> frozenset[int]:
    """Frames of the plan, of its first shot, that may be shown to the later ones."""
    frames = sorted(i for window in plan.windows if window.shot == 0 for i in window.kept)
    count = min(CANDIDATES, len(frames))
    return frozenset(frames[(2 * n + 1) * len(frames) // (2 * count)] for n in range(count))


def sharpness(frame_CYX: Tensor) -> Fraction:
    """The variance of the Laplacian of a frame's brightness. frame_CYX: uint8 RGB, 3 pixels a side or more."""
    weights = torch.tensor(LUMA, dtype=torch.int64)[:, None, None]
    luma_YX = (frame_CYX.to(torch.int64) * weights).sum(dim=0)
    centre = luma_YX[1:-1, 1:-1]
    around = luma_YX[:-2, 1:-1] + luma_YX[2:, 1:-1] + luma_YX[1:-1, :-2] + luma_YX[1:-1, 2:]
    laplacian = around - 4 * centre
    count, total = laplacian.numel(), int(laplacian.sum())
    return Fraction(count * int((laplacian * laplacian).sum()) - total * total, count * count)
