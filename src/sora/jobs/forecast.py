"""How long painting will take: the work of a request by the rates of a device, corrected by this machine's own runs.

Nothing is loaded. A phase is what ``sora --json`` reports, but that networks are loaded where they are first used, the
first compiled pass is apart, and so is blending, which comes after decoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sora import memory
from sora.errors import ModelError
from sora.jobs import own_runs, passes
from sora.jobs.own_runs import Measured, RunKey
from sora.jobs.passes import CanvasRuns
from sora.jobs.phase_clock import PhaseClock
from sora.jobs.resolve import ResolvedRequest
from sora.memory.plans import MemoryPlan
from sora.models import compile_cost
from sora.runtime import threads
from sora.runtime.rates import DeviceRates

if TYPE_CHECKING:
    import torch

MILLION = 1e6
PHASES = ("load", "compile", "encode", "sample", "decode", "blend", "write")
ONCE = ("load", "compile")  # for all files together
PASS_BYTES, COMPILED_PASS_BYTES = 320, 72  # moved for each element of a pass
OUTPUT_BYTES = (78, 140)  # moved for each output of an autoencoder's convolutions, in half precision and in float32
TEXT_SHARE = 0.43  # of the rate of products, that a text encoder keeps
TILED = 1.6  # times the work of an autoencoder, in tiles that overlap
CLOSING = 0.12  # seconds to close a file and verify it
WRITTEN, FITTED, CANVAS, BLENDED, MATCHED, INTERPOLATED = 0.03, 0.03, 0.02, 0.12, 0.2, 0.25
"""Seconds of a CPU for a million pixels, whatever paints: encoded into a file; fitted to the film's size from another;
the same of a canvas before it is painted; blended with known frames; matched to an earlier window's; made between
painted frames. Measured on two cores with the embedded model."""
REGION = 0.03  # seconds of a CPU to blend a frame with known pixels around a region; at most 256 pixels are blurred
MIN_LEFT = 0.1  # of a phase that holds blending, for the phase itself
MIN_SECONDS = 0.05  # of a phase by the rates, below which it says nothing
CODEC_OVERHEAD = 0.03  # seconds to begin encoding or decoding a canvas


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


def of(resolved: ResolvedRequest, plan: MemoryPlan | None, *, busy_cores: float = 0.0) -> Forecast | None:
    """Seconds that a command will take here under a memory plan, with the loading; none on a device of unknown rates
    before a film was painted there. None for a model whose family does not count its work. plan: None for a model that
    is always in memory whole. busy_cores: that other programs use. Raises UsageError for a device that is not here."""
    import torch

    device = memory.choose_device(resolved.request.device)
    dtype = memory.choose_dtype(resolved.request.dtype, device)
    count = threads.thread_count(resolved.request.threads, busy_cores, torch.get_num_threads())
    machine, canvases = machine_of(resolved, device, dtype, plan, thread_count=count), canvases_of(resolved)
    if canvases is None:
        return None
    known, files = own_runs.of(own_runs.read(), machine.key), len(resolved.variants)
    if not machine.is_known and "sample" not in known:
        return Forecast(basis="unknown", files=files)
    by_rates = film_seconds(resolved, machine, canvases)
    by_rates = {name: each * (1 if name in ONCE else files) for name, each in by_rates.items()}
    seconds = {name: each * known[name].ratio if name in known else each for name, each in by_rates.items()}
    return Forecast(seconds, _basis(by_rates, known), machine.rates.name, files)


def sampling_seconds(resolved: ResolvedRequest, device: torch.device, dtype: torch.dtype) -> float | None:
    """Seconds that all passes of a request's films take on a device, uncompiled and from weights that stay there; None
    where that is not known."""
    machine, canvases = machine_of(resolved, device, dtype, None), canvases_of(resolved)
    measured = own_runs.of(own_runs.read(), machine.key).get("sample")
    if canvases is None or (measured is None and not machine.is_known):
        return None
    ratio = 1.0 if measured is None else measured.ratio
    return ratio * len(resolved.variants) * sum(_sampling(machine, each, compiled=False) for each in canvases)


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


def film_seconds(resolved: ResolvedRequest, machine: Machine, canvases: Iterable[CanvasRuns]) -> dict[str, float]:
    """Seconds of one film by phase, as the device's rates promise them, with the loading of everything."""
    listed = tuple(canvases)
    compiled = is_compiled(resolved, machine, listed)
    return {
        "load": _loading(resolved, machine, listed),
        "compile": compile_cost.cost_of() if compiled else 0.0,
        "encode": sum(_encoding(machine, each) + CANVAS * _fitted_pixels(resolved, each) for each in listed),
        "sample": sum(_sampling(machine, each, compiled=compiled) for each in listed),
        "decode": sum(_decoding(machine, each) + FITTED * _fitted_pixels(resolved, each) for each in listed),
        "blend": sum(_blending(resolved, each) for each in listed),
        "write": CLOSING + _writing(resolved),
    }


def record(
    resolved: ResolvedRequest,
    machine: Machine,
    clock: PhaseClock,
    *,
    load: float | None,
    busy: bool,
    writes: bool = True,
) -> None:
    """Keep what a film took, for later forecasts. load: seconds until the model was there, None where torch was there
    before. busy: whether other programs kept the CPU busy. writes: whether the film went to a file."""
    canvases = canvases_of(resolved)
    if canvases is None:
        return
    promised, took = film_seconds(resolved, machine, canvases), dict(clock.seconds)
    # Blending is no phase of the engine's: it comes after decoding, and that of the last window while it is written.
    last = _blending(resolved, canvases[-1]) if canvases else 0.0
    took["decode"] = _without(took["decode"], promised["blend"] - last)
    took["write"] = _without(took["write"], last)
    if is_compiled(resolved, machine, canvases):
        steps, took["sample"] = clock.later_steps
        promised["sample"] *= steps / max(1, clock.steps)
    if load is None:
        del took["load"]
    else:
        took["load"] += load
    if not writes:
        del took["write"]
    if not clock.whole:
        took = {name: took[name] for name in took.keys() & {"load"}}
    ratios = {
        name: seconds / promised[name] for name, seconds in took.items() if promised.get(name, 0.0) >= MIN_SECONDS
    }
    own_runs.add(machine.key, ratios, busy=busy)


def _without(seconds: float, blending: float) -> float:
    """What is left of a phase without its blending, which is predicted and may have taken less."""
    return max(seconds - blending, seconds * MIN_LEFT)


def canvases_of(resolved: ResolvedRequest) -> tuple[CanvasRuns, ...] | None:
    """What runs for one film of a request; None for a model whose family does not count its work, and for several
    devices together, of which no rates are known."""
    if (resolved.request.gpus or 1) > 1:
        return None
    try:
        return passes.of_film(resolved)
    except ModelError:  # files that are damaged, which loading says better
        return None


def _basis(by_rates: dict[str, float], known: dict[str, Measured]) -> str:
    """What the most of the time rests on."""
    longest = max((name for name in by_rates if name not in ONCE), key=lambda name: by_rates[name])
    if longest not in known:
        return "rates"
    if known[longest].runs == 0:
        return "measured on other models"
    return "measured while busy" if known[longest].busy else "measured"


def _pass(machine: Machine, canvas: CanvasRuns, *, compiled: bool) -> float:
    """Seconds of one pass over one sample: those of its work, or of streaming its blocks, whichever is more."""
    r, work, full = machine.rates, canvas.work, 0 if machine.half else 1
    product_rate = r.float8 if machine.float8 and compiled else r.matrix[full]
    moved = work.elements * (COMPILED_PASS_BYTES if compiled else PASS_BYTES) * machine.itemsize / 2
    seconds = work.linear / product_rate + work.attention / r.attention[full]
    seconds += work.text_attention / r.text_attention[full] + moved / 1e3 / r.memory
    return max(seconds, r.call, _streaming(machine, canvas))


def _streaming(machine: Machine, canvas: CanvasRuns) -> float:
    plan, work = machine.plan, canvas.work
    if plan is None or plan.resident_blocks is None:
        return 0.0
    offloaded = work.in_blocks * max(0.0, 1 - plan.resident_blocks / work.blocks)
    return offloaded * machine.itemsize / machine.rates.transfer


def _sampling(machine: Machine, canvas: CanvasRuns, *, compiled: bool) -> float:
    return canvas.passes * _pass(machine, canvas, compiled=compiled)


def is_compiled(resolved: ResolvedRequest, machine: Machine, canvases: Iterable[CanvasRuns]) -> bool:
    """Whether blocks are compiled, as is done where the passes of all films gain more by it than it costs."""
    if machine.compiled is not None:
        return machine.compiled
    plain = len(resolved.variants) * sum(_sampling(machine, each, compiled=False) for each in canvases)
    return machine.may_compile and compile_cost.pays(plain, compile_cost.cost_of())


def _encoding(machine: Machine, canvas: CanvasRuns) -> float:
    r, work, full = machine.rates, canvas.work, 0 if machine.half else 1
    words = (canvas.texts * work.text + work.image) / (TEXT_SHARE * r.matrix[full])
    return CODEC_OVERHEAD + words + _convolving(machine, canvas.encode.operations, canvas.encode.outputs)


def _decoding(machine: Machine, canvas: CanvasRuns) -> float:
    return CODEC_OVERHEAD + _convolving(machine, canvas.decode.operations, canvas.decode.outputs)


def _convolving(machine: Machine, operations: float, outputs: float) -> float:
    r, full = machine.rates, 0 if machine.half_vae else 1
    tiled = TILED if machine.plan is not None and machine.plan.tile is not None else 1.0
    return tiled * (operations / r.convolution[full] + outputs * OUTPUT_BYTES[full] / 1e3 / r.memory)


def _loading(resolved: ResolvedRequest, machine: Machine, canvases: tuple[CanvasRuns, ...]) -> float:
    """Of torch, and of every network as often as the memory plan lets it come."""
    r, plan, windows = machine.rates, machine.plan, max(1, len(canvases))
    sizes = dict(canvases[0].work.parameters) if canvases else {}
    if plan is not None and resolved.spec.boundary is not None:
        sizes["transformer"] *= 2 * (windows if plan.single_expert else 1)
    if plan is not None and plan.separate_vae:
        sizes = {name: size * (windows if name in ("transformer", "vae") else 1) for name, size in sizes.items()}
        sizes["vae"] = sizes.get("vae", 0) * 2
    vae_bytes = 2 if machine.half_vae else 4
    moved = sum(size * (vae_bytes if name == "vae" else machine.itemsize) for name, size in sizes.items())
    return r.start + moved / r.loading


def _blending(resolved: ResolvedRequest, canvas: CanvasRuns) -> float:
    """Of a canvas's decoded frames, until they are those of the film."""
    pixels = canvas.frames * math.prod(resolved.size) / MILLION
    source = resolved.plan.source
    around = REGION * canvas.frames if source is not None and source.known_FYX is not None else 0.0
    return around + pixels * (BLENDED * canvas.blended + MATCHED * canvas.matched)


def _fitted_pixels(resolved: ResolvedRequest, canvas: CanvasRuns) -> float:
    """Millions, of a canvas that is painted at another size than the film's; 0 where there is none."""
    if resolved.request.refine or resolved.size == resolved.plan.format.model_size:
        return 0.0
    return canvas.frames * math.prod(resolved.size) / MILLION


def _writing(resolved: ResolvedRequest) -> float:
    plan, pixels = resolved.plan, math.prod(resolved.size) / MILLION
    made = 0 if plan.retiming is None else sum(len(stretch.film) for stretch in plan.retiming.stretches)
    return pixels * (WRITTEN * plan.film_frames + INTERPOLATED * made)
