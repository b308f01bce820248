"""Where a model computes, in which number format, and what of it is in memory when. torch is imported only when asked.

Before anything is loaded::

    needs = family(spec).memory_needs(spec, shape_FYX, device, dtype, encodes=False)
    plan, line = plan_memory(needs, measure_free(device), forced)
    note(line)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sora.errors import UsageError
from sora.memory.choose import choose_plan, fallback, fits, plan_memory, summary
from sora.memory.estimate import PHASES, Estimate, Phase, estimate
from sora.memory.free import FreeMemory, free_memory, free_ram, free_with_swap, measure_free
from sora.memory.needs import Needs, NetworkSize, WeightsSize
from sora.memory.plans import PLAN_NAMES, PLANS_BY_SPEED, MemoryPlan

if TYPE_CHECKING:
    import torch

__all__ = [
    "DEVICES",
    "DTYPES",
    "PHASES",
    "PLANS_BY_SPEED",
    "PLAN_NAMES",
    "Estimate",
    "FreeMemory",
    "MemoryPlan",
    "Needs",
    "NetworkSize",
    "Phase",
    "WeightsSize",
    "choose_device",
    "choose_dtype",
    "choose_plan",
    "devices",
    "estimate",
    "fallback",
    "fits",
    "free_memory",
    "free_ram",
    "free_with_swap",
    "measure_free",
    "plan_memory",
    "summary",
]

DEVICES = ("cuda", "mps", "cpu")  # best first
DTYPES = ("float32", "bfloat16", "float16")


def devices() -> tuple[str, ...]:
    """What this machine offers, best first. ``cpu`` is always there."""
    import torch

    offered = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name in DEVICES if offered[name])


def choose_device(name: str | None) -> torch.device:
    """The device called ``name``, or the best there is. Raises UsageError for one that this machine lacks."""
    import torch

    offered = devices()
    if name is None:
        return torch.device(offered[0])
    if name not in offered:
        raise UsageError(f"this machine has no device {name!r} that torch can use; try --device {' or '.join(offered)}")
    return torch.device(name)


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The number format called ``name``, or the one that suits the device. Raises UsageError for an unknown name.

    By default float32 on CPUs, where half precision decodes slower, and on MPS, where bfloat16 depends on the system's
    version; on CUDA bfloat16, or float16 on cards that only emulate bfloat16.
    """
    import torch

    formats = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name is not None:
        if name not in formats:
            raise UsageError(f"no number format is called {name!r}; try --dtype {', '.join(DTYPES)}")
        return formats[name]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
