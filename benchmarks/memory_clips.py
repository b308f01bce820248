"""Whole clips of every Wan model under every memory plan, on a pretended card: the most bytes that are alive in each
phase, against what ``sora.memory`` estimates. ``python benchmarks/memory_clips.py [--few] [ROW,ROW ...]``

Every row of the catalog, or those that are named, at its own size: under every plan with pixels known, and then what
else changes memory. ``--few`` gives the transformer and the text encoder four layers, so that weights hide less of the
work, and a case takes seconds. Each phase is that of a later window, when all that the plan keeps has been loaded; the
autoencoder goes through three chunks, and the sampler takes three steps, on either side of two experts' boundary.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from pretended_card import CARD, CardMemory, outside, pretended_card
from sora import memory
from sora.catalog.spec import ModelSpec
from sora.catalog.wan_rows import MODELS
from sora.engine import sampler
from sora.engine.canvas import Canvas, Latents
from sora.memory import MemoryPlan
from sora.memory.manager import MemoryManager
from sora.models.wan import layout, schedule
from sora.models.wan import model as wan_model
from sora.models.wan.components import Components, usual_vae_dtype
from sora.models.wan.conditioning import CONDITIONERS, Conditioning
from sora.models.wan.layout import EXPERTS
from sora.models.wan.needs import memory_needs
from sora.networks.umt5 import UMT5Config
from sora.runtime.speed import DEFAULT_SPEED, Speed

GB = 2**30
LAYERS = 4  # under --few
CHUNKS = 2
"""Of the autoencoder after the first: from then on all its caches are full."""

WORDS = 512


@dataclass(frozen=True)
class Case:
    """A clip. shape_FYX: None for the row's own. references: pictures. windows: that are sampled at once. words: of the
    texts. resident_blocks: where blocks are streamed."""

    spec: ModelSpec
    plan: str
    shape_FYX: tuple[int, int, int] | None = None
    dtype: torch.dtype = torch.bfloat16
    speed: Speed = DEFAULT_SPEED
    references: int = 0
    windows: int = 1
    words: int = WORDS
    resident_blocks: int = 0
    note: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.shape_FYX or (self.spec.defaults.frames, *self.spec.film_size())

    @property
    def name(self) -> str:
        return f"{self.spec.name} {self.plan}{f', {self.note}' if self.note else ''}"


class MeasuredWan(wan_model.Wan):
    """Without prompts and pictures, of which only the numbers of words and of pixels count."""

    def _encode_texts(self, texts: list[str]) -> Tensor:
        words = len(texts[0])
        rows = self.components.text_encoder(torch.zeros(len(texts), words, dtype=torch.long, device=CARD))
        return torch.nn.functional.pad(rows, (0, 0, 0, WORDS - words))

    def _encode_images(self, canvas: Canvas) -> Tensor | None:  # noqa: ARG002
        if not self.components.has("image_encoder"):
            return None
        pixels = torch.zeros(1, 3, 224, 224, device=CARD, dtype=self.components.dtype)
        ends = 2 if self.components.uses_last_image else 1
        return torch.cat([self.components.image_encoder(pixels) for _ in range(ends)], dim=1)


class Time:
    """A time that is no tensor."""

    def __init__(self, t: float) -> None:
        self.t = t

    def __float__(self) -> float:
        return self.t

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.t

    def item(self) -> float:
        return 1000 * self.t


def conditioning_of(spec: ModelSpec, latents: Latents) -> Conditioning:
    """As ``CONDITIONERS`` make it, of latents alone."""
    clean = latents.clean_BCTHW
    if spec.conditioning == "channels":
        return Conditioning(concat_latents=torch.cat([torch.zeros_like(clean[:, :4]), clean], dim=1))
    if spec.conditioning == "control":
        mask = torch.zeros_like(clean[:, :1]).repeat(1, 64, 1, 1, 1)
        return Conditioning(control_latents=torch.cat([clean, torch.zeros_like(clean), mask], dim=1))
    return Conditioning(known_latents=latents, patch=spec.grid.patch if spec.conditioning == "tokens" else None)


def runs_of(case: Case) -> tuple[tuple[int, int, int], ...]:
    """Of the tokens where the first frame is known, which have a timestep of their own."""
    _, t, h, w = case.spec.grid.latent_shape(*case.shape)
    of_a_frame = h * w // case.spec.grid.patch**2
    return (0, of_a_frame, 1), (of_a_frame, t * of_a_frame, 0)


def components_of(case: Case, plan: MemoryPlan) -> Components:
    folders = {file.split("/")[0] for file in case.spec.files}
    names = [name for name in ("vae", "text_encoder", "image_encoder", *EXPERTS) if name in folders]
    paths: Any = dict.fromkeys(names)
    speed = Speed(case.speed.mode, case.speed.disabled | {"load-ahead"})
    parts = Components(case.spec, paths, CARD, case.dtype, speed)
    parts.compiling.expect(0.0)
    parts.apply_plan(plan)
    return parts


def needs_of(case: Case) -> memory.Needs:
    how = {"references": case.references, "speed": case.speed, "windows": case.windows}
    vae_dtype = usual_vae_dtype(CARD, case.dtype, case.speed)
    return memory_needs(case.spec, None, case.shape, CARD, case.dtype, encodes=True, vae_dtype=vae_dtype, **how)


def plan_of(case: Case, needs: memory.Needs) -> MemoryPlan:
    """Where blocks are streamed, so is the text encoder."""
    plan, _ = memory.choose_plan(needs, 0, case.plan)
    if plan.resident_blocks is not None:
        return replace(plan, resident_blocks=case.resident_blocks)
    by_name = {each.name: each for each in memory.PLANS_BY_SPEED}
    return replace(plan, text_encoder=by_name[case.plan].text_encoder)


def unload_excluded(parts: Components, name: str) -> None:
    """What happens first where a network is loaded: what was there does not count as the next phase's."""
    for other in [other for other in parts._loaded if parts._excludes(name, other)]:
        del parts._loaded[other]


def load_together(parts: Components, name: str) -> None:
    """Load a network and all that the plan keeps in memory with it."""
    parts._get(name)
    for other in parts.component_paths:
        if not any(parts._excludes(other, one) for one in parts._loaded if one != other):
            parts._get(other)


@contextmanager
def replaced_inputs(case: Case) -> Iterator[None]:
    """What is made of a canvas, whose pixels have no values here."""
    of_latents = {case.spec.conditioning: lambda inputs: conditioning_of(case.spec, inputs.latents)}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(CONDITIONERS, of_latents))
        for owner, name, new in (
            (schedule, "network_timestep", lambda t, _: t),
            (Canvas, "shape", case.shape),
            (MeasuredWan, "_pictures", lambda *_: (None,) * case.references),
            (Conditioning, "_runs", runs_of(case)),
            (Conditioning, "_known_N", torch.zeros(1, device=CARD)),
        ):
            stack.enter_context(mock.patch.object(owner, name, new))
        yield


def sampled(wan: MeasuredWan, case: Case, card: CardMemory) -> Iterator[Any]:
    """The bytes of the phases "text" and "sample", then the latents."""
    c, t, h, w = case.spec.grid.latent_shape(*case.shape)
    shape = c, case.references + t, h, w
    clean = torch.zeros(1, *shape, device=CARD)
    latents = Latents(clean, torch.ones_like(clean[:, :1]), case.references)
    del clean
    card.restart()
    prompts = [" " * case.words] * case.windows
    guidance = case.spec.defaults.guidance
    velocity: Any = wan.bind_batch(Canvas.blank(1, 8, 8, 16), latents, prompts, " " * case.words, guidance)
    yield "text", card.peak
    unload_excluded(wan.components, EXPERTS[0])
    card.restart()
    load_together(wan.components, EXPERTS[0])
    boundary = case.spec.boundary or 0.5
    times = [1.0, boundary + 0.02, boundary - 0.02, 0.0]
    step = sampler.seeded(case.spec.defaults.sampler, *range(case.windows))(times)
    x, history = sampler.add_noise(latents.clean_BCTHW, torch.zeros(case.windows, *shape).to(CARD), 1.0), ()
    for i in range(len(times) - 1):
        x, history = step(lambda x, t: velocity(x, Time(t)).to(x.dtype), x, i, history)
    yield "sample", card.peak
    yield x[:1, :, case.references :]


def phases(case: Case, plan: MemoryPlan, card: CardMemory) -> Iterator[tuple[str, int]]:
    """The most bytes of each phase."""
    nothing: Any = None
    parts = components_of(case, plan)
    manager = MemoryManager(parts, outside(needs_of)(case))  # without free memory one latent is decoded at a time
    wan = MeasuredWan(case.spec, parts, manager, nothing, nothing, parts.speed)
    if plan.text_encoder == "resident":
        load_together(parts, "text_encoder")
    with replaced_inputs(case):
        found = list(sampled(wan, case, card))
    latents = found.pop()
    yield from found
    frames, height, width = case.shape
    load_together(parts, "vae")
    card.restart()
    wan._encode_pixels(torch.zeros(1, 3, min(frames, 1 + CHUNKS * case.spec.grid.time), height, width))
    yield "encode", card.peak
    card.restart()
    for chunk in islice(wan.decode(latents), 1 + CHUNKS):
        del chunk
    yield "decode", card.peak


Row = dict[str, tuple[int, int]]
"""(bytes, estimated bytes) by phase."""

_measured: dict[tuple[str, MemoryPlan], Row] = {}
"""By case and plan, both without the plan's name: several plans do the same where nothing makes a difference."""


def measure(case: Case) -> Row:
    with pretended_card() as card:
        needs = outside(needs_of)(case)
        plan = plan_of(case, needs)
        key = repr(replace(case, plan="")), replace(plan, name="")
        if key not in _measured:
            found = memory.estimate(needs, plan)
            _measured[key] = {name: (peak, found.phase(name).total) for name, peak in phases(case, plan, card)}
        return _measured[key]


def with_few_layers(spec: ModelSpec) -> ModelSpec:
    sizes: dict[str, Any] = dict(spec.sizes) | {"num_layers": LAYERS}
    if "vace_layers" in sizes:
        sizes["vace_layers"] = tuple(layer for layer in sizes["vace_layers"] if layer < LAYERS)
    return replace(spec, sizes=sizes)


def cases(spec: ModelSpec) -> Iterator[Case]:
    """Every plan, and what else changes memory."""
    for plan in memory.PLAN_NAMES:
        yield Case(spec, plan)
    fast, small = Speed("fast"), (5, 256, 256)
    yield Case(spec, "text-dropped", speed=fast, note="fast")
    yield Case(spec, "streamed", speed=fast, resident_blocks=1, note="fast, a block stays")
    yield Case(spec, "decode-alone", dtype=torch.float32, note="float32")
    yield Case(spec, "streamed-tiled", dtype=torch.float32, note="float32")
    yield Case(spec, "resident", shape_FYX=small, note="small, guidance in a batch")
    yield Case(spec, "decode-alone", shape_FYX=(1, *small[1:]), note="a still")
    yield Case(spec, "decode-alone", words=40, note="40 words")
    if spec.takes_references:
        yield Case(spec, "decode-alone", references=2, note="2 references")
    elif spec.conditioning != "tokens":
        yield Case(spec, "decode-alone", shape_FYX=small, windows=4, note="small, 4 windows at once")


def main() -> None:
    few = "--few" in sys.argv
    names = [name for argument in sys.argv[1:] if argument != "--few" for name in argument.split(",")] or list(MODELS)
    worst: dict[str, list[float]] = {}
    if few:
        layout.UMT5Config = lambda: UMT5Config(num_layers=LAYERS)  # type: ignore[assignment, misc]
    print(f"{'GiB measured, estimated':52}", *(f"{phase:^21}" for phase in memory.PHASES))
    for name in names:
        for case in cases(with_few_layers(MODELS[name]) if few else MODELS[name]):
            row = measure(case)
            off = {phase: 100 * (estimated / peak - 1) for phase, (peak, estimated) in row.items()}
            worst.setdefault(f"{case.plan}{f', {case.note}' if case.note else ''}", []).extend(off.values())
            cells = (f"{row[p][0] / GB:6.2f} {row[p][1] / GB:6.2f} {off[p]:+6.1f}%" for p in memory.PHASES)
            print(f"{case.name:52}", *cells, flush=True)
    for name, values in worst.items():
        print(f"{name:52} {min(values):+6.1f}% to {max(values):+6.1f}%")


if __name__ == "__main__":
    main()
