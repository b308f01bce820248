"""How long painting will take: the work of a request by the rates of a device, corrected by this machine's own runs.

Nothing is loaded. A phase is what ``sora --json`` reports, but that networks are loaded where they are first used, the
first compiled pass is apart, and so is blending, which comes after decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sora import memory, models
from sora.errors import ModelError
from sora.jobs import calibration, own_runs, passes, phase_terms
from sora.jobs.forecast_machine import Machine, machine_of, share_on_disk
from sora.jobs.own_runs import Run, RunKey
from sora.jobs.passes import CanvasRuns
from sora.jobs.phase_clock import PhaseClock
from sora.jobs.phase_terms import PHASES, PhaseTerms
from sora.jobs.resolve import ResolvedRequest
from sora.jobs.variants import Variant
from sora.memory.plans import MemoryPlan
from sora.runtime import threads

if TYPE_CHECKING:
    import torch

__all__ = ["PHASES", "Forecast", "Machine", "canvases_of", "film_seconds", "machine_of", "of", "record"]

ONCE = ("load", "compile")  # for all files together


@dataclass(frozen=True)
class Forecast:
    """seconds: by phase, of all files together; empty where the device is not known. basis: "measured", "measured while
    busy", "measured on other models", "rates" or "unknown". device: for a person. files: how many."""

    seconds: dict[str, float] = field(default_factory=dict)
    basis: str = "rates"
    device: str = ""
    files: int = 1

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def of(resolved: ResolvedRequest, plan: MemoryPlan | None, *, busy_cores: float = 0.0) -> Forecast | None:
    """Seconds that a command will take here under a memory plan, with the loading; none on a device of unknown rates
    before a film was painted there. None for a model whose family does not count its work. plan: None for a model that
    is always in memory whole. busy_cores: that other programs use. Raises UsageError for a device that is not here."""
    import torch

    device = memory.choose_device(resolved.request.device)
    dtype = memory.choose_dtype(resolved.request.dtype, device)
    count = threads.thread_count(resolved.request.threads, busy_cores, torch.get_num_threads())
    machine = machine_of(resolved, device, dtype, plan, thread_count=count, on_disk=share_on_disk(resolved.spec))
    canvases = canvases_of(resolved, texts_to_encode(resolved, resolved.variants, device, dtype))
    if canvases is None:
        return None
    records, files = own_runs.read(), len(resolved.variants)
    if not machine.is_known and "sample" not in _phases_known(records, machine.key):
        return Forecast(basis="unknown", files=files)
    by_rates = phase_terms.of_film(resolved, machine, canvases)
    found = _corrected(by_rates, records, machine.key)
    seconds = {name: each * (1 if name in ONCE else files) for name, each in found.items()}
    return Forecast(seconds, _basis(by_rates, records, machine.key), machine.rates.name, files)


def sampling_seconds(resolved: ResolvedRequest, device: torch.device, dtype: torch.dtype) -> float | None:
    """Seconds that all passes of a request's films take on a device, uncompiled and from weights that stay there; None
    where that is not known."""
    machine, canvases, records = machine_of(resolved, device, dtype, None), canvases_of(resolved), own_runs.read()
    if canvases is None or (not machine.is_known and "sample" not in _phases_known(records, machine.key)):
        return None
    terms = phase_terms.summed(phase_terms.sampling(machine, each, compiled=False) for each in canvases)
    return len(resolved.variants) * _corrected({"sample": terms}, records, machine.key)["sample"]


def film_seconds(resolved: ResolvedRequest, machine: Machine, canvases: Iterable[CanvasRuns]) -> dict[str, float]:
    """Seconds of one film by phase, as the device's rates promise them, with the loading of everything."""
    found = phase_terms.of_film(resolved, machine, canvases)
    return {phase: sum(terms.values()) for phase, terms in found.items()}


def record(
    resolved: ResolvedRequest,
    machine: Machine,
    clock: PhaseClock,
    *,
    load: float | None,
    busy: bool,
    writes: bool = True,
    texts: float | None = None,
) -> None:
    """Keep what a film took, for later forecasts. load: seconds until the model was there, None where torch was there
    before. busy: whether other programs kept the CPU busy. writes: whether the film went to a file. texts: that had to
    be encoded, None for all."""
    canvases = canvases_of(resolved, texts)
    if canvases is None:
        return
    promised = _promised(resolved, machine, canvases)
    took = dict(clock.seconds)
    if phase_terms.is_compiled(resolved, machine, canvases):
        steps, took["sample"] = clock.later_steps
        promised["sample"] = {name: each * steps / max(1, clock.steps) for name, each in promised["sample"].items()}
    if load is None:
        del took["load"]
    else:
        took["load"] += load
    if not writes:
        del took["write"]
    if not clock.whole:
        took = {name: took[name] for name in took.keys() & {"load"}}
    runs = {name: Run(seconds, promised[name], busy) for name, seconds in took.items() if name in promised}
    own_runs.add(machine.key, runs)


def _promised(
    resolved: ResolvedRequest, machine: Machine, canvases: Sequence[CanvasRuns]
) -> dict[str, dict[str, float]]:
    """Seconds by the rates of the phases that the engine's events tell apart, by "phase term". Blending is none of
    them: it comes after decoding, and that of the last window while it is written."""
    found = phase_terms.of_film(resolved, machine, canvases)
    promised = {phase: _named(phase, terms) for phase, terms in found.items()}
    blended = sum(promised.pop("blend").values())
    last = phase_terms.blending(resolved, canvases[-1]) if canvases else 0.0
    promised["decode"] |= _named("blend", {"pixels": blended - last})
    promised["write"] |= _named("blend", {"pixels": last})
    return promised


def _named(phase: str, terms: Mapping[str, float]) -> dict[str, float]:
    return {f"{phase} {name}": seconds for name, seconds in terms.items() if seconds > 0}


def _corrected(by_rates: PhaseTerms, records: own_runs.Records, key: RunKey) -> dict[str, float]:
    """Seconds by phase, as this machine's own runs let expect them."""
    promised = {phase: _named(phase, terms) for phase, terms in by_rates.items()}
    seen = calibration.observations(own_runs.of(records, key), own_runs.of_family(records, key))
    factors = calibration.factors(seen, (name for terms in promised.values() for name in terms))
    factors |= {name: 1.0 for name in factors if name.startswith("compile ")}  # models.compile_cost measures that
    return {phase: sum(factors[name] * each for name, each in terms.items()) for phase, terms in promised.items()}


def canvases_of(resolved: ResolvedRequest, texts: float | None = None) -> tuple[CanvasRuns, ...] | None:
    """What runs for one film of a request; None for a model whose family does not count its work. texts: that are
    encoded for it, None for all."""
    try:
        return passes.of_film(resolved, texts)
    except ModelError:  # files that are damaged, which loading says better
        return None


def texts_to_encode(
    resolved: ResolvedRequest, variants: Sequence[Variant], device: torch.device, dtype: torch.dtype
) -> float | None:
    """How many texts are still to be encoded for these variants, by the film; None where that is not known."""
    texts = {text for each in variants for text in passes.texts_of(resolved, each)}
    try:
        return len(models.texts_to_encode(resolved.spec, texts, device, dtype)) / len(variants)
    except ModelError:
        return None


def _phases_known(records: own_runs.Records, key: RunKey) -> set[str]:
    """Of which runs are kept, of this model or of others of the family."""
    several = own_runs.of(records, key), *own_runs.of_family(records, key)
    return {name for phases in several for name in phases}


def _basis(by_rates: PhaseTerms, records: own_runs.Records, key: RunKey) -> str:
    """What the most of the time rests on."""
    measured = (name for name in by_rates if name not in (*ONCE, "blend"))  # blending is measured with decoding
    longest = max(measured, key=lambda name: sum(by_rates[name].values()))
    runs = own_runs.of(records, key).get(longest, ())
    if not runs:
        return "measured on other models" if longest in _phases_known(records, key) else "rates"
    return "measured while busy" if all(run.busy for run in runs) else "measured"
