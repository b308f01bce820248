"""One fixed clip of the embedded model in numbers, for golden tests, and the program that rewrites them.

``python tests/goldens/make.py``, for a change that means to change what is painted.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sora import catalog, models
from sora.engine import engine
from sora.engine.canvas import Canvas
from sora.engine.engine import Settings
from sora.engine.model import Model
from sora.engine.timeline import Film
from sora.plan import operations
from sora.plan.plan import Format, Plan

GOLDEN = Path(__file__).parent / "mini.json"
PROMPT = "a red balloon floats up over a green meadow"
SPEC = catalog.find("mini")
SIDE = isqrt(SPEC.defaults.area) * 3 // 4  # smaller than its own size, large enough for its subjects


@cache
def model() -> Model:
    return models.load(SPEC, torch.device("cpu"), torch.float32)


def settings(seed: int = 1, **changes: Any) -> Settings:
    d = SPEC.defaults
    chosen = {"steps": 4, "guidance": d.guidance, "shift": d.shift, "step": d.step, **changes}
    return Settings(seed=seed, **chosen)


def form(height: int = SIDE, width: int = SIDE) -> Format:
    """Painted at exactly this size."""
    return replace(SPEC.form((height, width), SPEC.defaults.fps), painted=(height, width))


def plan(frames: int = 9, prompt: str = PROMPT) -> Plan:
    return operations.generate((prompt,), frames=frames, form=form())


def canvas_of(made: Plan) -> Canvas:
    return Film(made).canvas(made.windows[0])


def paint(plan: Plan, how: Settings) -> Tensor:
    return torch.cat(list(engine.paint(model(), plan, how)))


def measure() -> dict[str, Any]:
    """Latent statistics and a thumbnail of brightness of one fixed clip."""
    made = plan()
    latents = engine.paint_latents(model(), canvas_of(made), PROMPT, settings())
    luma = paint(made, settings()).float().mean(dim=1, keepdim=True)
    thumbnail = F.adaptive_avg_pool2d(luma[::4], (6, 6))[:, 0]
    return {
        "latent mean": latents.mean().item(),
        "latent deviation": latents.std().item(),
        "channel means": latents.mean(dim=(0, 2, 3, 4)).tolist(),
        "luma every fourth frame": thumbnail.round().int().tolist(),
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")  # noqa: T201
