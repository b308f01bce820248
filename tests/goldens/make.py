"""One fixed clip of the embedded model in numbers, for golden tests, and the program that rewrites them.

``python tests/goldens/make.py``, for a change that means to change what is painted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sora import catalog, models
from sora.engine import engine
from sora.engine.canvas import Canvas
from sora.engine.engine import Settings
from sora.engine.model import Model
from sora.engine.timeline import Timeline
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.plan import Format, Plan

GOLDEN = Path(__file__).parent / "mini.json"
PROMPT = "a red balloon floats up over a green meadow"
SPEC = catalog.find("mini")
SIDE = isqrt(SPEC.defaults.area) * 3 // 4  # smaller than its own size, large enough for its subjects


@cache
def model() -> Model:
    return models.load(SPEC, torch.device("cpu"), torch.float32)


def settings(seed: int = 1, **changes: Any) -> Settings:
    return Settings.from_spec(SPEC, seed, **{"steps": 4, **changes})


def form(height: int = SIDE, width: int = SIDE) -> Format:
    """Painted at exactly this size."""
    return replace(SPEC.format((height, width), SPEC.defaults.fps), model_size=(height, width))


def plan(frames: int = 9, prompt: str = PROMPT) -> Plan:
    return operations.generate((prompt,), frames=frames, format=form())


def canvas_of(made: Plan) -> Canvas:
    return Timeline(made).canvas_for(made.windows[0])


def paint(plan: Plan, how: Settings) -> Tensor:
    return torch.cat(list(engine.paint(model(), plan, how)))


def thumbnails(frames_FCYX: Tensor, side: int = 6) -> list[list[list[int]]]:
    """Brightness of each frame in side x side parts."""
    luma = frames_FCYX.float().mean(dim=1, keepdim=True)
    return F.adaptive_avg_pool2d(luma, (side, side))[:, 0].round().int().tolist()


def drifting(frames: int = 5, side: int = 64) -> Clip:
    """A soft bright spot that drifts to the right over a slope of colours."""
    y, x = np.mgrid[0:side, 0:side] / side
    spots = [np.exp(-((x - 0.3 - 0.08 * i) ** 2 + (y - 0.5) ** 2) / 0.02) for i in range(frames)]
    slope = np.stack([90 * x + 40, 90 * y + 40, 60 + 0 * x], axis=-1)
    return Clip(np.stack([slope + 100 * spot[..., None] for spot in spots]).round().astype(np.uint8), SPEC.defaults.fps)


VERBS: dict[str, Callable[[], Plan]] = {
    "extend backward": lambda: operations.extend(drifting(), PROMPT, frames=6, format=form(64, 64), backward=True),
    "loop": lambda: operations.loop(drifting(), PROMPT, frames=7, format=form(64, 64)),
    "edit": lambda: operations.edit(drifting(), PROMPT, format=form(64, 64), strength=0.7),
    "edit by flow": lambda: operations.edit(
        drifting(), PROMPT, format=form(64, 64), strength=0.7, method="flow", source_prompt="a ball rolls to the right"
    ),
}
"""Small films whose thumbnails are among the golden numbers."""


def measure() -> dict[str, Any]:
    """Latent statistics and thumbnails of brightness of one fixed clip, and thumbnails of the films of VERBS."""
    made = plan()
    latents = engine.paint_latents(model(), canvas_of(made), PROMPT, settings())
    return {
        "latent mean": latents.mean().item(),
        "latent deviation": latents.std().item(),
        "channel means": latents.mean(dim=(0, 2, 3, 4)).tolist(),
        "luma every fourth frame": thumbnails(paint(made, settings())[::4]),
        **{verb: thumbnails(paint(make(), settings(steps=3)), 4) for verb, make in VERBS.items()},
    }


if __name__ == "__main__":
    rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in measure().items())
    GOLDEN.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")  # noqa: T201
