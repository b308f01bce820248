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
from sora.models.conditioning import known_latent_mask, known_pixel_mask, masked_video
from sora.models.guidance import GuidedTransformer, is_guided, should_batch_guidance, step_cache_threshold
from sora.models.wan import image, needs, schedule
from sora.models.wan import text as wan_text
from sora.models.wan.components import Components
from sora.models.wan.conditioning import CONDITIONERS, Conditioning, ConditioningInputs
from sora.models.wan.layout import component_paths
from sora.networks.wan.dit import LORA_TARGETS, Times, WanDiT
from sora.runtime import attention
from sora.runtime.speed import DEFAULT, Speed

HEAD_DIM = 128  # of every Wan transformer


@dataclass(frozen=True)
class Wan:
    """The model. See ``engine.model.Model`` for what its methods promise."""

    spec: ModelSpec
    components: Components
    memory: Arrangement
    tokenizer: wan_text.T5Tokenizer
    cache: wan_text.EmbeddingCache
    speed: Speed = DEFAULT

    @property
    def device(self) -> torch.device:
        return self.components.device

    @property
    def dit(self) -> WanDiT:
        return self.components.expert(0)

    def plan_memory(self, shape_FYX: tuple[int, int, int], *, encodes: bool, forced: str | None = None) -> str:
        p = self.components
        needed = needs.memory_needs(p.spec, p.component_paths, shape_FYX, p.device, p.dtype, encodes=encodes)
        return self.memory.arrange(needed, forced)

    def schedule(self, sampler: str, steps: int, shift: float, strength: float, tokens: int) -> Tensor:  # noqa: ARG002
        return schedule.schedule(sampler, steps, shift, strength)

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        self.components.add_lora(tensors, strength, name)

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return LORA_TARGETS

    def encode(self, canvas: Canvas) -> Latents:
        grid = self.spec.grid
        clean = self.memory.retry_on_oom("encode", lambda: self._encoded(canvas))
        known = known_latent_mask(known_pixel_mask(canvas), grid.space, grid.time).amin(dim=1, keepdim=True)
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
        return self.components.vae.encode(masked_video(canvas), tile=self.components.plan.tile)

    def _stream(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        yield from self.components.vae.stream(latents_BCTHW, tile=self.components.plan.tile)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        way = CONDITIONERS[self.spec.known](ConditioningInputs(canvas, latents, self.encode, self.spec.grid))
        way = replace(way, share_timesteps=self.speed.uses("distinct-times"))
        passes = self._passes([prompt, negative_prompt] if guidance != 1 else [prompt], canvas)
        low = self.spec.defaults.guidance_low if guidance != 1 else None
        scales = (guidance, guidance if low is None else low)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            units = int(schedule.network_timestep(t))
            number = self._expert(units)
            given, times = way.model_input(x, units)
            guided = guidance != 1 and is_guided(self.spec, self.speed, float(t))
            flow = self._flows(passes, number, given, times, way, guided).to(x)
            if guided:
                flow, without = flow.chunk(2)
                flow = without + scales[number] * (flow - without)
            return way.keep_known(x, t, flow)

        return velocity

    def _passes(self, texts: list[str], canvas: Canvas) -> GuidedTransformer:
        text_BLD, seen_1MD = self._read(texts), self._look(canvas)
        dtype, (_, t, h, w) = self.components.dtype, self.spec.grid.latent_shape(*canvas.shape)
        tokens = t * h * w // self.spec.grid.patch**2
        keeps, joins = self.speed.uses("text-once"), should_batch_guidance(self.speed, self.device, tokens)
        return GuidedTransformer(
            text_BLD.to(dtype),
            None if seen_1MD is None else seen_1MD.to(dtype),
            cache_text=lambda: keeps and self.components.plan.blocks is None,
            batch_guidance=lambda: joins and not self.components.plan.one_prompt,
            step_cache_threshold=step_cache_threshold(self.spec, self.speed),
        )

    def _flows(
        self, passes: GuidedTransformer, number: int, x: Tensor, times: Tensor | Times, way: Conditioning, guided: bool
    ) -> Tensor:
        def more(dit: WanDiT) -> dict[str, Any]:
            extra: dict[str, Any] = {"fps": self.spec.defaults.fps} if dit.config.inject_sample_info else {}
            return (
                extra
                if way.control_latents is None
                else extra | {"control_BCTHW": way.control_latents.to(self.components.dtype)}
            )

        def frugal(work: Callable[[], Tensor]) -> Tensor:
            return self.memory.retry_on_oom("sample", lambda: self._with_fastest_attention(work))

        dit, x = lambda: self.components.expert(number), x.to(self.components.dtype)
        return passes.velocities(dit, x, times, guided=guided, retry_on_oom=frugal, extra_inputs=more)

    def _with_fastest_attention(self, work: Callable[[], Tensor]) -> Tensor:
        if not self.speed.uses("attention"):
            return work()
        with attention.preferred(self.device, self.components.dtype, HEAD_DIM):
            return work()

    def _read(self, texts: list[str]) -> Tensor:
        """(B, L, D) of texts, cleaned; the encoder is loaded only for those never read before."""

        def read(unknown: list[str]) -> Tensor:
            return self.memory.retry_on_oom(
                "text", lambda: wan_text.embed(self.components.text_encoder, self.tokenizer, unknown)
            )

        return self.cache.get([wan_text.clean(text) for text in texts], read).to(self.device)

    def _look(self, canvas: Canvas) -> Tensor | None:
        """What the image encoder sees of the known pictures at the canvas's ends: (1, M, D), zeros where none is."""
        if not self.components.has("image_encoder"):
            return None
        ends = [0, len(canvas.frames_FCYX) - 1] if self.components.uses_last_image else [0]
        return torch.cat([self._glance(canvas, end) for end in ends], dim=1)

    def _glance(self, canvas: Canvas, frame: int) -> Tensor:
        picture = canvas.frames_FCYX[frame].permute(1, 2, 0).numpy()
        seen = self.components.image_encoder(image.preprocess(picture).to(self.device, self.components.dtype))
        return seen if canvas.known_F1YX[frame].all() else torch.zeros_like(seen)

    def _expert(self, units: int) -> int:
        boundary = self.spec.boundary
        if boundary is None or len(self.components.experts) == 1:
            return 0
        return 0 if units >= 1000 * boundary else 1


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT) -> Wan:
    """The model, whose networks are loaded as they are needed. ``dtype`` is the encoders' and the transformer's; the
    autoencoder stays in float32, as its reference does. Raises ModelError."""
    found = component_paths(spec)
    words = wan_text.T5Tokenizer(found["tokenizer"] / "tokenizer.json")
    encoder = f"{weights.fingerprint(found['text_encoder'])} {dtype} {device.type}"
    cache, parts = (
        wan_text.EmbeddingCache(hub.own_cache() / "texts", encoder),
        Components(spec, found, device, dtype, speed),
    )
    return Wan(spec, parts, Arrangement(parts), words, cache, speed)
