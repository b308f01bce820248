"""The embedded model: a small Wan transformer with known latents and their mask beside the noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
from sora.engine.sampler import Velocity
from sora.errors import ModelError
from sora.models.conditioning import known_latent_mask, known_pixel_mask, masked_video
from sora.models.guidance import GuidedTransformer, is_guided, should_batch_guidance, step_cache_threshold
from sora.models.mini import prompt_expansion, vocabulary
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import TEMPORAL_COMPRESSION, MiniVAE, MiniVAEConfig
from sora.networks.wan.dit import LORA_TARGETS, WanConfig, WanDiT
from sora.runtime import lora
from sora.runtime.skip_init import SkipInit
from sora.runtime.speed import DEFAULT_SPEED, Speed
from sora.runtime.winograd import Winograd
from sora.weights import int8

ModuleT = TypeVar("ModuleT", bound=nn.Module)

POSITION_CHANNELS = 9  # channels of ``place_channels``
PERIOD = 8  # latent frames in which its waves of time come round
FLICKER = 40 / 127.5  # of [-1, 1]: steps of this size are halfway between flicker and motion
NETWORK_TIME = 1000.0  # the network counts noise from 0 to 1000
LORA_MARK = "lora"  # in the name of a model's first file: it is added to the transformer of another


def conditioning_channel_count(latent_channels: int) -> int:
    """Channels that stand beside the noise: which frames are known, the known latents, and the place."""
    return TEMPORAL_COMPRESSION + latent_channels + POSITION_CHANNELS


def position_channels(shape_THW: tuple[int, int, int], device: torch.device) -> Tensor:
    """(PLACES, T, H, W): where a cell lies. Rotary positions are relative, these absolute: time is counted from the
    start, so that a longer film goes on as a shorter one did; height and width are shares of the canvas."""
    planes = []
    for axis, (size, whole) in enumerate(zip(shape_THW, (PERIOD, *shape_THW[1:]), strict=True)):
        u = (torch.arange(size, device=device) + 0.5) / whole
        view = [1, 1, 1]
        view[axis] = size
        for wave in (2 * u - 1, torch.cos(2 * torch.pi * u), torch.sin(2 * torch.pi * u)):
            planes.append(wave.view(view).expand(shape_THW))
    return torch.stack(planes)


def conditioning_channels(clean_BCTHW: Tensor, known_BFTHW: Tensor) -> Tensor:
    """The channels that stand beside the noise. Cells of which nothing is known show nothing of their filling."""
    shape = clean_BCTHW.shape[2], clean_BCTHW.shape[3], clean_BCTHW.shape[4]
    places = position_channels(shape, clean_BCTHW.device).expand(clean_BCTHW.shape[0], -1, -1, -1, -1)
    seen = clean_BCTHW * known_BFTHW.amax(dim=1, keepdim=True)
    return torch.cat([known_BFTHW.to(seen), seen, places.to(seen)], dim=1)


def deflicker(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    """Decoded frames, (F, 3, Y, X) in [-1, 1], whose small steps from one latent frame to the next are spread evenly
    over the frames around. The decoder paints each latent frame's texture a little differently, which shows as a tick
    at every fourth frame; steps well above FLICKER are motion and stay. Same frames in all, in small chunks."""
    waiting: Tensor | None = None
    for group in _latent_frames(chunks):
        if waiting is None:
            waiting = group
            continue
        step = group[:1] - waiting[-1:]
        step = step * torch.exp(-(step.abs().amax(dim=1, keepdim=True) / FLICKER).square())
        first = len(waiting) == 1  # the film's first frame stands alone
        yield waiting if first else waiting + step * step.new_tensor((1 / 8, 3 / 8)).view(2, 1, 1, 1)
        yield group[:2] - step * step.new_tensor((1 / 2, 1 / 4) if first else (3 / 8, 1 / 8)).view(2, 1, 1, 1)
        waiting = group[2:]
    if waiting is not None:
        yield waiting


def _latent_frames(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    """A stream of frames cut where latent frames end: 1 first, then TIME each."""
    held, wish = None, 1
    for chunk in chunks:
        held = chunk if held is None else torch.cat([held, chunk])
        while len(held) >= wish:
            yield held[:wish]
            held, wish = held[wish:], TEMPORAL_COMPRESSION


def word_ids(tokenizer: Tokenizer, texts: list[str], length: int) -> Tensor:
    """(B, L) word ids, padded with 0 to the longest text; at least one column, at most ``length``."""
    rows = [tokenizer.encode(text).ids[:length] for text in texts]
    longest = max(1, *map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


@dataclass(frozen=True)
class Mini:
    """The loaded model. See ``engine.model.Model`` for what its methods promise."""

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
        if not canvas.known_F1YX.any():  # nothing would show through, and encoding takes a tenth of the painting
            shape = 1, *self.spec.grid.latent_shape(*canvas.shape)
            return Latents(torch.zeros(shape, device=self.device), torch.ones(1, 1, *shape[2:], device=self.device))
        clean = self.vae.encode(masked_video(canvas).to(self.device))
        known = self._known(canvas).amin(dim=1, keepdim=True)
        return Latents(clean, (1 - known).to(self.device))

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        frames = deflicker(rearrange(p, "1 c f y x -> f c y x") for p in self.vae.stream(latents_BCTHW.float()))
        while True:
            with torch.inference_mode():  # not around the yield, or it would hold for whoever reads the frames
                chunk = next(frames, None)
            if chunk is None:
                return
            yield chunk

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        known = self._known(canvas).to(self.device)
        told = prompt if canvas.known_F1YX.any() else self._told(prompt)  # what is known says where and how
        texts = [told] if guidance == 1 else [told, negative_prompt]
        slots = self.text_encoder(word_ids(self.tokenizer, texts, self.text_encoder.config.length).to(self.device))
        dtype = self.dit.proj_out.weight.dtype
        beside = conditioning_channels(latents.clean_BCTHW, known).to(dtype)
        tokens = latents.clean_BCTHW[0, 0].numel() // self.spec.grid.patch**2
        keeps, joins = self.speed.uses("text-once"), should_batch_guidance(self.speed, self.device, tokens)
        passes = GuidedTransformer(
            slots.to(dtype),
            cache_text=lambda: keeps,
            batch_guidance=lambda: joins,
            step_cache_threshold=step_cache_threshold(self.spec, self.speed),
        )

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            noisy = torch.cat([x.to(dtype), beside.expand(len(x), -1, -1, -1, -1)], dim=1)
            units = torch.full((len(x),), float(t * NETWORK_TIME), device=x.device)
            guided = guidance != 1 and is_guided(self.spec, self.speed, float(t))
            flow = passes.velocities(lambda: self.dit, noisy, units, guided=guided).to(x)
            if not guided:
                return flow
            asked, unsaid = flow.chunk(2)
            return unsaid + guidance * (asked - unsaid)

        return velocity

    def _told(self, prompt: str) -> str:
        """The prompt as the text encoder was trained on them, with a place and a motion."""
        if not self.spec.vocabulary:
            return prompt
        return prompt_expansion.expand(vocabulary.load(self.spec.vocabulary), prompt)

    def _known(self, canvas: Canvas) -> Tensor:
        return known_latent_mask(known_pixel_mask(canvas), self.spec.grid.space, TEMPORAL_COMPRESSION)

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        lora.merge(self.dit, tensors, strength, label=name)


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT_SPEED) -> Mini:
    """The model from the package's assets. The autoencoder stays in float32, which decodes faster on CPUs; ``dtype``
    is the transformer's. Raises ModelError."""
    card, tokenizer = (weights.asset(name) for name in spec.files[-2:])
    vae_config, text_config, dit_config = _sizes(card)
    with SkipInit():
        vae, text, dit = MiniVAE(vae_config), MiniText(text_config), WanDiT(dit_config)
    vae = _filled(vae, spec, "vae", device, torch.float32).in_channels_last()
    vae.convolver = Winograd if speed.uses("winograd") else None
    text, dit = _filled(text, spec, "text", device, torch.float32), _filled(dit, spec, "dit", device, dtype)
    if LORA_MARK in spec.files[0]:
        _add_difference(dit, weights.asset(spec.files[0]))
    if speed.uses("fused"):
        dit.fuse_qkv()
    return Mini(spec, vae, text, dit, _tokenizer(tokenizer), speed)


def _filled(module: ModuleT, spec: ModelSpec, part: str, device: torch.device, dtype: torch.dtype) -> ModuleT:
    """The module with its weights: from a file of its own in eight bits, or from the one file that holds all parts."""
    own = [name for name in spec.files if part in name.removesuffix(".safetensors").split("-")]
    if not own:
        return weights.load_into(module, weights.asset(spec.files[0]), f"{part}.", device=device, dtype=dtype)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    stored = weights.read(weights.asset(own[0]), int8.stored_shapes(expected), device=device)
    module.load_state_dict(int8.unpack8(stored, dtype), strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _add_difference(dit: WanDiT, path: Path) -> None:
    """Make the guided transformer the few-step one, by the difference of low rank that was learnt. Raises ModelError
    where it is of other weights."""
    lora.merge(dit, weights.read(path, weights.shapes(path)), label=path.name)


def _sizes(card: Path) -> tuple[MiniVAEConfig, MiniTextConfig, WanConfig]:
    """The networks' sizes, as the card that ships beside the weights states them."""
    try:
        sizes = json.loads(card.read_text(encoding="utf-8"))["sizes"]
        vae, text, dit = (_tuples(sizes[part]) for part in ("vae", "text", "dit"))
        return MiniVAEConfig(**vae), MiniTextConfig(**text), WanConfig(**dit)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the card {card} is missing or damaged ({error}); reinstall sora") from None


def _tuples(sizes: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for any bad file
        raise ModelError(f"the tokenizer {path} is missing or damaged ({error}); reinstall sora") from None
