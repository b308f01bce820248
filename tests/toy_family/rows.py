"""The rows of the toy family: what would be ``sora/catalog/toy.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sora.catalog.spec import Defaults, ModelSpec
from sora.plan.grid import Grid

WEIGHTS = "toy.safetensors"

TOY = ModelSpec(
    name="toy",
    family="toy",
    summary="paints next to nothing, in no time",
    licence="Apache-2.0",
    files=(WEIGHTS,),
    grid=Grid(time=4, space=8, channels=3, patch=1),
    defaults=Defaults(
        frames=9,
        window=9,
        context=5,
        context_after=4,
        loop_frames=8,
        fps=8.0,
        area=64 * 64,
        steps=2,
        draft_area=32 * 32,
        draft_steps=1,
        guidance=2.0,
        shift=1.0,
        sampler="euler",
    ),
    conditioning="renoise",
    accepts="words, and any known frames",
)

MODELS = {TOY.name: TOY}


def recognise(path: Path, name: str) -> ModelSpec | None:
    """A folder that holds the toy's weights."""
    return replace(TOY, name=name, base_model=TOY.name, folder=path) if (path / WEIGHTS).is_file() else None
