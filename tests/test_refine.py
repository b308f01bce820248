"""Large pictures: any size exactly, and with little noise the same picture."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from sora import catalog, models
from sora.engine.engine import Settings
from sora.engine.model import Model
from sora.engine.progress import ProgressEvent
from sora.engine.resizing import resize
from sora.engine.upscale import refine

SETTINGS = Settings(seed=1, steps=2, guidance=1.0, shift=1.0, sampler="euler")


@cache
def model() -> Model:
    return models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)


def picture(height: int, width: int) -> Tensor:
    """Soft hills of colour."""
    draw = torch.from_numpy(np.random.default_rng(0).integers(40, 216, (1, 3, 3, 3)).astype(np.float32))
    return resize(draw, (height, width)).clamp(0, 255).round().to(torch.uint8)


@pytest.mark.parametrize("size", [(64, 64), (80, 80), (48, 130), (90, 47), (20, 24), (32, 32)])
def test_the_size_is_exact(size: tuple[int, int]) -> None:
    large = refine(model(), picture(32, 32), size, "", SETTINGS, 0.2)
    assert large.shape == (1, 3, *size) and large.dtype == torch.uint8


def test_little_noise_keeps_the_picture() -> None:
    small = picture(64, 64)
    large = refine(model(), small, (128, 128), "", SETTINGS, 0.05).float()
    assert (large - resize(small.float(), (128, 128))).abs().mean() < 12


def test_every_tile_is_told_of() -> None:
    heard: list[ProgressEvent] = []
    refine(model(), picture(32, 32), (64, 64), "", SETTINGS, 0.2, heard.append)
    assert [e.done for e in heard] == list(range(1, heard[0].total + 1))
    assert {e.phase for e in heard} == {"refine"}
