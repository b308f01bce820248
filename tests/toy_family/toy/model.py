"""The toy's networks, how they are loaded and offloaded, and the model that the engine sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sora import weights
from sora.catalog.spec import ModelSpec
from sora.engine.canvas import Canvas, Latents
from sora.engine.sampler import timesteps_for_strength
from sora.engine.velocity import Velocity
from sora.memory import PLANS_BY_SPEED, MemoryPlan, Needs, NetworkSize, WeightsSize
from sora.memory.manager import MemoryManager
from sora.models.conditioning import known_latent_mask, known_pixel_mask, masked_video
from sora.runtime import lora
from sora.runtime.offload import offload_blocks

WIDTH, LAYERS = 256, 6


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND + torch.tanh(self.map(x_BND))


class Dit(nn.Module):
    """A transformer without attention: each token is predicted from its colours, the text and the time."""

    def __init__(self) -> None:
        super().__init__()
        self.proj_in, self.proj_out = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 3)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])

    def forward(self, x_BCTHW: Tensor, t: float, text_BD: Tensor) -> Tensor:
        tokens = rearrange(x_BCTHW, "b c t h w -> b (t h w) c")
        x = self.proj_in(F.pad(tokens, (0, 1), value=t)) + text_BD[:, None]
        for block in self.blocks:
            x = block(x)
        _, _, t_, h, w = x_BCTHW.shape
        return rearrange(self.proj_out(x), "b (t h w) c -> b c t h w", t=t_, h=h, w=w)


class LetterEncoder(nn.Module):
    """A text encoder: the mean of the embeddings of a text's letters."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(256, WIDTH)

    def forward(self, text: str) -> Tensor:
        return self.letters(torch.tensor([[*(text.encode() or b" ")]])).mean(dim=1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"transformer": Dit, "text": LetterEncoder}


@dataclass
class Components:
    """The networks, loaded by the memory plan when they are first used."""

    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype
    plan: MemoryPlan = PLANS_BY_SPEED[0]
    loaded: dict[str, nn.Module] = field(default_factory=dict)
    loras: list[tuple[Mapping[str, Tensor], float, str]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        name = self.spec.files[0]
        return self.spec.folder / name if self.spec.folder else weights.asset(name)

    def apply_plan(self, plan: MemoryPlan) -> None:
        if plan != self.plan:
            self.unload()
            self.plan = plan

    def unload(self) -> None:
        self.loaded.clear()

    def __getitem__(self, name: str) -> Any:
        if name not in self.loaded:
            if self.plan.text_encoder != "resident":
                self.loaded.clear()
            self.loaded[name] = self._load(name)
        return self.loaded[name]

    def _load(self, name: str) -> nn.Module:
        from . import KEY_MAPS

        with torch.device("meta"):
            network = NETWORKS[name]()
        weights.load_checkpoint(network, self.file, rules=KEY_MAPS[name], dtype=self.dtype)
        if isinstance(network, Dit):
            for tensors, strength, called in self.loras:
                lora.merge(network, tensors, strength, label=called)
            if self.plan.resident_blocks is not None:
                offload_blocks(network.blocks, self.device, self.plan.resident_blocks)
        return network


@dataclass(frozen=True)
class Toy:
    """A model that is ``Trainable``, ``Offloadable`` and ``Scheduled`` (``engine.model``)."""

    spec: ModelSpec
    components: Components
    lora_targets = ("map",)

    @cached_property
    def memory(self) -> MemoryManager:
        return MemoryManager(self.components)

    @property
    def device(self) -> torch.device:
        return self.components.device

    @property
    def dit(self) -> nn.Module:
        return self.components["transformer"]

    def plan_memory(
        self,
        shape_FYX: tuple[int, int, int],
        *,
        encodes: bool,
        references: int = 0,
        forced: str | None = None,
        sampling_seconds: float | None = None,
    ) -> str:
        memory_needs = needs(self.spec, shape_FYX, self.device, self.components.dtype, encodes=encodes)
        return self.memory.choose_plan(memory_needs, forced)

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        lora.check_fits(self.dit, tensors, name)
        self.components.loras.append((tensors, strength, name))
        self.components.unload()

    def schedule(self, sampler: str, steps: int, shift: float, strength: float, tokens: int) -> Tensor:
        """The more tokens, the more time near the noise."""
        return timesteps_for_strength(steps, shift + tokens / 1000, strength)

    def encode(self, canvas: Canvas) -> Latents:
        grid = self.spec.grid
        pixels = masked_video(canvas)
        pixels = torch.cat([pixels[:, :, :1].expand(-1, -1, grid.time - 1, -1, -1), pixels], dim=2)
        known = known_latent_mask(known_pixel_mask(canvas), grid.space, grid.time).amin(dim=1, keepdim=True)
        return Latents(F.avg_pool3d(pixels, (grid.time, grid.space, grid.space)), 1 - known)

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        yield self.memory.retry_on_oom("decode", lambda: decoded(latents_BCTHW, self.spec.grid.time))

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        texts = [self.components["text"](text) for text in ([prompt] if guidance == 1 else [prompt, negative_prompt])]
        unknown, clean = latents.unknown_B1THW > 0, latents.clean_BCTHW

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            flows = [self.components["transformer"](x, float(t), text.to(x)) for text in texts]
            flow = flows[-1] + guidance * (flows[0] - flows[-1]) if guidance != 1 else flows[0]
            return torch.where(unknown, flow, (x - clean) / t)

        return velocity


def decoded(latents_BCTHW: Tensor, time: int, space: int = 8) -> Tensor:
    """Frames (F, 3, Y, X): one for the first latent, ``time`` for each of the others."""
    frames = F.interpolate(torch.tanh(latents_BCTHW[0]).transpose(0, 1), scale_factor=space)
    return torch.cat([frames[:1], frames[1:].repeat_interleave(time, dim=0)])


def needs(
    spec: ModelSpec, shape_FYX: tuple[int, int, int], device: torch.device, dtype: torch.dtype, *, encodes: bool
) -> Needs:
    """The memory that the networks need, counted on the meta device."""
    with torch.device("meta"):
        dit, text_encoder = Dit(), LetterEncoder()
    c, *latents = spec.grid.latent_shape(*shape_FYX)
    token, pixels = 3 * WIDTH * dtype.itemsize, 3 * 4 * prod(shape_FYX)
    return Needs(
        transformer=NetworkSize(
            WeightsSize.of(dit, dtype.itemsize),
            WeightsSize.of(dit.blocks).parameters,
            LAYERS,
            WeightsSize.of(Block()).parameters,
        ),
        vae=WeightsSize(),
        latent_side=max(latents[1:]),
        sampling_bytes=lambda *, sequential_guidance, quantized, caches_text: prod(latents) * (token + 16 * c),
        decoding_bytes=lambda tile: pixels,
        encoding_bytes=(lambda tile: pixels) if encodes else None,
        text=NetworkSize(WeightsSize.of(text_encoder, dtype.itemsize)),
        dtype_bytes=dtype.itemsize,
        unified_memory=device.type != "cuda",
    )
