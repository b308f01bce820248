"""Choosing a memory plan: the first that fits, a fallback when memory ran out anyway, and a line that describes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sora.errors import OutOfMemory
from sora.memory.estimate import GB, PHASES, SLOTS, Estimate, estimate
from sora.memory.free import FreeMemory
from sora.memory.needs import Needs
from sora.memory.plans import PLAN_NAMES, PLANS_BY_SPEED, MemoryPlan, find

MARGINS = {"text": 0.15, "encode": 0.25, "sample": 0.15, "decode": 0.25}
"""Of what comes and goes in each phase: allocators leave gaps, and convolutions may reorder what they read and write
(on a CPU they took 1.7 feature maps in addition to 13)."""

RESERVED_BYTES = 2**28
"""Bytes left alone, for the libraries' fixed room."""


def choose_plan(
    needs: Needs, free_bytes: int, forced: str | None = None, *, host_bytes: int | None = None
) -> tuple[MemoryPlan, Estimate]:
    """The plan called ``forced``, whether it fits or not, or the first exact one of PLANS_BY_SPEED that fits; and its
    estimate. How many blocks stay resident is computed here.

    free_bytes: on the device before anything is loaded. host_bytes: of CPU memory, None for enough. Raises OutOfMemory
    where none fits and UsageError for an unknown name.
    """
    if forced is not None:
        plan = _fit(find(forced), needs, free_bytes)
        return plan, _estimate_with_free(needs, plan, free_bytes, host_bytes)
    tried = [_fit(candidate, needs, free_bytes) for candidate in PLANS_BY_SPEED]
    for plan in tried:
        found = _estimate_with_free(needs, plan, free_bytes, host_bytes)
        if plan.is_exact and fits(found, free_bytes, host_bytes):
            return plan, found
    raise OutOfMemory(_complaint(needs, tried, free_bytes, host_bytes))


def plan_memory(needs: Needs, free: FreeMemory, forced: str | None = None) -> tuple[MemoryPlan, str]:
    """Return the plan for a workload and the line that describes it; dry runs and real ones both decide here.

    forced: a name of PLAN_NAMES, followed whether it fits or not. Raises as ``choose_plan`` does.
    """
    plan, found = choose_plan(needs, free.device, forced, host_bytes=free.host)
    return plan, summary(plan, found) + _among(needs)


def _among(needs: Needs) -> str:
    """Whose memory that is, where several processes paint."""
    if needs.processes == 1:
        return ""
    return f", all {needs.processes} processes" if needs.unified_memory else f", on each of {needs.processes} cards"


def fallback(needs: Needs, plan: MemoryPlan, phase: str, free: FreeMemory) -> tuple[MemoryPlan, Estimate]:
    """The next exact plan after memory ran out under ``plan`` in ``phase`` (one of PHASES): one that takes less there
    and whose offloaded weights fit into CPU memory.

    free: measured again, once everything is unloaded. Raises OutOfMemory where no plan takes less.
    """
    before = estimate(needs, plan).phase(phase).total
    for candidate in _smaller_plans(plan, needs, free.device):
        found = _estimate_with_free(needs, candidate, free.device, free.host)
        if found.phase(phase).total < before and _fits_host(found):
            return candidate, found
    raise OutOfMemory(
        f"memory ran out ({plan.name}, {_gb(before)} GB estimated{_among(needs)}), and no plan takes less;"
        " paint fewer frames or a smaller size (--frames, --size)"
    )


def _smaller_plans(plan: MemoryPlan, needs: Needs, free_bytes: int) -> Iterator[MemoryPlan]:
    """The same plan with fewer resident weights, then the later plans, without giving back what was reduced."""
    if plan.text_encoder == "dropped" and not needs.unified_memory:
        yield replace(plan, text_encoder="streamed")
    if plan.resident_blocks:
        yield replace(plan, resident_blocks=plan.resident_blocks // 2)
    for smaller in PLANS_BY_SPEED[PLAN_NAMES.index(plan.name) + 1 :]:
        lower = _fit(smaller, needs, free_bytes)
        if plan.text_encoder == "streamed":
            lower = replace(lower, text_encoder="streamed")
        if plan.resident_blocks is not None and lower.resident_blocks is not None:
            lower = replace(lower, resident_blocks=min(lower.resident_blocks, plan.resident_blocks))
        if smaller.is_exact:
            yield lower


def summary(plan: MemoryPlan, found: Estimate) -> str:
    """One line for a person: 'memory: text encoder dropped after use, 6.1 of 7.8 GB'."""
    there = "" if found.free is None else f" of {_gb(found.free)}"
    over = (
        ", which may not be enough" if found.free is not None and not fits(found, found.free, found.free_host) else ""
    )
    return f"memory: {', '.join(plan.traits)}, {_gb(found.peak)}{there} GB{over}"


def _estimate_with_free(needs: Needs, plan: MemoryPlan, free_bytes: int, host_bytes: int | None) -> Estimate:
    """The plan's estimate, with the free memory to compare it with."""
    return replace(estimate(needs, plan), free=free_bytes, free_host=host_bytes)


def _fits_host(found: Estimate) -> bool:
    return found.free_host is None or found.host <= found.free_host


def fits(found: Estimate, free_bytes: int, host_bytes: int | None = None) -> bool:
    """Whether every phase fits, with a margin."""
    room = free_bytes - RESERVED_BYTES
    in_host = host_bytes is None or found.host <= host_bytes
    return in_host and all(_with_margin(found, name) <= room for name in PHASES)


def _with_margin(found: Estimate, name: str) -> int:
    phase = found.phase(name)
    return phase.weights + round(phase.work * (1 + MARGINS[name]))


def _minimum_bytes(found: Estimate) -> int:
    """The smallest number of free bytes with which it fits."""
    return max(_with_margin(found, name) for name in PHASES) + RESERVED_BYTES


def _fit(plan: MemoryPlan, needs: Needs, free_bytes: int) -> MemoryPlan:
    """The plan without what makes no difference here, and with as many resident blocks as fit."""
    if needs.experts == 1:
        plan = replace(plan, single_expert=False)
    if not needs.batches_guidance:
        plan = replace(plan, sequential_guidance=False)
    if plan.tile is not None and needs.latent_side <= plan.tile:
        plan = replace(plan, tile=None)
    if plan.text_encoder == "dropped" and not needs.unified_memory and not phase_fits(plan, needs, "text", free_bytes):
        plan = replace(plan, text_encoder="streamed")
    if plan.resident_blocks is None:
        return plan
    counts = range(max(0, needs.transformer.block_count - SLOTS - 1), 0, -1)
    fitting = (replace(plan, resident_blocks=n) for n in counts)
    return next((p for p in fitting if phase_fits(p, needs, "sample", free_bytes)), plan)


def phase_fits(plan: MemoryPlan, needs: Needs, phase: str, free_bytes: int) -> bool:
    """Whether one phase fits into so many bytes under a plan, with a margin."""
    return _with_margin(estimate(needs, plan), phase) <= free_bytes - RESERVED_BYTES


def _complaint(needs: Needs, tried: list[MemoryPlan], free_bytes: int, host_bytes: int | None) -> str:
    exact = [(estimate(needs, plan), plan) for plan in tried if plan.is_exact]
    found, plan = min(exact, key=lambda pair: _minimum_bytes(pair[0]))
    if _minimum_bytes(found) <= free_bytes and host_bytes is not None:
        lack = f"{_gb(found.host)} GB of CPU memory hold what streams ({plan.name}), and {_gb(host_bytes)} GB are free"
    else:
        phase = {"text": "reading the prompt", "encode": "encoding", "sample": "sampling", "decode": "decoding"}
        minimum = _gb(_minimum_bytes(found))
        whose = phase[found.fullest] + _among(needs)
        lack = f"{minimum} GB are needed at least ({whose}), and {_gb(free_bytes)} GB are free"
    inexact = [p.name for p in tried if not p.is_exact and fits(estimate(needs, p), free_bytes, host_bytes)]
    alternative = f", or try --memory {inexact[0]}, which paints slightly otherwise" if inexact else ""
    fewer = "take fewer processes (--gpus), " if needs.processes > 1 and needs.unified_memory else ""
    return f"{lack}; {fewer}paint fewer frames or a smaller size (--frames, --size), close other programs{alternative}"


def _gb(count: int) -> str:
    return f"{count / GB:.1f}"
