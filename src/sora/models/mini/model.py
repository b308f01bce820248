"""The embedded model: a small Wan transformer, with the known latents and their mask concatenated to the noisy ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from einops import rearrange
from tokenizers import Tokenizer
from torch import Tensor, nn

from sora import weights
from sora.catalog.spec import ModelSpec
from sora.engine.canvas import Canvas, Latents
from sora.engine.velocity import StatefulVelocity, Velocity
from sora.errors import ModelError
from sora.models.batching import batched_windows
from sora.models.conditioning import known_latent_mask, known_pixel_mask, masked_video
from sora.models.guidance import GuidedTransformer, is_guided, should_batch_guidance, step_cache_threshold
from sora.models.mini import prompt_expansion, vocabulary
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import TEMPORAL_COMPRESSION, MiniVAE, MiniVAEConfig
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import LORA_TARGETS, WanDiT
from sora.plan.weighting import spans
from sora.runtime import lora
from sora.runtime.skip_init import SkipInit
from sora.runtime.speed import DEFAULT_SPEED, Speed
from sora.runtime.winograd import Winograd
from sora.weights import int8

ModuleT = TypeVar("ModuleT", bound=nn.Module)

POSITION_CHANNELS = 9  # of ``position_channels``
PERIOD = 8  # of the waves along time in ``position_channels``, in latent frames
FLICKER = 40 / 127.5  # of [-1, 1]: a step of this size counts as half flicker, half motion
NETWORK_TIME = 1000.0  # the network's timestep for t = 1, pure noise
LORA_MARK = "lora"  # in the name of a model's first file: a LoRA that is merged into the transformer of another file


def conditioning_channel_count(latent_channels: int) -> int:
    """How many channels are concatenated to the noisy latents: the mask, the known latents, and the position."""
    return TEMPORAL_COMPRESSION + latent_channels + POSITION_CHANNELS


def position_channels(shape_THW: tuple[int, int, int], device: torch.device) -> Tensor:
    """The absolute position of each latent, (POSITION_CHANNELS, T, H, W); rotary embeddings give only relative ones.
    Time is counted from the start, so that a longer clip continues like a shorter one; height and width are fractions
    of the canvas."""
    planes = []
    for axis, (size, whole) in enumerate(zip(shape_THW, (PERIOD, *shape_THW[1:]), strict=True)):
        u = (torch.arange(size, device=device) + 0.5) / whole
        view = [1, 1, 1]
        view[axis] = size
        for wave in (2 * u - 1, torch.cos(2 * torch.pi * u), torch.sin(2 * torch.pi * u)):
            planes.append(wave.view(view).expand(shape_THW))
    return torch.stack(planes)


def conditioning_channels(clean_BCTHW: Tensor, known_BFTHW: Tensor) -> Tensor:
    """The channels that are concatenated to the noisy latents: (B, C, T, H, W). Latents of which nothing is known are
    0, so that nothing of their grey filling is seen."""
    shape = clean_BCTHW.shape[2], clean_BCTHW.shape[3], clean_BCTHW.shape[4]
    positions = position_channels(shape, clean_BCTHW.device).expand(clean_BCTHW.shape[0], -1, -1, -1, -1)
    known_latents = clean_BCTHW * known_BFTHW.amax(dim=1, keepdim=True)
    return torch.cat([known_BFTHW.to(known_latents), known_latents, positions.to(known_latents)], dim=1)


def deflicker(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    """Remove the flicker of the decoder, which paints the texture of each latent frame slightly differently: a tick at
    every fourth frame. chunks: decoded frames (F, 3, Y, X) in [-1, 1]. Small steps between latent frames are spread
    over the frames around them; steps well above FLICKER are motion and stay. As many frames in all, in small
    chunks."""
    waiting: Tensor | None = None
    for group in _latent_frames(chunks):
        if waiting is None:
            waiting = group
            continue
        step = group[:1] - waiting[-1:]
        step = step * torch.exp(-(step.abs().amax(dim=1, keepdim=True) / FLICKER).square())
        first = len(waiting) == 1  # the clip's first latent covers one frame
        yield waiting if first else waiting + step * step.new_tensor((1 / 8, 3 / 8)).view(2, 1, 1, 1)
        yield group[:2] - step * step.new_tensor((1 / 2, 1 / 4) if first else (3 / 8, 1 / 8)).view(2, 1, 1, 1)
        waiting = group[2:]
    if waiting is not None:
        yield waiting


def _latent_frames(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    """Regroup a stream of frames by latent: 1 frame for the first, then TEMPORAL_COMPRESSION each."""
    buffer, size = None, 1
    for chunk in chunks:
        buffer = chunk if buffer is None else torch.cat([buffer, chunk])
        while len(buffer) >= size:
            yield buffer[:size]
            buffer, size = buffer[size:], TEMPORAL_COMPRESSION


def word_ids(tokenizer: Tokenizer, texts: list[str], length: int) -> Tensor:
    """Token ids (B, L), padded with 0 to the longest text; at least one column, at most ``length``."""
    rows = [tokenizer.encode(text).ids[:length] for text in texts]
    longest = max(1, *map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


@dataclass(frozen=True)
class Mini:
    """The loaded model. Its methods are those of ``engine.model.Model`` and ``Trainable``."""

    spec: ModelSpec
    vae: MiniVAE
    text_encoder: MiniText
    dit: WanDiT
    tokenizer: Tokenizer
    speed: Speed = DEFAULT_SPEED

    @property
    def device(self) -> torch.device:
        return self.vae.mean.device

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return LORA_TARGETS

    def encode(self, canvas: Canvas) -> Latents:
        if not canvas.known_F1YX.any():  # encoding would take a tenth of the whole run, for nothing
            shape = 1, *self.spec.grid.latent_shape(*canvas.shape)
            return Latents(torch.zeros(shape, device=self.device), torch.ones(1, 1, *shape[2:], device=self.device))
        clean = self.vae.encode(masked_video(canvas).to(self.device))
        known = self._known_mask(canvas).amin(dim=1, keepdim=True)
        return Latents(clean, (1 - known).to(self.device))

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        frames = deflicker(rearrange(p, "1 c f y x -> f c y x") for p in self.vae.stream(latents_BCTHW.float()))
        while True:
            with torch.inference_mode():  # not around the yield: it would apply to the caller
                chunk = next(frames, None)
            if chunk is None:
                return
            yield chunk

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        return self.bind_batch(canvas, latents, [prompt], negative_prompt, guidance)

    def batched_windows(self, shape_FYX: tuple[int, int, int]) -> int:
        return batched_windows(self.speed, self.device, self._tokens(shape_FYX))

    def _tokens(self, shape_FYX: tuple[int, int, int]) -> int:
        _, t, h, w = self.spec.grid.latent_shape(*shape_FYX)
        return t * h * w // self.spec.grid.patch**2

    def bind_batch(
        self, canvas: Canvas, latents: Latents, prompts: Sequence[str], negative_prompt: str, guidance: float
    ) -> Velocity:
        known = self._known_mask(canvas).to(self.device)
        expands = not canvas.known_F1YX.any()  # known frames show the setting and motion
        negative = [] if guidance == 1 else [negative_prompt]
        texts = [self._encode_texts([prompt, *negative], expands=expands) for prompt in prompts]
        text_BLD = torch.stack(texts, dim=1).flatten(0, 1)  # all prompts, then all negative ones
        dtype = self.dit.proj_out.weight.dtype
        conditioning = conditioning_channels(latents.clean_BCTHW, known).to(dtype)
        tokens = latents.clean_BCTHW[0, 0].numel() // self.spec.grid.patch**2
        cache_text = self.speed.uses("text-once")
        batch_guidance = should_batch_guidance(self.speed, self.device, tokens)
        transformer = GuidedTransformer(
            text_BLD.to(dtype),
            cache_text=lambda: cache_text,
            batch_guidance=lambda: batch_guidance,
            step_cache_threshold=step_cache_threshold(self.spec, self.speed),
            samples=len(prompts),
        )

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            noisy = torch.cat([x.to(dtype), conditioning.expand(len(x), -1, -1, -1, -1)], dim=1)
            timesteps = torch.full((len(x),), float(t * NETWORK_TIME), device=x.device)
            guided = guidance != 1 and is_guided(self.spec, self.speed, float(t))
            flow = transformer.velocities(lambda: self.dit, noisy, timesteps, guided=guided).to(x)
            if not guided:
                return flow
            cond, uncond = flow.chunk(2)
            return uncond + guidance * (cond - uncond)

        return StatefulVelocity(velocity, transformer.state, transformer.restore)

    def _encode_texts(self, prompts: list[str], *, expands: bool) -> Tensor:
        """What the text encoder makes of prompts: slots (B, slots, width). expands: whether the first is expanded.

        Its slots are of whole prompts, so words are weighted against the prompt without them, as compel weighs words
        below 1: slots + (weight - 1) * (slots - slots without these words), summed over the weights that the prompt
        gives. Weight 0 leaves the words out.
        """

        found = [spans(prompt) for prompt in prompts]
        texts = ["".join(span.text for span in prompt) for prompt in found]
        slots_BSD = self._slots([self._expand(text) if expands and not i else text for i, text in enumerate(texts)])
        rows = list(slots_BSD)
        for i, prompt in enumerate(found):
            for weight in sorted({span.weight for span in prompt} - {1.0}):
                rest = " ".join("".join(span.text for span in prompt if span.weight != weight).split())
                (without_SD,) = self._slots([self._expand(rest) if expands and not i else rest])
                rows[i] = rows[i] + (weight - 1) * (slots_BSD[i] - without_SD)
        return torch.stack(rows)

    def _slots(self, texts: list[str]) -> Tensor:
        return self.text_encoder(word_ids(self.tokenizer, texts, self.text_encoder.config.length).to(self.device))

    def _expand(self, prompt: str) -> str:
        """The prompt with a setting and a motion, like those that the text encoder was trained on."""
        if not self.spec.vocabulary:
            return prompt
        return prompt_expansion.expand(vocabulary.load(self.spec.vocabulary), prompt)

    def _known_mask(self, canvas: Canvas) -> Tensor:
        return known_latent_mask(known_pixel_mask(canvas), self.spec.grid.space, TEMPORAL_COMPRESSION)

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        lora.merge(self.dit, tensors, strength, label=name)


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT_SPEED) -> Mini:
    """Load the model from the package's assets. dtype: the transformer's. The VAE stays in float32, in which CPUs
    decode faster. Raises ModelError."""
    card, tokenizer = (weights.asset(name) for name in spec.files[-2:])
    vae_config, text_config, dit_config = _read_configs(card)
    with SkipInit():
        vae, text, dit = MiniVAE(vae_config), MiniText(text_config), WanDiT(dit_config)
    vae = _load_weights(vae, spec, "vae", device, torch.float32).in_channels_last()
    vae.convolver = Winograd if speed.uses("winograd") else None
    text, dit = _load_weights(text, spec, "text", device, torch.float32), _load_weights(dit, spec, "dit", device, dtype)
    if LORA_MARK in spec.files[0]:
        _merge_lora(dit, weights.asset(spec.files[0]))
    if speed.uses("fused"):
        dit.fuse_qkv()
    return Mini(spec, vae, text, dit, _tokenizer(tokenizer), speed)


def _load_weights(
    module: ModuleT, spec: ModelSpec, component: str, device: torch.device, dtype: torch.dtype
) -> ModuleT:
    """Load a module's weights: from an int8 file of its own, or from the one file that holds all components."""
    own_files = [name for name in spec.files if component in name.removesuffix(".safetensors").split("-")]
    if not own_files:
        return weights.load_into(module, weights.asset(spec.files[0]), f"{component}.", device=device, dtype=dtype)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    quantized = weights.read(weights.asset(own_files[0]), int8.stored_shapes(expected), device=device)
    module.load_state_dict(int8.unpack8(quantized, dtype), strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _merge_lora(dit: WanDiT, path: Path) -> None:
    """Merge the LoRA that turns the guided transformer into the distilled one. Raises ModelError where it is for other
    weights."""
    lora.merge(dit, weights.read(path, weights.shapes(path)), label=path.name)


def _read_configs(card: Path) -> tuple[MiniVAEConfig, MiniTextConfig, WanConfig]:
    """The networks' configurations, from the card that is packaged with the weights."""
    try:
        sizes = json.loads(card.read_text(encoding="utf-8"))["sizes"]
        vae, text, dit = (_tuples(sizes[component]) for component in ("vae", "text", "dit"))
        return MiniVAEConfig(**vae), MiniTextConfig(**text), WanConfig(**dit)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the card {card} is missing or damaged ({error}); reinstall sora") from None


def _tuples(sizes: dict[str, Any]) -> dict[str, Any]:
    """Turn the lists of JSON into tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for any bad file
        raise ModelError(f"the tokenizer {path} is missing or damaged ({error}); reinstall sora") from None
