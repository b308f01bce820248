"""Verbs as plans: what is known, where, and what is painted."""

from __future__ import annotations

import numpy as np
import pytest

from sora import operations


def test_generate_knows_nothing() -> None:
    plan = operations.generate("a car", frames=9, height=32, width=48, fps=8.0)
    (canvas,) = plan.canvases
    assert canvas.shape == (9, 32, 48)
    assert not canvas.known_F1YX.any()
    assert plan.prompts == ("a car",)
    assert plan.before is None and plan.after is None


def test_image_is_a_canvas_one_frame_long() -> None:
    (canvas,) = operations.image("a car", height=32, width=32).canvases
    assert canvas.shape == (1, 32, 32)


def test_img2vid_knows_exactly_its_first_frame() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    (canvas,) = operations.img2vid(picture, "", frames=5, height=32, width=48, fps=8.0).canvases
    assert canvas.known_F1YX[0].all()
    assert not canvas.known_F1YX[1:].any()
    assert np.array_equal(canvas.frames_FCYX[0].permute(1, 2, 0).numpy(), picture)


def test_img2vid_wants_a_fitted_picture() -> None:
    with pytest.raises(ValueError, match="fit it first"):
        operations.img2vid(np.zeros((16, 16, 3), np.uint8), "", frames=5, height=32, width=48, fps=8.0)
