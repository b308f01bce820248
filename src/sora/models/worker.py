"""``python -m sora.models.worker``: the process of another device, which ``models.parallel`` starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sora import models
from sora.catalog.spec import ModelSpec
from sora.engine.model import Parallelizable
from sora.runtime.parallel import worker
from sora.runtime.parallel.ranks import Ranks
from sora.runtime.speed import Speed


@dataclass(frozen=True)
class ModelJob:
    """The model that all processes load. loras: (file, strength). strict: as in ``models.add_lora``."""

    spec: ModelSpec
    dtype: torch.dtype
    speed: Speed
    loras: tuple[tuple[Path, float], ...] = ()
    strict: bool = False


def prepare(job: ModelJob, ranks: Ranks) -> Callable[[Any], Any]:
    """Make the model ready; its weights are loaded once rank 0 asks for them."""
    model = models.load(job.spec, ranks.device, job.dtype, job.speed)
    for path, strength in job.loras:
        models.add_lora(model, path, strength, strict=job.strict)
    assert isinstance(model, Parallelizable)
    return model.serve(ranks)


if __name__ == "__main__":
    # By its full name, so that what is pickled in one process is the same class in the other.
    from sora.models.worker import prepare as prepare_by_name

    worker.serve(prepare_by_name)
