"""What of a Wan model is in memory when. Networks are loaded when they are first asked for, and go when the memory plan
says that they and the next one are not to be there together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from sora import weights
from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.catalog.wan_keys import KEY_MAPS
from sora.memory import LADDER, Plan
from sora.models.wan.layout import EXPERTS, meta_module
from sora.networks.clip_vision import CLIPVision
from sora.networks.umt5 import UMT5
from sora.networks.wan.dit import WanDiT
from sora.networks.wan.vae import WanVAE
from sora.runtime import float8, lora
from sora.runtime.compile import compile_blocks
from sora.runtime.offload import stream_blocks
from sora.runtime.quantized import shrink, store
from sora.runtime.speed import DEFAULT, Speed
from sora.runtime.winograd import Winograd

OFFLOADED_BLOCKS = re.compile(r"(vace_)?blocks\.|encoder\.block\.")  # what waits in CPU memory where a plan streams
ENCODERS = ("text_encoder", "image_encoder")
KEY_MAP_OF = {"vae": "vae", "text_encoder": "text", "image_encoder": "image", **dict.fromkeys(EXPERTS, "transformer")}


@dataclass
class Components:
    """The networks of one model. places: of ``wan_places``. dtype: of the encoders and the transformer; the autoencoder
    stays in float32, as in its reference. plan: changes what is loaded from then on."""

    spec: ModelSpec
    component_paths: Mapping[str, Path]
    device: torch.device
    dtype: torch.dtype
    speed: Speed = DEFAULT
    plan: Plan = LADDER[0]
    _loaded: dict[str, nn.Module] = field(default_factory=dict)
    _loras: list[tuple[Mapping[str, Tensor], float, str]] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.component_paths

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(name for name in EXPERTS if self.has(name))

    @cached_property
    def uses_last_image(self) -> bool:
        """Whether the transformer was taught on a first and a last picture."""
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
        return self._get(self.experts[number])  # type: ignore[return-value]

    def meta_module(self, name: str) -> nn.Module:
        """A part without its weights, on the meta device. Raises ModelError."""
        return meta_module(self.spec, name, self.component_paths[name])

    def follow(self, plan: Plan) -> None:
        """From now on. What another plan has loaded goes."""
        if plan != self.plan:
            self.drop()
            self.plan = plan

    def drop(self) -> None:
        """Everything goes; what is asked for next is loaded again, by the plan of that time."""
        self._loaded.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        """To the experts it is for, whenever they are loaded from now on, since weights that stream must not change
        where they stand. Raises ModelError for what does not fit."""
        for expert in self._lora_experts(name):
            lora.check(self.meta_module(expert), tensors, name)
            self._loaded.pop(expert, None)
        self._loras.append((tensors, strength, name))

    def _lora_experts(self, called: str) -> tuple[str, ...]:
        """All experts; of two, the one that a file's name tells, as LoRAs of Wan 2.2 come in pairs."""
        told = [word for word in ("high", "low") if re.search(rf"(?<![a-z]){word}(?![a-z])", Path(called).stem.lower())]
        if len(self.experts) == 1 or len(told) != 1:
            return self.experts
        return (self.experts[told == ["low"]],)

    def _get(self, name: str) -> nn.Module:
        if name not in self._loaded:
            for other in [other for other in self._loaded if self._excludes(name, other)]:
                del self._loaded[other]
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _excludes(self, name: str, other: str) -> bool:
        """Whether the plan does not have these two in memory together."""
        pair, plan = {name, other}, self.plan
        if pair & set(ENCODERS):
            return plan.text != "resident" and not pair <= set(ENCODERS)
        if "vae" in pair:
            return plan.alone
        return plan.one_expert

    def _load(self, name: str) -> nn.Module:
        part, plan = self.meta_module(name), self.plan
        dtype = torch.float32 if name == "vae" else self.dtype
        shrinks = name in EXPERTS and plan.storage == "fp8"
        streams = plan.blocks is not None if name in EXPERTS else name in ENCODERS[:1] and plan.text == "streamed"
        waits = torch.device("cpu") if streams or shrinks else self.device
        place = lambda tensor: waits if OFFLOADED_BLOCKS.match(tensor) else self.device  # noqa: E731
        weights.load_checkpoint(
            part, self.component_paths[name], kind=KEY_MAPS[KEY_MAP_OF[name]], device=place, dtype=dtype, store=store
        )
        if name in EXPERTS:
            for tensors, strength, called in self._loras:
                if name in self._lora_experts(called):
                    lora.merge(part, tensors, strength, called=called)
        if shrinks:
            for block in _blocks(part):
                shrink(block)
            part.to(self.device)
        elif streams:
            stream_blocks(_blocks(part), self.device, (plan.blocks or 0) if name in EXPERTS else 0)
        elif isinstance(part, WanDiT):
            self._optimize(part)
        if isinstance(part, WanVAE):
            part.convolver = Winograd if self.speed.uses("winograd") else None
        return part

    def _optimize(self, dit: WanDiT) -> None:
        """What needs weights that stay where they are."""
        if self.speed.fast and float8.capable(self.device) and self.dtype == torch.bfloat16:
            float8.in_float8(dit.turns())
        if self.speed.uses("fused"):
            dit.fuse()
        if self.speed.uses("compile") and self.device.type == "cuda":
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(hub.own_cache() / "compiled"))
            compile_blocks(dit.turns())


def _blocks(network: nn.Module) -> list[nn.Module]:
    """In the order of their turns."""
    if isinstance(network, UMT5):
        return list(network.encoder.block)
    assert isinstance(network, WanDiT)
    return network.turns()
