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
from sora.models.wan.layout import EXPERTS, network
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

STREAMED = re.compile(r"(vace_)?blocks\.|encoder\.block\.")  # what waits in CPU memory where a plan streams
READERS = ("text_encoder", "image_encoder")
KINDS = {"vae": "vae", "text_encoder": "text", "image_encoder": "image", **dict.fromkeys(EXPERTS, "transformer")}


@dataclass
class Parts:
    """The networks of one model. places: of ``wan_places``. dtype: of the encoders and the transformer; the autoencoder
    stays in float32, as in its reference. plan: changes what is loaded from then on."""

    spec: ModelSpec
    places: Mapping[str, Path]
    device: torch.device
    dtype: torch.dtype
    speed: Speed = DEFAULT
    plan: Plan = LADDER[0]
    _here: dict[str, nn.Module] = field(default_factory=dict)
    _loras: list[tuple[Mapping[str, Tensor], float, str]] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.places

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(name for name in EXPERTS if self.has(name))

    @cached_property
    def sees_two(self) -> bool:
        """Whether the transformer was taught on a first and a last picture."""
        return self.sketch(self.experts[0]).config.pos_embed_seq_len is not None  # type: ignore[union-attr]

    @property
    def vae(self) -> WanVAE:
        return self._get("vae")  # type: ignore[return-value]

    @property
    def text(self) -> UMT5:
        return self._get("text_encoder")  # type: ignore[return-value]

    @property
    def image(self) -> CLIPVision:
        return self._get("image_encoder")  # type: ignore[return-value]

    def expert(self, number: int) -> WanDiT:
        return self._get(self.experts[number])  # type: ignore[return-value]

    def sketch(self, name: str) -> nn.Module:
        """A part without its weights, on the meta device. Raises ModelError."""
        return network(self.spec, name, self.places[name])

    def follow(self, plan: Plan) -> None:
        """From now on. What another plan has loaded goes."""
        if plan != self.plan:
            self.drop()
            self.plan = plan

    def drop(self) -> None:
        """Everything goes; what is asked for next is loaded again, by the plan of that time."""
        self._here.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, called: str) -> None:
        """To the experts it is for, whenever they are loaded from now on, since weights that stream must not change
        where they stand. Raises ModelError for what does not fit."""
        for name in self._meant(called):
            lora.check(self.sketch(name), tensors, called)
            self._here.pop(name, None)
        self._loras.append((tensors, strength, called))

    def _meant(self, called: str) -> tuple[str, ...]:
        """All experts; of two, the one that a file's name tells, as LoRAs of Wan 2.2 come in pairs."""
        told = [word for word in ("high", "low") if re.search(rf"(?<![a-z]){word}(?![a-z])", Path(called).stem.lower())]
        if len(self.experts) == 1 or len(told) != 1:
            return self.experts
        return (self.experts[told == ["low"]],)

    def _get(self, name: str) -> nn.Module:
        if name not in self._here:
            for other in [other for other in self._here if self._apart(name, other)]:
                del self._here[other]
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._here[name] = self._load(name)
        return self._here[name]

    def _apart(self, name: str, other: str) -> bool:
        """Whether the plan does not have these two in memory together."""
        pair, plan = {name, other}, self.plan
        if pair & set(READERS):
            return plan.text != "resident" and not pair <= set(READERS)
        if "vae" in pair:
            return plan.alone
        return plan.one_expert

    def _load(self, name: str) -> nn.Module:
        part, plan = self.sketch(name), self.plan
        dtype = torch.float32 if name == "vae" else self.dtype
        shrinks = name in EXPERTS and plan.storage == "fp8"
        streams = plan.blocks is not None if name in EXPERTS else name in READERS[:1] and plan.text == "streamed"
        waits = torch.device("cpu") if streams or shrinks else self.device
        place = lambda tensor: waits if STREAMED.match(tensor) else self.device  # noqa: E731
        weights.load_checkpoint(
            part, self.places[name], kind=KEY_MAPS[KINDS[name]], device=place, dtype=dtype, store=store
        )
        if name in EXPERTS:
            for tensors, strength, called in self._loras:
                if name in self._meant(called):
                    lora.merge(part, tensors, strength, called=called)
        if shrinks:
            for block in _blocks(part):
                shrink(block)
            part.to(self.device)
        elif streams:
            stream_blocks(_blocks(part), self.device, (plan.blocks or 0) if name in EXPERTS else 0)
        elif isinstance(part, WanDiT):
            self._quicken(part)
        if isinstance(part, WanVAE):
            part.convolver = Winograd if self.speed.uses("winograd") else None
        return part

    def _quicken(self, dit: WanDiT) -> None:
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
