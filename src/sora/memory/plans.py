"""The memory plans, in order of preference: what is on the device, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sora.errors import UsageError


@dataclass(frozen=True)
class MemoryPlan:
    """name: as ``--memory`` takes it.

    text_encoder: whether the text and image encoders stay (resident), run first and are then unloaded (dropped), or do
    so block by block from CPU memory (streamed). separate_vae: the transformer and the autoencoder are never loaded
    together. sequential_guidance: prompt and negative prompt run one after the other. single_expert: of two experts,
    one is loaded at a time. resident_blocks: how many of the transformer's blocks stay on the device while the rest is
    offloaded to CPU memory, None for all. storage: of the transformer's linear weights; float8 alone changes the
    picture. tile: most latents along a tile's side in the autoencoder, None for no tiles.
    """

    name: str
    text_encoder: Literal["resident", "dropped", "streamed"] = "dropped"
    separate_vae: bool = True
    sequential_guidance: bool = True
    single_expert: bool = True
    resident_blocks: int | None = None
    storage: Literal["native", "fp8"] = "native"
    tile: int | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it produces the same frames as all other exact plans."""
        return self.storage == "native"

    @property
    def traits(self) -> list[str]:
        """What it does, in words for a person."""
        holds = {
            "everything resident": self.text_encoder == "resident",
            "text encoder dropped after use": self.text_encoder == "dropped",
            "text encoder streamed, then dropped": self.text_encoder == "streamed",
            "prompt and negative in turn": self.sequential_guidance,
            "one expert at a time": self.single_expert,
            f"blocks streamed from CPU memory, {self.resident_blocks} stay": self.resident_blocks is not None,
            "weights kept in float8": self.storage == "fp8",
            "transformer and autoencoder apart": self.separate_vae,
            "decoded in tiles": self.tile is not None,
        }
        return [trait for trait, true in holds.items() if true]


TILE = 32  # latents; smaller ones read mostly what they share with their neighbours

PLANS_BY_SPEED: tuple[MemoryPlan, ...] = (
    MemoryPlan("resident", text_encoder="resident", separate_vae=False, sequential_guidance=False, single_expert=False),
    MemoryPlan("text-dropped", separate_vae=False, sequential_guidance=False, single_expert=False),
    MemoryPlan("decode-alone", sequential_guidance=False, single_expert=False),
    MemoryPlan("one-prompt", single_expert=False),
    MemoryPlan("one-expert"),
    MemoryPlan("tiled", tile=TILE),
    MemoryPlan("streamed", resident_blocks=0),
    MemoryPlan("streamed-tiled", resident_blocks=0, tile=TILE),
    MemoryPlan("fp8", storage="fp8", tile=TILE),
)
"""From the fastest to the smallest. Only exact plans are chosen unasked; the last comes by name alone."""

PLAN_NAMES = tuple(plan.name for plan in PLANS_BY_SPEED)


def find(name: str) -> MemoryPlan:
    """The plan called ``name``. Raises UsageError naming what there is."""
    for plan in PLANS_BY_SPEED:
        if plan.name == name:
            return plan
    raise UsageError(f"no memory plan is called {name!r}; try --memory {', '.join(PLAN_NAMES)}")
