"""The verbs, as pure functions from what a person asks to a Plan. No model, no device, no file."""

from __future__ import annotations

import numpy as np

from sora.canvas import Canvas, Plan
from sora.clip import Clip


def generate(prompt: str, *, frames: int, height: int, width: int, fps: float) -> Plan:
    """A film from words alone: nothing is known."""
    return Plan((Canvas.blank(frames, height, width, fps),), (prompt,))


def image(prompt: str, *, height: int, width: int) -> Plan:
    """One picture from words: a canvas one frame long."""
    return generate(prompt, frames=1, height=height, width=width, fps=1.0)


def img2vid(image_YXC: np.ndarray, prompt: str, *, frames: int, height: int, width: int, fps: float) -> Plan:
    """A picture brought to life: the first frame is known. The picture is uint8 (height, width, 3) already."""
    first = Clip(image_YXC[None], fps)
    if first.size != (height, width):
        raise ValueError(f"the picture is {first.size}, the canvas {(height, width)}; fit it first")
    return Plan((Canvas.blank(frames, height, width, fps).with_known(first, 0),), (prompt,))
