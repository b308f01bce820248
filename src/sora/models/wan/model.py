"""The Wan family (arXiv 2503.20314) and its relatives with the same transformer, as the engine's ``Model``.

It computes what diffusers' Wan pipelines compute: the same cleaning and padding of prompts, integer timesteps,
guidance, and switch between two experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor, nn

from sora.catalog.spec import ModelSpec
from sora.engine.canvas import Canvas, Latents
from sora.engine.velocity import StatefulVelocity, Velocity
from sora.memory import Needs
from sora.memory.manager import MemoryManager
from sora.models.attention import use_fastest_attention
from sora.models.batching import batched_windows
from sora.models.conditioning import known_latent_mask, known_pixel_mask, masked_video
from sora.models.guidance import GuidedTransformer, is_guided, should_batch_guidance, step_cache_threshold
from sora.models.parallel import measure_free
from sora.models.wan import image, needs, parallel, references, schedule
from sora.models.wan import text as wan_text
from sora.models.wan.autoencoding import Autoencoding
from sora.models.wan.components import Components
from sora.models.wan.conditioning import CONDITIONERS, Conditioning, ConditioningInputs
from sora.models.wan.layout import component_paths
from sora.models.wan.text_cache import EmbeddingCache
from sora.models.wan.work import encodes_canvas
from sora.networks.wan.dit import LORA_TARGETS, SharedTimesteps, WanDiT
from sora.runtime.speed import DEFAULT_SPEED, Speed

if TYPE_CHECKING:
    from sora.runtime.parallel.ranks import Ranks
    from sora.runtime.parallel.workers import Workers


@dataclass(frozen=True)
class Wan:
    """A Wan model. Its methods are those of ``engine.model.Model``, ``Offloadable``, ``Scheduled``, ``LoadedLate``,
    ``Parallelizable`` and ``Trainable``. workers: compute the passes together with this process; None for it alone."""

    spec: ModelSpec
    components: Components
    memory: MemoryManager
    tokenizer: wan_text.T5Tokenizer
    cache: EmbeddingCache
    speed: Speed = DEFAULT_SPEED
    workers: Workers | None = None

    @property
    def device(self) -> torch.device:
        return self.components.device

    @property
    def dit(self) -> WanDiT:
        return self.components.expert(0)

    @property
    def meta_dit(self) -> nn.Module:
        return self.components.meta_module(self.components.experts[0])

    def plan_memory(
        self,
        shape_FYX: tuple[int, int, int],
        *,
        encodes: bool,
        references: int = 0,
        forced: str | None = None,
        sampling_seconds: float | None = None,
        guided: bool = True,
    ) -> str:
        p, shown = self.components, {"encodes": encodes, "references": references, "guided": guided}
        shown |= {} if self.workers is None else {"processes": self.workers.size}
        needed = needs.memory_needs(
            p.spec, p.component_paths, shape_FYX, p.device, p.dtype, **shown, vae_dtype=p.vae_dtype, speed=self.speed
        )
        line = self.memory.choose_plan(needed, forced)
        p.expect(sampling_seconds)
        if self.workers is not None:
            with self.workers.guarded():
                self.workers.send(parallel.Expect(sampling_seconds), keep=True)
                if len(p.experts) == 1:  # of two, nobody knows yet which comes first
                    self.workers.send(parallel.Load(p.plan))
        return line

    @property
    def runs_compiled(self) -> bool:
        """Whether compiled blocks have run."""
        return self.components.compiling.has_run

    def schedule(self, sampler: str, steps: int, shift: float, strength: float, tokens: int) -> Tensor:  # noqa: ARG002
        return schedule.schedule(sampler, steps, shift, strength, defaults=self.spec.defaults)

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        self.components.add_lora(tensors, strength, name)

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return LORA_TARGETS

    def encode(self, canvas: Canvas) -> Latents:
        grid, lead = self.spec.grid, len(self._pictures(canvas))
        if self._is_unseen(canvas):
            clean = torch.zeros(1, *grid.latent_shape(*canvas.shape), device=self.device)
        else:
            clean = self.memory.retry_on_oom("encode", lambda: self._encode_frames(canvas))
        known = known_latent_mask(known_pixel_mask(canvas), grid.space, grid.time).amin(dim=1, keepdim=True)
        # Joined, not padded: F.pad of five axes is wrong on MPS.
        unknown = torch.cat([torch.ones_like(known[:, :, :1]).repeat(1, 1, lead, 1, 1), 1 - known], dim=2)
        return Latents(torch.cat([*self._encode_references(canvas), clean], dim=2), unknown.to(self.device), lead)

    def _is_unseen(self, canvas: Canvas) -> bool:
        """Whether no pass sees an encoding of the canvas, of which nothing is known."""
        return not encodes_canvas(self.spec, known=bool(canvas.known_F1YX.any()))

    def _encode_references(self, canvas: Canvas) -> list[Tensor]:
        """A latent (1, C, 1, H, W) of each reference, the last first."""
        stills = [references.still_of(picture, canvas) for picture in reversed(self._pictures(canvas))]
        return [self.memory.retry_on_oom("encode", lambda still=still: self._encode_pixels(still)) for still in stills]

    def _pictures(self, canvas: Canvas) -> tuple[Tensor, ...]:
        """What stands before the canvas as references: for a model that is not conditioned on any, nothing."""
        return canvas.guides.pictures if self.spec.takes_references else ()

    @property
    def _autoencoding(self) -> Autoencoding:
        return Autoencoding(self.components, self.memory, self.workers)

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        for chunk in self._autoencoding.decode(latents_BCTHW):
            yield rearrange(chunk, "1 c f y x -> f c y x").float()

    def _encode_frames(self, canvas: Canvas) -> Tensor:
        return self._encode_pixels(masked_video(canvas))

    def _encode_pixels(self, pixels_BCFYX: Tensor) -> Tensor:
        return self._autoencoding.encode(pixels_BCFYX)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        return self.bind_batch(canvas, latents, [prompt], negative_prompt, guidance)

    def batched_windows(self, shape_FYX: tuple[int, int, int]) -> int:
        p, grid = self.components, self.spec.grid
        _, t, h, w = grid.latent_shape(*shape_FYX)
        most = batched_windows(self.speed, self.device, t * h * w // grid.patch**2)
        if self.spec.takes_references or p.plan.resident_blocks is not None or self.workers is not None:
            return 1  # a control is of one sample; streamed weights mean no memory to spare; several devices, no load
        return self.memory.most_that_fit("sample", most, lambda n: self._needs_of_batch(n, shape_FYX))

    def _needs_of_batch(self, windows: int, shape_FYX: tuple[int, int, int]) -> Needs:
        """Of so many windows at once."""
        p = self.components
        how = {"vae_dtype": p.vae_dtype, "speed": self.speed, "windows": windows}
        return needs.memory_needs(p.spec, p.component_paths, shape_FYX, p.device, p.dtype, encodes=False, **how)

    def bind_batch(
        self, canvas: Canvas, latents: Latents, prompts: Sequence[str], negative_prompt: str, guidance: float
    ) -> Velocity:
        conditioning = CONDITIONERS[self.spec.conditioning](
            ConditioningInputs(canvas, latents, self.encode, self.spec.grid)
        )
        conditioning = replace(conditioning, share_timesteps=self.speed.uses("distinct-times"))
        texts = [*prompts, *([negative_prompt] * len(prompts) if guidance != 1 else ())]
        passes = self._passes(texts, canvas, conditioning, samples=len(prompts))
        low_noise_scale = self.spec.defaults.guidance_low if guidance != 1 else None
        scales = (guidance, guidance if low_noise_scale is None else low_noise_scale)
        last_expert = -1

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal last_expert
            timestep = schedule.network_timestep(t, self.spec.defaults.timesteps).item()
            expert = self._expert_at(timestep)
            if expert != last_expert:
                passes.restore({})  # it was the other expert's
            last_expert = expert
            latents_in, times = conditioning.model_input(x, timestep)
            guided = guidance != 1 and is_guided(self.spec, self.speed, float(t))
            flow = passes(expert, latents_in, times, guided).to(x)
            if guided:
                flow, negative_flow = flow.chunk(2)
                flow = negative_flow + scales[expert] * (flow - negative_flow)
            return conditioning.keep_known(x, t, flow)

        def state() -> dict[str, Tensor]:
            return passes.state() | {"expert": torch.tensor(last_expert)}

        def restore(state: Mapping[str, Tensor]) -> None:
            nonlocal last_expert
            last_expert = int(state["expert"])
            passes.restore({name: each for name, each in state.items() if name != "expert"})

        return StatefulVelocity(velocity, state, restore)

    def _passes(
        self, texts: list[str], canvas: Canvas, conditioning: Conditioning, samples: int
    ) -> parallel.Passes | parallel.SharedPasses:
        """The passes under these texts: the prompts of so many samples, and their negative prompts where guided."""
        text_BLD, image_1MD = self._encode_texts(texts), self._encode_images(canvas)
        dtype, (_, t, h, w) = self.components.dtype, self.spec.grid.latent_shape(*canvas.shape)
        tokens = (len(self._pictures(canvas)) + t) * h * w // self.spec.grid.patch**2
        image_1MD = None if image_1MD is None else image_1MD.to(dtype)
        transformer = self._transformer(text_BLD.to(dtype), image_1MD, samples, tokens)
        passes = parallel.Passes(transformer, conditioning, self._predict)
        if self.workers is None:
            return passes
        heads, guided = self.meta_dit.config.heads, len(texts) > samples  # type: ignore[union-attr]
        plan = lambda: self.components.plan  # noqa: E731
        retry = partial(self.memory.retry_on_oom, "sample")
        return parallel.SharedPasses(passes, self.workers, plan, retry, tokens=tokens, heads=heads, guided=guided)

    def _transformer(self, text_BLD: Tensor, image_1MD: Tensor | None, samples: int, tokens: int) -> GuidedTransformer:
        cache_text = self.speed.uses("text-once")
        batch_guidance = should_batch_guidance(self.speed, self.device, tokens)
        return GuidedTransformer(
            text_BLD,
            image_1MD,
            cache_text=lambda: cache_text and self.components.plan.resident_blocks is None,
            batch_guidance=lambda: batch_guidance and not self.components.plan.sequential_guidance,
            step_cache_threshold=step_cache_threshold(self.spec, self.speed),
            samples=samples,
        )

    def parallelize(self, workers: Workers) -> Wan:
        assert workers.ranks is not None
        self.components.sequence = workers.ranks.sequence
        measure = partial(measure_free, workers)
        return replace(self, workers=workers, memory=MemoryManager(self.components, measure=measure))

    def serve(self, ranks: Ranks) -> Callable[[Any], Any]:
        components = self.components
        components.sequence = ranks.sequence

        def bind(message: parallel.Bind) -> parallel.Passes:
            shown = Conditioning(control_latents=message.control_latents, control_scales=message.control_scales)
            transformer = self._transformer(message.text_BLD, message.image_1MD, message.samples, message.tokens)
            return parallel.Passes(transformer, shown, self._predict)

        return parallel.Server(ranks, components, bind)

    def _predict(
        self,
        transformer: GuidedTransformer,
        expert: int,
        x: Tensor,
        times: Tensor | SharedTimesteps,
        conditioning: Conditioning,
        guided: bool,
    ) -> Tensor:
        def extra_inputs(dit: WanDiT) -> dict[str, Any]:
            extra: dict[str, Any] = {"fps": self.spec.defaults.fps} if dit.config.inject_sample_info else {}
            control = conditioning.control_latents
            if control is None:
                return extra
            scales = conditioning.control_scales
            scale = scales[0] if len(scales) == 1 else scales
            return extra | {"control_BCTHW": control.to(self.components.dtype), "control_scale": scale}

        def with_retry(work: Callable[[], Tensor]) -> Tensor:
            # A batch that does not fit is given up before any plan is; and no process tries alone what all must.
            if transformer.samples > 1 or self.components.sequence is not None:
                return work()
            return self.memory.retry_on_oom("sample", work)

        dit, x = lambda: self._attending(self.components.expert(expert), x), x.to(self.components.dtype)
        return transformer.velocities(dit, x, times, guided=guided, retry_on_oom=with_retry, extra_inputs=extra_inputs)

    def _attending(self, dit: WanDiT, x_BCTHW: Tensor) -> WanDiT:
        """The network, with the attention kernels that are fastest for these latents."""
        t, h, w = x_BCTHW.shape[2:]
        use_fastest_attention(dit, (t, h, w), self.device, self.components.dtype, self.speed)
        return dit

    def _encode_texts(self, texts: list[str]) -> Tensor:
        """Embeddings (B, L, D) of texts, with the weights of their words; the text encoder is loaded only where some
        are not in the cache on disk."""

        def encode(uncached: list[str]) -> Tensor:
            return self.memory.retry_on_oom(
                "text", lambda: wan_text.embed(self.components.text_encoder, self.tokenizer, uncached)
            )

        return wan_text.embed_prompts(texts, self.tokenizer, lambda c: self.cache.get(c, encode)).to(self.device)

    def _encode_images(self, canvas: Canvas) -> Tensor | None:
        """Image embeddings (1, M, D) of the first frame, or the first and the last; zeros for a frame that is not
        known. None for a model without an image encoder.

        A window that goes on from painted frames is shown the picture that the clip began from, and not its own first
        frame, so that what was given stays in sight. The last frame is always the window's own: a window that does not
        end there would hurry to it.
        """
        if not self.components.has("image_encoder"):
            return None
        ends = [0, len(canvas.frames_FCYX) - 1] if self.components.uses_last_image else [0]
        return torch.cat([self._encode_image(canvas, end) for end in ends], dim=1)

    def _encode_image(self, canvas: Canvas, frame: int) -> Tensor:
        known, shown = bool(canvas.known_F1YX[frame].all()), canvas.frames_FCYX[frame]
        if frame == 0 and known and canvas.guides.start is not None:
            shown = canvas.guides.start
        pixels = image.preprocess(shown.permute(1, 2, 0).numpy())
        embedding = self.components.image_encoder(pixels.to(self.device, self.components.dtype))
        return embedding if known else torch.zeros_like(embedding)

    def _expert_at(self, timestep: float) -> int:
        """Which expert predicts at a timestep in [0, 1000]: 0 at high noise, 1 at low noise."""
        boundary = self.spec.boundary
        if boundary is None or len(self.components.experts) == 1:
            return 0
        return 0 if timestep >= 1000 * boundary else 1


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT_SPEED) -> Wan:
    """Load a Wan model; its networks are loaded when they are first used. dtype: of the text and image encoders and the
    transformer; the VAE has its own. Raises ModelError."""
    paths = component_paths(spec)
    tokenizer = wan_text.T5Tokenizer(paths["tokenizer"] / "tokenizer.json")
    texts = EmbeddingCache.of(paths["text_encoder"], device, dtype)
    components = Components(spec, paths, device, dtype, speed)
    return Wan(spec, components, MemoryManager(components), tokenizer, texts, speed)
