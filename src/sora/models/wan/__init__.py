"""The Wan family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sora.catalog.spec import ModelSpec
from sora.runtime.speed import DEFAULT, Speed

if TYPE_CHECKING:
    import torch

    from sora.models.wan.model import Wan


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT) -> Wan:
    """See ``model.load``."""
    from sora.models.wan import model

    return model.load(spec, device, dtype, speed)
