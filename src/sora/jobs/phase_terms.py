"""The seconds of a film by phase, as a device's rates promise them, in terms that scale differently with what is
painted. ``jobs.calibration`` corrects each term by this machine's own runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

from sora.jobs.forecast_machine import Machine
from sora.jobs.passes import CanvasRuns
from sora.jobs.resolve import ResolvedRequest
from sora.models import compile_cost
from sora.models.parallel_work import decoding_share
from sora.models.work import CanvasWork

MILLION = 1e6
PHASES = ("load", "compile", "encode", "sample", "decode", "blend", "write")
PASS_BYTES, COMPILED_PASS_BYTES = 320, 72  # moved for each element of a pass
STREAMED_FLOAT8 = 1.13  # bytes of a parameter of a block that is streamed in float8: 1.10 of the 1.3B, 1.15 of the 14B
OUTPUT_BYTES = (78, 140)  # moved for each output of an autoencoder's convolutions, in half precision and in float32
TEXT_SHARE = 0.43  # of the rate of products, that a text encoder keeps
TILED = 1.6  # times the work of an autoencoder, in tiles that overlap
DISK = 1.0  # 10^9 bytes a second from a disk to the page cache
CLOSING = 0.25  # seconds to close a file and verify it
WRITTEN, FITTED, CANVAS, BLENDED, MATCHED, INTERPOLATED = 0.05, 0.04, 0.02, 0.08, 0.2, 0.25
"""Seconds of a CPU for a million pixels, whatever paints: encoded into a file; fitted to the film's size from another;
the same of a canvas before it is painted; blended with known frames; matched to an earlier window's; made between
painted frames. Measured on two cores with the embedded model."""
REGION = 0.03  # seconds of a CPU to blend a frame with known pixels around a region; at most 256 pixels are blurred
CODEC_OVERHEAD = 0.01  # seconds to begin encoding or decoding a canvas

PhaseTerms = Mapping[str, Mapping[str, float]]
"""Seconds by phase and term."""


def of_film(resolved: ResolvedRequest, machine: Machine, canvases: Iterable[CanvasRuns]) -> PhaseTerms:
    """Of one film, with the loading of everything, blending apart from the phases in which it happens."""
    listed = tuple(canvases)
    compiled = is_compiled(resolved, machine, listed)
    return {
        "load": _loading(resolved, machine, listed),
        "compile": {"compiler": compile_cost.cost_of() if compiled else 0.0},
        "encode": summed(_encoding(resolved, machine, each) for each in listed),
        "sample": summed(sampling(machine, each, compiled=compiled) for each in listed),
        "decode": summed(_decoding(resolved, machine, each) for each in listed),
        "blend": {"pixels": sum(blending(resolved, each) for each in listed)},
        "write": {"fixed": CLOSING, **_writing(resolved)},
    }


def summed(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Term by term."""
    found: dict[str, float] = {}
    for terms in several:
        for name, seconds in terms.items():
            found[name] = found.get(name, 0.0) + seconds
    return found


def sampling(machine: Machine, canvas: CanvasRuns, *, compiled: bool) -> dict[str, float]:
    """Of all passes of a canvas."""
    if machine.division is None:
        terms = {name: canvas.passes * each for name, each in _pass(machine, canvas.work, compiled=compiled).items()}
    else:
        pass_of = partial(_pass, machine, compiled=compiled)
        steps, link = {"steps": canvas.calls, "guided": canvas.passes - canvas.calls}, machine.rates.transfer
        terms = machine.division.sampling(pass_of, canvas.work, **steps, itemsize=machine.itemsize, rate=link)
    return summed((terms, {"calls": canvas.calls * machine.rates.overhead}))


def _pass(machine: Machine, work: CanvasWork, *, compiled: bool) -> dict[str, float]:
    """Of one pass over one sample: those of its work, of its calls, or of streaming its blocks, whichever is most."""
    r, full = machine.rates, 0 if machine.half else 1
    product_rate = r.float8 if machine.float8 and compiled else r.matrix[full]
    moved = work.elements * (COMPILED_PASS_BYTES if compiled else PASS_BYTES) * machine.itemsize / 2
    terms = {
        "products": work.linear / product_rate + moved / 1e3 / r.memory,
        "attention": work.attention / r.attention[full] + work.text_attention / r.text_attention[full],
    }
    alone = {"calls": r.call}, {"transfer": _streaming(machine, work)}
    return max((terms, *alone), key=lambda each: sum(each.values()))


def _streaming(machine: Machine, work: CanvasWork) -> float:
    plan = machine.plan
    if plan is None or plan.resident_blocks is None:
        return 0.0
    offloaded = work.in_blocks * max(0.0, 1 - plan.resident_blocks / work.blocks)
    return offloaded * (STREAMED_FLOAT8 if machine.float8 else machine.itemsize) / machine.rates.transfer


def is_compiled(resolved: ResolvedRequest, machine: Machine, canvases: Iterable[CanvasRuns]) -> bool:
    """Whether blocks are compiled, as is done where the passes of all films gain more by it than it costs."""
    if machine.compiled is not None:
        return machine.compiled
    plain = sum(sum(sampling(machine, each, compiled=False).values()) for each in canvases)
    return machine.may_compile and compile_cost.pays(len(resolved.variants) * plain, compile_cost.cost_of())


def _encoding(resolved: ResolvedRequest, machine: Machine, canvas: CanvasRuns) -> dict[str, float]:
    r, work, full = machine.rates, canvas.work, 0 if machine.half else 1
    return {
        "fixed": CODEC_OVERHEAD,
        "text": (canvas.texts * work.text + work.image) / (TEXT_SHARE * r.matrix[full]),
        "convolutions": _convolving(machine, canvas.encode.operations, canvas.encode.outputs),
        "pixels": CANVAS * _fitted_pixels(resolved, canvas),
    }


def _decoding(resolved: ResolvedRequest, machine: Machine, canvas: CanvasRuns) -> dict[str, float]:
    chunks, devices = 1 + (canvas.frames - 1) // resolved.spec.grid.time, machine.division and machine.division.devices
    convolutions = _convolving(machine, canvas.decode.operations, canvas.decode.outputs)
    return {
        "fixed": CODEC_OVERHEAD,
        "convolutions": decoding_share(chunks, devices or 1) * convolutions,
        "pixels": FITTED * _fitted_pixels(resolved, canvas),
    }


def _convolving(machine: Machine, operations: float, outputs: float) -> float:
    r, full = machine.rates, 0 if machine.half_vae else 1
    tiled = TILED if machine.plan is not None and machine.plan.tile is not None else 1.0
    return tiled * (operations / r.convolution[full] + outputs * OUTPUT_BYTES[full] / 1e3 / r.memory)


def _loading(resolved: ResolvedRequest, machine: Machine, canvases: tuple[CanvasRuns, ...]) -> dict[str, float]:
    """Of torch, and of every network as often as the memory plan lets it come; of no text encoder where it has nothing
    to do."""
    r, plan, windows = machine.rates, machine.plan, max(1, len(canvases))
    sizes = dict(canvases[0].work.parameters) if canvases else {}
    if not sum(canvas.texts for canvas in canvases):
        sizes.pop("text_encoder", None)
    if plan is not None and resolved.spec.boundary is not None:
        sizes["transformer"] *= 2 * (windows if plan.single_expert else 1)
    if plan is not None and plan.separate_vae:
        sizes = {name: size * (windows if name in ("transformer", "vae") else 1) for name, size in sizes.items()}
        sizes["vae"] = sizes.get("vae", 0) * (2 if any(canvas.encode.operations for canvas in canvases) else 1)
    vae_bytes = 2 if machine.half_vae else 4
    moved = sum(size * (vae_bytes if name == "vae" else machine.itemsize) for name, size in sizes.items())
    return {"fixed": r.start, "weights": moved / r.loading, "disk": machine.on_disk * moved / DISK}


def blending(resolved: ResolvedRequest, canvas: CanvasRuns) -> float:
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


def _writing(resolved: ResolvedRequest) -> dict[str, float]:
    plan, pixels = resolved.plan, math.prod(resolved.size) / MILLION
    made = 0 if plan.retiming is None else sum(len(stretch.film) for stretch in plan.retiming.stretches)
    return {"pixels": WRITTEN * pixels * plan.film_frames, "interpolation": INTERPOLATED * pixels * made}
