"""What ``sora doctor --deep`` runs of the embedded model: one step of a clip, with its real weights."""

from __future__ import annotations

import torch
from torch import Tensor

from sora.catalog.mini import MINI
from sora.engine import engine
from sora.models.device_tests import DeviceTest
from sora.models.mini import model
from sora.plan import operations

FRAMES = (9, 17, 33)


def device_tests(dtype: torch.dtype) -> tuple[DeviceTest, ...]:
    """dtype: one besides float32."""
    return (DeviceTest(MINI.name, FRAMES, tuple(dict.fromkeys((torch.float32, dtype))), _frames),)


def _frames(frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    side = 4 * MINI.grid.multiple
    plan = operations.generate(("a red balloon",), frames=frames, format=MINI.format((side, side), MINI.defaults.fps))
    settings = engine.Settings.from_spec(MINI, 0, steps=1, guidance=1.0)
    return torch.cat(list(engine.paint(model.load(MINI, device, dtype), plan, settings))).float()
