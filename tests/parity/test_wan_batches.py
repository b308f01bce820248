"""Windows of Wan's models that are sampled at once, against the same one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_wan_pipelines import HEIGHT, WIDTH, folders

from sora import catalog, models
from sora.engine import engine
from sora.engine.engine import Settings
from sora.memory import FreeMemory, manager
from sora.models import batching, guidance
from sora.plan import operations

__all__ = ["folders"]  # a fixture

SHOTS = ("a red cat", "a blue boat sails over the sea")


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Small canvases are sampled at once on a CPU, too; the samples of each call of the transformer."""
    counted, velocities = list[int](), guidance.GuidedTransformer.velocities

    def counting(self: Any, dit: Any, x: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        counted.append(len(x))
        return velocities(self, dit, x, *args, **more)

    monkeypatch.setattr(guidance.GuidedTransformer, "velocities", counting)
    monkeypatch.setitem(batching.MAX_BATCHED_TOKENS, "cpu", 8192)
    return counted


def painted(model: Any) -> np.ndarray:
    form = model.spec.format((HEIGHT, WIDTH), 16.0)
    plan = operations.generate(SHOTS, frames=10, format=form)
    settings = Settings.from_spec(model.spec, 7, steps=3, guidance=4.0, negative_prompt="dim")
    return torch.cat(list(engine.paint(model, plan, settings))).numpy()


@pytest.mark.parametrize("kind", ["t2v-a14b", "ti2v", "flf2v", "skyreels", "vace"])
def test_the_frames_are_those_of_one_at_a_time(
    folders: Any, samples: list[int], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model: Any = models.load(catalog.find(str(folders(kind)[1])), torch.device("cpu"), torch.float32)
    together = painted(model)
    assert samples == ([1] * 6 if kind == "vace" else [2] * 3)
    monkeypatch.setitem(batching.MAX_BATCHED_TOKENS, "cpu", 0)
    alone = painted(model)
    assert len(samples) == (12 if kind == "vace" else 9)
    assert np.abs(alone.astype(int) - together.astype(int)).max() <= 1
    assert together.std() > 5 and not np.array_equal(alone[:5], alone[5:])


def test_memory_bounds_a_batch(folders: Any, samples: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = models.load(catalog.find(str(folders("t2v")[1])), torch.device("cpu"), torch.float32)
    shape = (81, 256, 256)

    def room(free: int) -> int:
        monkeypatch.setattr(manager, "measure_free", lambda device: FreeMemory(free))
        model.plan_memory(shape, encodes=False, forced="resident")
        return model.batched_windows(shape)

    plenty = [room(2**n) for n in range(29, 36)]
    assert plenty == sorted(plenty) and (plenty[0], plenty[-1]) == (1, 8192 // (21 * 16 * 16))
