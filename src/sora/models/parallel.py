"""Several devices for one clip: whether they can be used, and the processes that use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sora import models
from sora.catalog.spec import ModelSpec
from sora.errors import UsageError
from sora.runtime.parallel.config import choose_config, usable_counts
from sora.runtime.speed import DEFAULT_SPEED, Speed

if TYPE_CHECKING:
    import torch

    from sora.engine.model import Model
    from sora.memory import FreeMemory, Needs
    from sora.runtime.parallel.workers import Workers

WORKER = "sora.models.worker"


class DividedFamily(Protocol):
    """What a family also exposes if several devices can compute its passes."""

    def memory_needs(
        self,
        spec: ModelSpec,
        shape_FYX: tuple[int, int, int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        encodes: bool,
        references: int = 0,
        processes: int = 1,
        guided: bool = True,
        speed: Speed = DEFAULT_SPEED,
    ) -> Needs:
        """As ``Family.memory_needs``: of one of so many processes on cards of their own, of all of them in one memory.
        guided: whether there are two passes a step."""
        ...

    def attention_heads(self, spec: ModelSpec) -> int:
        """Of the transformer; those of the downloaded weights, or else of the published ones. Raises ModelError."""
        ...


def attention_heads(spec: ModelSpec) -> int:
    """Of the transformer of a model that several devices can paint with. Raises ModelError."""
    return cast("DividedFamily", models.family(spec)).attention_heads(spec)


def check_family(spec: ModelSpec, gpus: int) -> None:
    """Raises UsageError for a model that one device alone can paint with. Imports no torch."""
    if gpus > 1 and not hasattr(models.family(spec), "attention_heads"):
        raise UsageError(f"--gpus is for open weights; {spec.name} is small and painted by one device")


def check(spec: ModelSpec, gpus: int, device: torch.device, *, named: bool, guided: bool) -> None:
    """Raises UsageError where so many devices cannot paint together. named: whether a person named the device. guided:
    whether two passes a step are computed."""
    if gpus == 1:
        return
    check_family(spec, gpus)
    _check_devices(gpus, device, named)
    heads = attention_heads(spec)
    if choose_config(gpus, heads, guided=guided) is None:
        counts = ", ".join(map(str, usable_counts(heads, guided=guided)))
        with_guidance = "with" if guided else "without"
        problem = f"--gpus {gpus} cannot divide the {heads} attention heads of {spec.name} {with_guidance} guidance"
        raise UsageError(f"{problem}; expected 1{', ' if counts else ''}{counts}")


def _check_devices(gpus: int, device: torch.device, named: bool) -> None:
    import os

    import torch

    if os.name != "posix":
        raise UsageError("--gpus needs Linux; leave it out")
    if device.type == "mps":
        raise UsageError("--gpus is for CUDA, and this machine computes on MPS, which has one device; leave it out")
    if device.type == "cuda" and torch.cuda.device_count() < gpus:
        raise UsageError(f"--gpus {gpus}: this machine has {torch.cuda.device_count()}; say at most that many")
    if device.type == "cpu" and not named:
        raise UsageError(f"--gpus {gpus}: this machine has no graphics card; --device cpu tries it without, no faster")


def start(gpus: int, device: torch.device) -> Workers:
    """Start the other processes that paint, to be closed at the end. device: of this process. Raises UsageError."""
    import torch

    from sora.runtime.parallel.workers import Workers

    workers = Workers(WORKER, gpus, device)
    workers.connect(torch.get_num_threads() if device.type == "cpu" else 0)
    return workers


def parallelize(
    model: Model,
    workers: Workers,
    dtype: torch.dtype,
    speed: Speed,
    *,
    loras: Sequence[tuple[Path, float]] = (),
    strict: bool = False,
) -> Model:
    """The same model, whose passes are computed together with these processes, which load the same weights in place of
    whatever they had. dtype, speed, loras, strict: that the model was loaded with."""
    from sora.engine.model import Parallelizable
    from sora.models.worker import ModelJob
    from sora.runtime.parallel.workers import Begin

    assert isinstance(model, Parallelizable)
    with workers.guarded():
        workers.send(Begin(ModelJob(model.spec, dtype, speed, tuple(loras), strict)))
    return model.parallelize(workers)


def measure_free(workers: Workers, device: torch.device) -> FreeMemory:
    """The memory that is free now where several devices paint: on the fullest of them. device: of this process."""
    from sora import memory

    workers.recover()
    free = memory.measure_free(device)
    return replace(free, device=min(free.device, *workers.free_bytes)) if workers.free_bytes else free
