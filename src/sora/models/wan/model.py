"""The Wan family (arXiv 2503.20314) and what shares its transformer: text, images and known frames in, velocity out.

The numbers are those of diffusers' Wan pipelines: the same cleaning and padding of prompts, whole thousandths of
time, guidance, and switch between two experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from sora import weights
from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.engine.canvas import Canvas, Latents
from sora.engine.sampler import Velocity
from sora.memory.arrangement import Arrangement
from sora.models.conditioning import filled, known_channels, known_frames
from sora.models.guidance import Passes, guides, threshold, together
from sora.models.wan import image, needs, schedule
from sora.models.wan import text as wan_text
from sora.models.wan.components import Parts
from sora.models.wan.conditioning import WAYS, Scene, Way
from sora.models.wan.layout import places
from sora.networks.wan.dit import LORA_TARGETS, Times, WanDiT
from sora.runtime import attention
from sora.runtime.speed import DEFAULT, Speed

HEAD_DIM = 128  # of every Wan transformer


@dataclass(frozen=True)
class Wan:
    """The model. See ``engine.model.Model`` for what its methods promise."""

    spec: ModelSpec
    parts: Parts
    memory: Arrangement
    words: wan_text.Words
    cache: wan_text.EmbeddingCache
    speed: Speed = DEFAULT

    @property
    def device(self) -> torch.device:
        return self.parts.device

    @property
    def dit(self) -> WanDiT:
        return self.parts.expert(0)

    def arrange(self, shape_FYX: tuple[int, int, int], *, encodes: bool, forced: str | None = None) -> str:
        p = self.parts
        needed = needs.needs(p.spec, p.places, shape_FYX, p.device, p.dtype, encodes=encodes)
        return self.memory.arrange(needed, forced)

    def schedule(self, step: str, steps: int, shift: float, strength: float, tokens: int) -> Tensor:  # noqa: ARG002
        return schedule.schedule(step, steps, shift, strength)

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, called: str) -> None:
        self.parts.add_lora(tensors, strength, called)

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return LORA_TARGETS

    def encode(self, canvas: Canvas) -> Latents:
        grid = self.spec.grid
        clean = self.memory.retry_on_oom("encode", lambda: self._encoded(canvas))
        known = known_channels(known_frames(canvas), grid.space, grid.time).amin(dim=1, keepdim=True)
        return Latents(clean, (1 - known).to(self.device))

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        stream, given = self._stream(latents_BCTHW), 0
        while True:
            try:
                with torch.inference_mode():  # not around the yield, or it would hold for whoever reads the frames
                    chunk = next(stream, None)
            except torch.OutOfMemoryError as error:
                self.memory.step_down("decode", error)
                stream = islice(self._stream(latents_BCTHW), given, None)
                continue
            if chunk is None:
                return
            given += 1
            yield rearrange(chunk, "1 c f y x -> f c y x").float()

    def _encoded(self, canvas: Canvas) -> Tensor:
        return self.parts.vae.encode(filled(canvas), tile=self.parts.plan.tile)

    def _stream(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        yield from self.parts.vae.stream(latents_BCTHW, tile=self.parts.plan.tile)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative: str, guidance: float) -> Velocity:
        way = WAYS[self.spec.known](Scene(canvas, latents, self.encode, self.spec.grid))
        way = replace(way, shares=self.speed.uses("distinct-times"))
        passes = self._passes([prompt, negative] if guidance != 1 else [prompt], canvas)
        low = self.spec.defaults.guidance_low if guidance != 1 else None
        scales = (guidance, guidance if low is None else low)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            units = int(schedule.thousandths(t))
            number = self._expert(units)
            given, times = way.given(x, units)
            guided = guidance != 1 and guides(self.spec, self.speed, float(t))
            flow = self._flows(passes, number, given, times, way, guided).to(x)
            if guided:
                flow, without = flow.chunk(2)
                flow = without + scales[number] * (flow - without)
            return way.settled(x, t, flow)

        return velocity

    def _passes(self, texts: list[str], canvas: Canvas) -> Passes:
        text_BLD, seen_1MD = self._read(texts), self._look(canvas)
        dtype, (_, t, h, w) = self.parts.dtype, self.spec.grid.latent_shape(*canvas.shape)
        tokens = t * h * w // self.spec.grid.patch**2
        keeps, joins = self.speed.uses("text-once"), together(self.speed, self.device, tokens)
        return Passes(
            text_BLD.to(dtype),
            None if seen_1MD is None else seen_1MD.to(dtype),
            once=lambda: keeps and self.parts.plan.blocks is None,
            together=lambda: joins and not self.parts.plan.one_prompt,
            threshold=threshold(self.spec, self.speed),
        )

    def _flows(self, passes: Passes, number: int, x: Tensor, times: Tensor | Times, way: Way, guided: bool) -> Tensor:
        def more(dit: WanDiT) -> dict[str, Any]:
            extra: dict[str, Any] = {"fps": self.spec.defaults.fps} if dit.config.inject_sample_info else {}
            return extra if way.control is None else extra | {"control_BCTHW": way.control.to(self.parts.dtype)}

        def frugal(work: Callable[[], Tensor]) -> Tensor:
            return self.memory.retry_on_oom("sample", lambda: self._with_fastest_attention(work))

        dit, x = lambda: self.parts.expert(number), x.to(self.parts.dtype)
        return passes.flows(dit, x, times, guided=guided, frugal=frugal, more=more)

    def _with_fastest_attention(self, work: Callable[[], Tensor]) -> Tensor:
        if not self.speed.uses("attention"):
            return work()
        with attention.preferred(self.device, self.parts.dtype, HEAD_DIM):
            return work()

    def _read(self, texts: list[str]) -> Tensor:
        """(B, L, D) of texts, cleaned; the encoder is loaded only for those never read before."""

        def read(unknown: list[str]) -> Tensor:
            return self.memory.retry_on_oom("text", lambda: wan_text.embed(self.parts.text, self.words, unknown))

        return self.cache.recall([wan_text.clean(text) for text in texts], read).to(self.device)

    def _look(self, canvas: Canvas) -> Tensor | None:
        """What the image encoder sees of the known pictures at the canvas's ends: (1, M, D), zeros where none is."""
        if not self.parts.has("image_encoder"):
            return None
        ends = [0, len(canvas.frames_FCYX) - 1] if self.parts.sees_two else [0]
        return torch.cat([self._glance(canvas, end) for end in ends], dim=1)

    def _glance(self, canvas: Canvas, frame: int) -> Tensor:
        picture = canvas.frames_FCYX[frame].permute(1, 2, 0).numpy()
        seen = self.parts.image(image.prepare(picture).to(self.device, self.parts.dtype))
        return seen if canvas.known_F1YX[frame].all() else torch.zeros_like(seen)

    def _expert(self, units: int) -> int:
        boundary = self.spec.boundary
        if boundary is None or len(self.parts.experts) == 1:
            return 0
        return 0 if units >= 1000 * boundary else 1


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT) -> Wan:
    """The model, whose networks are loaded as they are needed. ``dtype`` is the encoders' and the transformer's; the
    autoencoder stays in float32, as its reference does. Raises ModelError."""
    found = places(spec)
    words = wan_text.Words(found["tokenizer"] / "tokenizer.json")
    encoder = f"{weights.fingerprint(found['text_encoder'])} {dtype} {device.type}"
    cache, parts = wan_text.EmbeddingCache(hub.own_cache() / "texts", encoder), Parts(spec, found, device, dtype, speed)
    return Wan(spec, parts, Arrangement(parts), words, cache, speed)
