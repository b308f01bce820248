"""Which plan: the first that fits, another when memory ran out anyway, and a line that says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sora.errors import OutOfMemory
from sora.memory.estimate import GB, PHASES, SLOTS, Estimate, estimate
from sora.memory.free import Free
from sora.memory.needs import Needs
from sora.memory.plans import LADDER, NAMES, Plan, find

MARGINS = {"text": 0.15, "encode": 0.25, "sample": 0.15, "decode": 0.25}
"""Of what comes and goes in each phase: allocators leave gaps, and convolutions may reorder what they read and write
(on a CPU they took 1.7 feature maps more beside 13)."""

ROOM = 2**28
"""Bytes left alone, for the libraries' fixed room."""


def choose(
    needs: Needs, free_bytes: int, forced: str | None = None, *, host_bytes: int | None = None
) -> tuple[Plan, Estimate]:
    """The plan called ``forced``, whether it fits or not, or the first exact one of LADDER that fits, and what it
    takes. A plan says what is given up; how much of what streams can stay is worked out here.

    free_bytes: on the device before anything is loaded. host_bytes: of CPU memory, None for enough. Raises OutOfMemory
    where none fits and UsageError for an unknown name.
    """
    if forced is not None:
        plan = _fitted(find(forced), needs, free_bytes)
        return plan, _estimated(needs, plan, free_bytes, host_bytes)
    tried = [_fitted(rung, needs, free_bytes) for rung in LADDER]
    for plan in tried:
        found = _estimated(needs, plan, free_bytes, host_bytes)
        if plan.exact and fits(found, free_bytes, host_bytes):
            return plan, found
    raise OutOfMemory(_complaint(needs, tried, free_bytes, host_bytes))


def arrange(needs: Needs, free: Free, forced: str | None = None) -> tuple[Plan, str]:
    """The plan for a painting, and the line that says so: the one place where both a dry run and a real one decide.

    forced: a name of NAMES, followed whether it fits or not. Raises as ``choose`` does.
    """
    plan, found = choose(needs, free.device, forced, host_bytes=free.host)
    return plan, said(plan, found)


def next_rung(needs: Needs, plan: Plan, phase: str, free: Free) -> tuple[Plan, Estimate]:
    """Where memory ran out under ``plan`` in ``phase`` (one of PHASES): the next exact plan that takes less there, and
    for whose streamed weights there is CPU memory.

    free: measured again, once all that was loaded is gone. Raises OutOfMemory where no plan takes less.
    """
    before = estimate(needs, plan).phase(phase).total
    for candidate in _below(plan, needs, free.device):
        found = _estimated(needs, candidate, free.device, free.host)
        if found.phase(phase).total < before and _fits_host(found):
            return candidate, found
    raise OutOfMemory(
        f"memory ran out ({plan.name}, {_gb(before)} GB estimated), and no plan takes less;"
        " paint fewer frames or a smaller size (--frames, --size)"
    )


def _below(plan: Plan, needs: Needs, free_bytes: int) -> Iterator[Plan]:
    """The same with less of what streams staying, then the rungs below, which give nothing back."""
    if plan.text == "dropped" and not needs.unified:
        yield replace(plan, text="streamed")
    if plan.blocks:
        yield replace(plan, blocks=plan.blocks // 2)
    for rung in LADDER[NAMES.index(plan.name) + 1 :]:
        lower = _fitted(rung, needs, free_bytes)
        if plan.text == "streamed":
            lower = replace(lower, text="streamed")
        if plan.blocks is not None and lower.blocks is not None:
            lower = replace(lower, blocks=min(lower.blocks, plan.blocks))
        if rung.exact:
            yield lower


def said(plan: Plan, found: Estimate) -> str:
    """One line for a person: 'memory: text encoder dropped after use, 6.1 of 7.8 GB'."""
    there = "" if found.free is None else f" of {_gb(found.free)}"
    over = (
        ", which may not be enough" if found.free is not None and not fits(found, found.free, found.free_host) else ""
    )
    return f"memory: {', '.join(plan.traits)}, {_gb(found.peak)}{there} GB{over}"


def _estimated(needs: Needs, plan: Plan, free_bytes: int, host_bytes: int | None) -> Estimate:
    """What a plan takes, beside what there is."""
    return replace(estimate(needs, plan), free=free_bytes, free_host=host_bytes)


def _fits_host(found: Estimate) -> bool:
    return found.free_host is None or found.host <= found.free_host


def fits(found: Estimate, free_bytes: int, host_bytes: int | None = None) -> bool:
    """Whether every phase fits with a margin."""
    room = free_bytes - ROOM
    in_host = host_bytes is None or found.host <= host_bytes
    return in_host and all(_with_margin(found, name) <= room for name in PHASES)


def _with_margin(found: Estimate, name: str) -> int:
    phase = found.phase(name)
    return phase.weights + round(phase.work * (1 + MARGINS[name]))


def _least(found: Estimate) -> int:
    """The fewest free bytes with which it fits."""
    return max(_with_margin(found, name) for name in PHASES) + ROOM


def _fitted(plan: Plan, needs: Needs, free_bytes: int) -> Plan:
    """The plan without what makes no difference here, with as much of what streams staying as fits."""
    if needs.experts == 1:
        plan = replace(plan, one_expert=False)
    if not needs.paired:
        plan = replace(plan, one_prompt=False)
    if plan.tile is not None and needs.side <= plan.tile:
        plan = replace(plan, tile=None)
    if plan.text == "dropped" and not needs.unified and not _phase_fits(plan, needs, "text", free_bytes):
        plan = replace(plan, text="streamed")
    if plan.blocks is None:
        return plan
    counts = range(max(0, needs.transformer.blocks - SLOTS - 1), 0, -1)
    fitting = (replace(plan, blocks=n) for n in counts)
    return next((p for p in fitting if _phase_fits(p, needs, "sample", free_bytes)), plan)


def _phase_fits(plan: Plan, needs: Needs, phase: str, free_bytes: int) -> bool:
    return _with_margin(estimate(needs, plan), phase) <= free_bytes - ROOM


def _complaint(needs: Needs, tried: list[Plan], free_bytes: int, host_bytes: int | None) -> str:
    exact = [(estimate(needs, plan), plan) for plan in tried if plan.exact]
    found, plan = min(exact, key=lambda pair: _least(pair[0]))
    if _least(found) <= free_bytes and host_bytes is not None:
        lack = f"{_gb(found.host)} GB of CPU memory hold what streams ({plan.name}), and {_gb(host_bytes)} GB are free"
    else:
        phase = {"text": "reading the prompt", "encode": "encoding", "sample": "sampling", "decode": "decoding"}
        lack = (
            f"{_gb(_least(found))} GB are needed at least ({phase[found.fullest]}), and {_gb(free_bytes)} GB are free"
        )
    inexact = [p.name for p in tried if not p.exact and fits(estimate(needs, p), free_bytes, host_bytes)]
    way = f", or try --memory {inexact[0]}, which paints slightly otherwise" if inexact else ""
    return f"{lack}; paint fewer frames or a smaller size (--frames, --size), close other programs{way}"


def _gb(count: int) -> str:
    return f"{count / GB:.1f}"
