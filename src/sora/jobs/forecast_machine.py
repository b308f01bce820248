"""What a film is painted with, as far as its seconds depend on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sora import weights
from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.jobs import gpus
from sora.jobs.own_runs import RunKey
from sora.jobs.resolve import ResolvedRequest
from sora.memory.plans import MemoryPlan
from sora.models.parallel_work import Division
from sora.runtime.rates import DeviceRates
from sora.weights import page_cache

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """What paints. rates: of the device; nominal ones where ``is_known`` is false. key: what own runs are kept under.
    half: whether the transformer computes in half precision; half_vae: the same of the autoencoder. itemsize: bytes of
    a number of the transformer's. plan: the memory plan, None for a model that is always in memory whole. float8,
    may_compile: whether its linear layers compute so, and whether its blocks are compiled where that pays. compiled:
    whether they were; None before they have run. on_disk: the share of the bytes of the weights that is not in the page
    cache. division: among several cards, of which ``rates`` are those of one; None for one device."""

    rates: DeviceRates
    key: RunKey
    half: bool
    half_vae: bool
    itemsize: int
    plan: MemoryPlan | None = None
    float8: bool = False
    may_compile: bool = False
    compiled: bool | None = None
    is_known: bool = True
    on_disk: float = 0.0
    division: Division | None = None


def machine_of(
    resolved: ResolvedRequest,
    device: torch.device,
    dtype: torch.dtype,
    plan: MemoryPlan | None,
    *,
    thread_count: int = 0,
    compiled: bool | None = None,
    on_disk: float = 0.0,
) -> Machine:
    """What a request is painted with. thread_count: of a CPU, 0 for those of an idle machine. compiled, on_disk: as in
    ``Machine``."""
    import torch

    from sora.runtime import device as devices

    count = thread_count or resolved.request.threads or torch.get_num_threads()
    found, speed = devices.described(device, count), resolved.speed
    name = str(dtype).removeprefix("torch.")
    # The name of a person's own file says something of them.
    model = resolved.spec.name if resolved.spec.repo or resolved.spec.folder is None else "own"
    half, is_native = dtype != torch.float32, plan is None or plan.is_exact
    processes = f"{resolved.request.gpus} x " if (resolved.request.gpus or 1) > 1 else ""
    return Machine(
        replace(found.usual_rates, name=processes + found.usual_rates.name),
        RunKey(processes + found.key, name, resolved.spec.family, model, speed.mode),
        half=half,
        half_vae=half and device.type == "cuda" and speed.uses("half-vae"),
        itemsize=dtype.itemsize,
        plan=plan,
        float8=speed.fast and half and device.type == "cuda" and is_native and found.usual_rates.float8 > 0,
        may_compile=speed.uses("compile") and device.type == "cuda" and plan is not None,
        compiled=compiled,
        is_known=found.rates is not None,
        on_disk=on_disk,
        division=gpus.division(resolved, device),
    )


def share_on_disk(spec: ModelSpec) -> float:
    """Of the bytes of a model's weights, the share in [0, 1] that is not in the page cache. Imports no torch."""
    folder = hub.local_copy(spec).folder if spec.repo else None
    there = [weights.asset(name) if folder is None else folder / name for name in spec.files]
    return page_cache.share_on_disk([*there, *_files_of(spec)])


def _files_of(spec: ModelSpec) -> list[Path]:
    """A person's own."""
    listed = ([path] if path.is_file() else sorted(path.rglob("*.safetensors")) for path in spec.own_paths)
    return [file for files in listed for file in files]
