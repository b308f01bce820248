"""Weights: find, check, rename, load strictly. What a file must hold is checked before any tensor is allocated.

``load_into`` fills a module from one safetensors file of our own, ``load_checkpoint`` from the open weights of others,
in any of their layouts and number formats. Nothing here imports torch until tensors are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sora.weights.checkpoint import checkpoint_shapes, load_checkpoint
from sora.weights.names import KeyMap, LayoutRules
from sora.weights.source import fingerprint
from sora.weights.strict import Shapes, load_into, metadata, read, shapes

__all__ = [
    "ASSETS",
    "KeyMap",
    "LayoutRules",
    "Shapes",
    "asset",
    "checkpoint_shapes",
    "embedded",
    "fingerprint",
    "load_checkpoint",
    "load_into",
    "metadata",
    "read",
    "shapes",
]

ASSETS = Path(__file__).parents[1] / "assets"


def asset(name: str) -> Path:
    """Where a file that ships inside the package stands."""
    return ASSETS / name


def embedded(files: Iterable[str]) -> bool:
    """Whether all these files ship inside this installation."""
    return all(asset(name).is_file() for name in files)
