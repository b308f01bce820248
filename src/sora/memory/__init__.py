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
from sora.memory.device_choice import DEVICES, choose_device, device_note, devices, refusal_of
from sora.memory.estimate import PHASES, Estimate, Phase, estimate
from sora.memory.free import FreeMemory, free_memory, free_ram, free_with_swap, measure_free, measure_least_free
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
    "device_note",
    "devices",
    "estimate",
    "fallback",
    "fits",
    "free_memory",
    "free_ram",
    "free_with_swap",
    "measure_free",
    "measure_least_free",
    "plan_memory",
    "refusal_of",
    "summary",
]

DTYPES = ("float32", "bfloat16", "float16")


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
