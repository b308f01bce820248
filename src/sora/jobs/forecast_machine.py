"""What a film is painted with, as far as its seconds depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sora.jobs.own_runs import RunKey
from sora.jobs.resolve import ResolvedRequest
from sora.memory.plans import MemoryPlan
from sora.runtime.rates import DeviceRates

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """What paints. rates: of the device; nominal ones where ``is_known`` is false. key: what own runs are kept under.
    half: whether the transformer computes in half precision; half_vae: the same of the autoencoder. itemsize: bytes of
    a number of the transformer's. plan: the memory plan, None for a model that is always in memory whole. float8,
    may_compile: whether its linear layers compute so, and whether its blocks are compiled where that pays. compiled:
    whether they were; None before they have run."""

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


def machine_of(
    resolved: ResolvedRequest,
    device: torch.device,
    dtype: torch.dtype,
    plan: MemoryPlan | None,
    *,
    thread_count: int = 0,
    compiled: bool | None = None,
) -> Machine:
    """What a request is painted with. thread_count: of a CPU, 0 for those of an idle machine. compiled: as in
    ``Machine``."""
    import torch

    from sora.runtime import device as devices

    count = thread_count or resolved.request.threads or torch.get_num_threads()
    found, speed = devices.described(device, count), resolved.speed
    name = str(dtype).removeprefix("torch.")
    # The name of a person's own file says something of them.
    model = resolved.spec.name if resolved.spec.repo or resolved.spec.folder is None else "own"
    half, is_whole = dtype != torch.float32, plan is None or (plan.resident_blocks is None and plan.is_exact)
    return Machine(
        found.usual_rates,
        RunKey(found.key, name, resolved.spec.family, model, speed.mode),
        half=half,
        half_vae=half and device.type == "cuda" and speed.uses("half-vae"),
        itemsize=dtype.itemsize,
        plan=plan,
        float8=speed.fast and half and device.type == "cuda" and is_whole and found.usual_rates.float8 > 0,
        may_compile=speed.uses("compile") and device.type == "cuda" and plan is not None,
        compiled=compiled,
        is_known=found.rates is not None,
    )
