"""The toy family: what would be ``sora/models/toy/``. A transformer of a few linear layers, an autoencoder that
averages, a text encoder that counts letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sora.catalog.spec import ModelSpec
from sora.runtime.speed import DEFAULT_SPEED, Speed
from sora.weights import KeyMap, LayoutRules

if TYPE_CHECKING:
    import torch

    from sora.memory import Needs

    from .model import Toy

KEY_MAPS = {
    "transformer": LayoutRules(
        prefixes=("dit.",),
        key_maps=(KeyMap(r"^layers\.", (((r"^layers\.(\d+)\.inner\b", r"blocks.\1.map"),),)),),
    ),
    "text": LayoutRules(prefixes=("words.",)),
}


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed) -> Toy:
    from .model import Components, Toy

    return Toy(spec, Components(spec, device, dtype))


def memory_needs(
    spec: ModelSpec,
    shape_FYX: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    encodes: bool,
    references: int = 0,
    speed: Speed = DEFAULT_SPEED,
) -> Needs:
    from .model import needs

    return needs(spec, shape_FYX, device, dtype, encodes=encodes)
