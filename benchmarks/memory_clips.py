"""Whole clips of every Wan model under every memory plan: the most bytes alive on a pretended card, by phase, against
what ``sora.memory`` estimates."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
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
from sora.models.wan import layout
from sora.models.wan import model as wan_model
from sora.models.wan.components import EXPERTS, Components
from sora.models.wan.conditioning import Conditioning
from sora.models.wan.needs import memory_needs
from sora.networks.umt5 import UMT5Config
from sora.runtime.speed import DEFAULT_SPEED, Speed

GB = 2**30
CHUNKS = 2
"""Of the autoencoder after the first: from then on all its caches are full."""


@dataclass(frozen=True)
class Case:
    """A clip. shape_FYX: None for the row's own. known: of which pixels are known. words: of the longer text."""

    spec: ModelSpec
    plan: str
    shape_FYX: tuple[int, int, int] | None = None
    dtype: torch.dtype = torch.bfloat16
    speed: Speed = DEFAULT_SPEED
    known: bool = True
    references: int = 0
    windows: int = 1
    words: int = 512
    resident_blocks: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.shape_FYX or (self.spec.defaults.frames, *self.spec.film_size())


class MeasuredWan(wan_model.Wan):
    """Without prompts and pictures, of which only the numbers of words and of pixels count."""

    words = 512

    def _encode_texts(self, texts: list[str]) -> Tensor:
        rows = self.components.text_encoder(torch.zeros(len(texts), self.words, dtype=torch.long, device=CARD))
        return torch.nn.functional.pad(rows, (0, 0, 0, 512 - self.words))

    def _encode_images(self, canvas: Canvas) -> Tensor | None:  # noqa: ARG002
        if not self.components.has("image_encoder"):
            return None
        ends = 2 if self.components.uses_last_image else 1
        pixels = torch.zeros(1, 3, 224, 224, device=CARD, dtype=self.components.dtype)
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
    """As ``CONDITIONERS`` make it, where the first frame is known."""
    clean = latents.clean_BCTHW
    if spec.conditioning == "channels":
        return Conditioning(concat_latents=torch.cat([torch.zeros_like(clean[:, :4]), clean], dim=1))
    if spec.conditioning == "control":
        mask = torch.zeros_like(clean[:, :1]).repeat(1, 64, 1, 1, 1)
        return Conditioning(control_latents=torch.cat([clean, torch.zeros_like(clean), mask], dim=1))
    if spec.conditioning == "tokens":
        return Conditioning(known_latents=latents, patch=spec.grid.patch)
    return Conditioning(known_latents=latents)


def runs_of(case: Case) -> tuple[tuple[int, int, int], ...]:
    """Of the tokens where the first frame is known: they have a timestep of their own."""
    _, t, h, w = case.spec.grid.latent_shape(*case.shape)
    of_a_frame = h * w // case.spec.grid.patch**2
    return (0, of_a_frame, 1), (of_a_frame, t * of_a_frame, 0)


def build(case: Case) -> MeasuredWan:
    names = [name for name in ("vae", "text_encoder", "image_encoder", *EXPERTS) if _has(case.spec, name)]
    paths: Any = dict.fromkeys(names)
    speed = Speed(case.speed.mode, case.speed.disabled | {"load-ahead"})
    parts = Components(case.spec, paths, CARD, case.dtype, speed)
    parts.compiling.expect(0.0)
    nothing: Any = None
    manager = MemoryManager(parts, outside(needs_of)(case))  # without free memory one latent is decoded at a time
    found = MeasuredWan(case.spec, parts, manager, nothing, nothing, speed)
    object.__setattr__(found, "words", case.words)
    return found


def _has(spec: ModelSpec, name: str) -> bool:
    return any(file.startswith(f"{name}/") for file in spec.files)


def plan_of(case: Case, needs: memory.Needs) -> MemoryPlan:
    """As chosen where nothing is free: no block stays. Where blocks are streamed, so is the text encoder."""
    plan, _ = memory.choose_plan(needs, 0, case.plan)
    if plan.resident_blocks is None:
        by_name = {each.name: each for each in memory.PLANS_BY_SPEED}
        return replace(plan, text_encoder=by_name[case.plan].text_encoder)
    return plan if case.resident_blocks is None else replace(plan, resident_blocks=case.resident_blocks)


def needs_of(case: Case) -> memory.Needs:
    names = [name for name in ("vae", "text_encoder", "image_encoder", *EXPERTS) if _has(case.spec, name)]
    from sora.models.wan.components import usual_vae_dtype

    return memory_needs(
        case.spec, None, case.shape, CARD, case.dtype, encodes=case.known, references=case.references,
        vae_dtype=usual_vae_dtype(CARD, case.dtype, case.speed), speed=case.speed, windows=case.windows,
    )  # fmt: skip


def measure(case: Case) -> tuple[MemoryPlan, dict[str, int], memory.Estimate]:
    """Bytes by phase, and the estimate."""
    with pretended_card() as card:
        needs = outside(needs_of)(case)
        plan = plan_of(case, needs)
        peaks = dict(run(case, plan, card))
    return plan, peaks, memory.estimate(needs, plan)


def run(case: Case, plan: MemoryPlan, card: CardMemory) -> Iterator[tuple[str, int]]:
    """The phases of a later window of a clip, whose networks are loaded where the plan keeps them."""
    wan = build(case)
    parts, grid = wan.components, case.spec.grid
    parts.apply_plan(plan)
    frames, height, width = case.shape
    if plan.text_encoder == "resident":
        load_together(parts, "text_encoder")
    canvas = Canvas.blank(frames, height, width, 16)
    c, t, h, w = grid.latent_shape(*case.shape)
    lead = case.references
    clean = torch.zeros(1, c, lead + t, h, w, device=CARD)
    latents = Latents(clean, torch.ones_like(clean[:, :1]), lead)
    del clean
    guidance = case.spec.defaults.guidance
    card.restart()
    with (
        mock.patch.dict(wan_model.CONDITIONERS, {case.spec.conditioning: lambda i: conditioning_of(case.spec, i.latents)}),
        mock.patch.object(wan_model.schedule, "network_timestep", lambda t, _: t),
        mock.patch.object(wan_model.Canvas, "shape", case.shape),
        mock.patch.object(MeasuredWan, "_pictures", lambda *_: (None,) * lead),
    ):
        velocity = wan.bind_batch(canvas, latents, ["a prompt"] * case.windows, "", guidance)
    yield "text", card.peak
    unload_excluded(parts, EXPERTS[0])
    card.restart()
    load_together(parts, EXPERTS[0])
    noise = torch.zeros(case.windows, c, lead + t, h, w).to(CARD)
    boundary = case.spec.boundary or 0.5
    times = [1.0, boundary + 0.02, boundary - 0.02, 0.0]
    step = sampler.seeded(case.spec.defaults.sampler, *range(case.windows))(times)
    x, history = sampler.add_noise(latents.clean_BCTHW, noise, 1.0), ()
    with (
        mock.patch.object(wan_model.schedule, "network_timestep", lambda t, _: t),
        mock.patch.object(Conditioning, "_runs", runs_of(case)),
        mock.patch.object(Conditioning, "_known_N", torch.zeros(1, device=CARD)),
    ):
        for i in range(len(times) - 1):
            x, history = step(lambda x, t: velocity(x, Time(t)).to(x.dtype), x, i, history)
    yield "sample", card.peak
    finished = x[:1, :, lead:]
    del x, history, velocity, latents, noise
    load_together(parts, "vae")
    card.restart()
    if case.known:
        wan._encode_pixels(torch.zeros(1, 3, min(frames, 1 + CHUNKS * grid.time), height, width))
        yield "encode", card.peak
    card.restart()
    for chunk in islice(wan.decode(finished), 1 + CHUNKS):
        del chunk
    yield "decode", card.peak


def main() -> None:
    extra = {name: eval(value) for name, value in (arg.split("=") for arg in sys.argv if "=" in arg)}
    sys.argv = [arg for arg in sys.argv if "=" not in arg]
    few_layers = "--few" in sys.argv
    if few_layers:
        sys.argv.remove("--few")
        shorten()
    names = sys.argv[1].split(",") if len(sys.argv) > 1 else list(MODELS)
    plans = sys.argv[2].split(",") if len(sys.argv) > 2 else list(memory.PLAN_NAMES)
    for name in names:
        for plan in plans:
            spec = MODELS[name]
            if few_layers:
                spec = replace(spec, sizes=few(spec.sizes))
            show(Case(spec, plan, **extra))


def unload_excluded(parts: Components, name: str) -> None:
    """What happens first where a network is loaded: what was there does not count as the next phase's."""
    for other in [other for other in parts._loaded if parts._excludes(name, other)]:
        del parts._loaded[other]


def load_together(parts: Components, name: str) -> None:
    """Load a network and all that the plan keeps in memory with it, as they are in every window but the first."""
    parts._get(name)
    for other in parts.component_paths:
        if not any(parts._excludes(other, one) for one in parts._loaded if one != other):
            parts._get(other)


LAYERS = 4


def few(sizes: Any) -> dict[str, Any]:
    sizes = dict(sizes) | {"num_layers": LAYERS}
    if "vace_layers" in sizes:
        sizes["vace_layers"] = tuple(layer for layer in sizes["vace_layers"] if layer < LAYERS)
    return sizes


def shorten() -> None:
    layout.UMT5Config = lambda: UMT5Config(num_layers=LAYERS)  # type: ignore[assignment]


def show(case: Case) -> None:
    plan, peaks, found = measure(case)
    cells = []
    for phase in memory.PHASES:
        if phase in peaks:
            estimated = found.phase(phase).total
            cells.append(f"{phase} {peaks[phase] / GB:6.2f} {estimated / GB:6.2f} {100 * (estimated / peaks[phase] - 1):+6.1f}%")
    print(f"{case.spec.name:24} {plan.name:15}", " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
