"""A pass of the transformers against diffusers', as it is and tuned, with the same weights and by turns."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import torch

from gpu_parts.passes import NAMES
from gpu_parts.result import Machine, Result
from passes_parts import rows

RUNS = 3


def measure(machine: Machine) -> Iterator[Result]:
    if find_spec("diffusers") is None:
        yield Result("diffusers is installed", 0.0)
        return
    import passes

    dtype = torch.bfloat16 if machine.is_cuda else torch.float32
    for name, row in (rows.TINY if machine.small else {name: rows.CUDA[name] for name in NAMES}).items():
        found = passes.measured(row, machine.device.type, dtype, compiled=False, ablate=False, runs=RUNS)
        seconds = ", ".join(f"{work} {timed.median:.4g} s" for work, timed in found.times.items())
        for base, target in passes.targets(name, machine.device.type).items():
            faster = found.faster(base)
            met = faster >= target if machine.is_cuda else None
            yield Result(f"{name}, times faster than {base}", faster, "x", f">= {target}", met, seconds)
        share = found.over_weights[passes.PRODUCT.name] / found.over_weights[passes.DEFAULT]
        met = share <= passes.MEMORY_TARGET if machine.is_cuda else None
        yield Result(f"{name}, memory of diffusers'", share, "x", f"<= {passes.MEMORY_TARGET}", met)
        del found
        machine.empty_cache()
