"""The networks of a Wan model. Each is loaded when it is first used, and unloaded when the memory plan does not keep it
in memory together with the next one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sora import weights
from sora.catalog.spec import ModelSpec
from sora.catalog.wan_experts import expert_of
from sora.catalog.wan_keys import KEY_MAPS
from sora.errors import ModelError
from sora.memory import PLANS_BY_SPEED, MemoryPlan, free_ram
from sora.models.compiling import Compiling
from sora.models.wan.float8_blocks import convert_block_to_float8, convert_blocks_to_float8
from sora.models.wan.layout import EXPERTS, meta_module
from sora.models.wan.needs import multiplies_in_float8
from sora.networks.clip_vision import CLIPVision
from sora.networks.umt5 import UMT5
from sora.networks.wan.dit import SequenceParallel, WanDiT
from sora.networks.wan.vae import WanVAE
from sora.runtime import linear_gelu, lora
from sora.runtime.background import Background, Work
from sora.runtime.norm_silu import fused_activation
from sora.runtime.offload import offload_blocks
from sora.runtime.quantized import quantize_to_float8, replace_with_quantized
from sora.runtime.speed import DEFAULT_SPEED, Speed
from sora.runtime.winograd import Winograd
from sora.weights import loading_time, source
from sora.weights.page_cache import read_into_page_cache

OFFLOADED_BLOCKS = re.compile(r"(vace_)?blocks\.|encoder\.block\.")  # stay in CPU memory under block offload
MAX_LATENTS_AT_ONCE = 4
"""In a chunk of the VAE's in half precision, which is for CUDA. On an H100 81 frames of Wan 2.1 took 20.0 ms each one
latent at a time and 18.7 four at a time, in bfloat16."""
ENCODERS = ("text_encoder", "image_encoder")
IN_ORDER = (*ENCODERS, *EXPERTS, "vae")
"""The networks as a film uses them. An autoencoder that encodes first is loaded by itself."""

UNDISTURBED_ON = ("cuda",)
"""Devices on which nothing is loaded while a transformer works: attention kernels may be timed then, which what is
copied would falsify, and copies would wait for its passes. Files are read all the same."""

MAX_SHARE_OF_RAM = 0.75
"""Of the memory that is free: the most bytes of files that are read ahead."""

KEY_MAP_OF = {"vae": "vae", "text_encoder": "text", "image_encoder": "image", **dict.fromkeys(EXPERTS, "transformer")}


@dataclass
class Components:
    """The networks of one model. component_paths: of ``layout.component_paths``. dtype: of the text and image encoders
    and the transformer. plan: how networks are loaded from now on. wide_vae: the dtype of a VAE that has overflowed
    float16, None as long as it has not. most_latents_at_once: in a chunk of the VAE's. sequence: divides the
    transformer's tokens among several processes; None for one. compiling: the choice whether transformers are
    compiled."""

    spec: ModelSpec
    component_paths: Mapping[str, Path]
    device: torch.device
    dtype: torch.dtype
    speed: Speed = DEFAULT_SPEED
    plan: MemoryPlan = PLANS_BY_SPEED[0]
    wide_vae: torch.dtype | None = None
    most_latents_at_once: int = field(default=1, init=False)
    sequence: SequenceParallel | None = None
    compiling: Compiling = field(default_factory=Compiling)
    _loaded: dict[str, nn.Module] = field(default_factory=dict)
    _loras: list[tuple[Mapping[str, Tensor], float, str]] = field(default_factory=list)
    _ahead: Background[nn.Module | None] = field(default_factory=Background, init=False)

    def __post_init__(self) -> None:
        self.most_latents_at_once = 1 if self.vae_dtype == torch.float32 else MAX_LATENTS_AT_ONCE

    def has(self, name: str) -> bool:
        return name in self.component_paths

    def expect(self, sampling_seconds: float | None) -> None:
        """Before a job whose passes are predicted to take so many seconds uncompiled; None: unknown. Transformers in
        memory are compiled if that pays by now."""
        self.compiling.expect(sampling_seconds)
        for name in self.experts:
            if name in self._loaded:
                self._compile(self._loaded[name])

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(name for name in EXPERTS if self.has(name))

    @cached_property
    def uses_last_image(self) -> bool:
        """Whether the transformer was trained on a first and a last frame (FLF2V)."""
        return self.meta_module(self.experts[0]).config.pos_embed_seq_len is not None  # type: ignore[union-attr]

    @property
    def vae(self) -> WanVAE:
        return self._get("vae")  # type: ignore[return-value]

    @property
    def text_encoder(self) -> UMT5:
        return self._get("text_encoder")  # type: ignore[return-value]

    @property
    def image_encoder(self) -> CLIPVision:
        return self._get("image_encoder")  # type: ignore[return-value]

    def expert(self, number: int) -> WanDiT:
        network = self._get(self.experts[number])
        if self.device.type in UNDISTURBED_ON:
            self._ahead.wait()
        return network  # type: ignore[return-value]

    def meta_module(self, name: str) -> nn.Module:
        """A network without its weights, on the meta device. Raises ModelError."""
        return meta_module(self.spec, name, self.component_paths[name])

    @property
    def vae_dtype(self) -> torch.dtype:
        """Of the VAE: float32, as in its reference, or float16 on CUDA, which is at least 60 dB from that and takes
        half the time and memory. Asked for float32, everything is in float32."""
        return self.wide_vae or usual_vae_dtype(self.device, self.dtype, self.speed)

    def widen_vae(self, dtype: torch.dtype) -> None:
        """Load the VAE in this dtype from now on."""
        self.wide_vae, self.most_latents_at_once = dtype, 1
        self._ahead.stop()
        self._loaded.pop("vae", None)

    def apply_plan(self, plan: MemoryPlan) -> None:
        """Load by this plan from now on. Networks that were loaded by another plan are unloaded."""
        if plan != self.plan:
            self.unload()
            self.plan = plan

    def unload(self) -> None:
        """Unload all networks; each is loaded again when it is next used."""
        self._ahead.stop()
        self._loaded.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        """Add a LoRA to the experts that it is for. It is merged whenever they are loaded from now on, since the
        weights of offloaded blocks must not change in place. Raises ModelError where it does not fit."""
        self._ahead.stop()
        for expert in self._lora_experts(name):
            lora.check_fits(self.meta_module(expert), tensors, name)
            self._loaded.pop(expert, None)
        self._loras.append((tensors, strength, name))

    def _lora_experts(self, name: str) -> tuple[str, ...]:
        """The experts that a LoRA is for: all, or of two the one in the file's name, since LoRAs of Wan 2.2 come in
        pairs ("high" and "low" noise)."""
        named = expert_of(Path(name).name.removesuffix(".safetensors"))
        if len(self.experts) == 1 or named is None:
            return self.experts
        return (self.experts[named == "low"],)

    def _get(self, name: str) -> nn.Module:
        if name not in self._loaded:
            ahead = self._taken(name)
            self._loaded[name] = self._load_alone(name) if ahead is None else ahead
            if name in EXPERTS:
                self._compile(self._loaded[name])
        return self._loaded[name]

    def _taken(self, name: str) -> nn.Module | None:
        """A network that was loaded ahead. What failed there for want of memory is tried again by the caller."""
        try:
            with loading_time.counted():
                return self._ahead.take(name)
        except (torch.OutOfMemoryError, MemoryError):
            return None

    def _load_alone(self, name: str) -> nn.Module:
        """Load a network now, and then in a thread those that are used after it."""
        self._ahead.stop()
        for other in [other for other in self._loaded if self._excludes(name, other)]:
            del self._loaded[other]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        network = self._load(name)
        if self.speed.uses("load-ahead"):
            self._ahead.start(list(self._works_after(name)))
        return network

    def _works_after(self, name: str) -> Iterator[Work[nn.Module | None]]:
        """What a thread does while a network works: it loads those that are used next where the plan keeps them in
        memory together with all that is there, then reads the files of the others into the system's cache."""
        later = IN_ORDER[1 + IN_ORDER.index(name) :]
        later = [other for other in later if self.has(other) and other not in self._loaded]
        together = [name, *self._loaded]
        for other in later if name in ENCODERS or self.device.type not in UNDISTURBED_ON else ():
            if not any(self._excludes(other, one) for one in together):
                together.append(other)
                # Of a copy, so that the thread does not keep these components, nor see what changes in them.
                yield Work(other, partial(_load_on, self._cuda_device, replace(self, _loaded={}), other))
        for other in later:
            if other not in together:
                yield Work(other, partial(_read_ahead, self.component_paths[other]), is_result=False)

    @property
    def _cuda_device(self) -> int | None:
        """The current device, which is another in each thread."""
        return torch.cuda.current_device() if self.device.type == "cuda" else None

    def _excludes(self, name: str, other: str) -> bool:
        """Whether the plan does not keep these two networks in memory together."""
        pair, plan = {name, other}, self.plan
        if pair & set(ENCODERS):
            return plan.text_encoder != "resident" and not pair <= set(ENCODERS)
        if "vae" in pair:
            return plan.separate_vae
        return plan.single_expert

    @torch.inference_mode(False)
    @torch.no_grad()
    def _load(self, name: str, check: Callable[[], None] = lambda: None) -> nn.Module:
        """Load a network as the plan says. Not in inference mode, so that it is the same whenever it is loaded. check:
        called after each tensor; what it raises ends the loading."""
        network, plan = self.meta_module(name), self.plan
        dtype = self.vae_dtype if name == "vae" else self.dtype
        quantise = name in EXPERTS and plan.storage == "fp8"
        offload = (
            plan.resident_blocks is not None
            if name in EXPERTS
            else name in ENCODERS[:1] and plan.text_encoder == "streamed"
        )
        load_device = torch.device("cpu") if offload or quantise else self.device
        device_of = lambda tensor: load_device if OFFLOADED_BLOCKS.match(tensor) else self.device  # noqa: E731
        weights.load_checkpoint(
            network,
            self.component_paths[name],
            rules=KEY_MAPS[KEY_MAP_OF[name]],
            device=device_of,
            dtype=dtype,
            store=replace_with_quantized,
            on_bytes=lambda *_: check(),
        )
        if name in EXPERTS:
            for tensors, strength, called in self._loras:
                if name in self._lora_experts(called):
                    lora.merge(network, tensors, strength, label=called)
            if self.sequence is not None and isinstance(network, WanDiT):
                network.parallelize(self.sequence)
        if quantise:
            for block in _blocks_in_order(network):
                quantize_to_float8(block)
            network.to(self.device)
        elif offload:
            is_float8 = name in EXPERTS and self._multiplies_in_float8
            offload_blocks(
                _blocks_in_order(network),
                self.device,
                (plan.resident_blocks or 0) if name in EXPERTS else 0,
                convert=convert_block_to_float8 if is_float8 else None,
            )
        elif isinstance(network, WanDiT):
            self._optimize(network)
        if isinstance(network, WanDiT) and self.speed.uses("fused") and linear_gelu.is_supported(self.device, dtype):
            network.use_linear_gelu(linear_gelu.linear_gelu)
        if isinstance(network, WanVAE):
            network.convolver = Winograd if self.speed.uses("winograd") else None
            if dtype != torch.float32:
                network.in_channels_last().activation = fused_activation(self.device, dtype)
        return network

    def _optimize(self, dit: WanDiT) -> None:
        """Optimise a transformer whose weights all stay on the device."""
        if self._multiplies_in_float8:
            convert_blocks_to_float8(dit)
        if self.speed.uses("fused"):
            dit.fuse_qkv()

    @property
    def _multiplies_in_float8(self) -> bool:
        """Whether wide layers of transformers do, where their weights are not quantized already."""
        return multiplies_in_float8(self.speed, self.device, self.dtype)

    def _compile(self, network: nn.Module) -> None:
        assert isinstance(network, WanDiT)
        self.compiling.apply(network, self.device, self.speed)


def _load_on(cuda_device: int | None, components: Components, name: str, check: Callable[[], None]) -> nn.Module:
    """Load a network in this thread."""
    if cuda_device is not None:
        torch.cuda.set_device(cuda_device)
    return components._load(name, check)


def _read_ahead(path: Path, check: Callable[[], None]) -> None:
    """Read a network's files into the system's cache, where there is room for them in memory that nobody uses."""
    with suppress(ModelError):  # whoever loads it says what is wrong
        read_into_page_cache(source.files(path), round(MAX_SHARE_OF_RAM * free_ram()), check)


def usual_vae_dtype(device: torch.device, dtype: torch.dtype, speed: Speed) -> torch.dtype:
    """Of the VAE, as long as float16 does not overflow. dtype: of the other networks."""
    half = device.type == "cuda" and dtype != torch.float32 and speed.uses("half-vae")
    return torch.float16 if half else torch.float32


def _blocks_in_order(network: nn.Module) -> list[nn.Module]:
    """The blocks of a text encoder or a transformer, in the order in which they run."""
    if isinstance(network, UMT5):
        return list(network.encoder.block)
    assert isinstance(network, WanDiT)
    return network.blocks_in_order()
