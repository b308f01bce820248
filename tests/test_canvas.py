"""Canvases: uint8 pixels and what is known of them."""

import numpy as np
import pytest
import torch

from sora.engine.canvas import Canvas, to_FCYX
from sora.plan.clip import Clip


def film(frames: int, height: int = 4, width: int = 6, seed: int = 1) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8), 8.0)


def test_a_blank_canvas_knows_nothing() -> None:
    canvas = Canvas.blank(5, 4, 6, 8.0)
    assert canvas.shape == (5, 4, 6) and not canvas.known_F1YX.any()


def test_channels_stand_second_and_the_clip_is_copied() -> None:
    clip = film(2)
    frames_FCYX = to_FCYX(clip)
    assert frames_FCYX.shape == (2, 3, 4, 6)
    assert (frames_FCYX[1, 2].numpy() == clip.frames_FYXC[1, :, :, 2]).all()
    frames_FCYX.zero_()
    assert clip.frames_FYXC.any()


@pytest.mark.parametrize(
    ("frames", "known"),
    [(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)),
     (torch.zeros(2, 4, 4, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4, dtype=torch.bool)),
     (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4)),
     (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 4, 4, dtype=torch.bool))],
)  # fmt: skip
def test_what_is_no_canvas_is_refused(frames: torch.Tensor, known: torch.Tensor) -> None:
    with pytest.raises(ValueError):
        Canvas(frames, known, 8.0)
