"""What is where, and when: the plans there are, in order of preference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sora.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """name: as ``--memory`` takes it.

    text: the text encoder (and the image encoder) stay, or work before all else is there and then go, or do so block by
    block out of CPU memory. alone: the transformer and the autoencoder are never there together. one_prompt: a prompt
    and its negative go through the transformer one after another. one_expert: of two experts, one is there at a time.
    blocks: how many of the transformer's blocks stay while the rest stream out of CPU memory, None for all of them.
    storage: of the transformer's linear weights; float8 alone changes the picture. tile: most latents of a tile's side
    in the autoencoder, None for no tiles.
    """

    name: str
    text: Literal["resident", "dropped", "streamed"] = "dropped"
    alone: bool = True
    one_prompt: bool = True
    one_expert: bool = True
    blocks: int | None = None
    storage: Literal["native", "fp8"] = "native"
    tile: int | None = None

    @property
    def exact(self) -> bool:
        """Whether it paints what all other exact plans paint."""
        return self.storage == "native"

    @property
    def traits(self) -> list[str]:
        """What it does, in words for a person."""
        holds = {
            "everything resident": self.text == "resident",
            "text encoder dropped after use": self.text == "dropped",
            "text encoder streamed, then dropped": self.text == "streamed",
            "prompt and negative in turn": self.one_prompt,
            "one expert at a time": self.one_expert,
            f"blocks streamed from CPU memory, {self.blocks} stay": self.blocks is not None,
            "weights kept in float8": self.storage == "fp8",
            "transformer and autoencoder apart": self.alone,
            "decoded in tiles": self.tile is not None,
        }
        return [trait for trait, true in holds.items() if true]


TILE = 32  # latents; smaller ones read mostly what they share with their neighbours

LADDER: tuple[Plan, ...] = (
    Plan("resident", text="resident", alone=False, one_prompt=False, one_expert=False),
    Plan("text-dropped", alone=False, one_prompt=False, one_expert=False),
    Plan("decode-alone", one_prompt=False, one_expert=False),
    Plan("one-prompt", one_expert=False),
    Plan("one-expert"),
    Plan("tiled", tile=TILE),
    Plan("streamed", blocks=0),
    Plan("streamed-tiled", blocks=0, tile=TILE),
    Plan("fp8", storage="fp8", tile=TILE),
)
"""From the fastest to the smallest. Only exact plans are chosen unasked; the last comes by name alone."""

NAMES = tuple(plan.name for plan in LADDER)


def find(name: str) -> Plan:
    """The plan called ``name``. Raises UsageError naming what there is."""
    for plan in LADDER:
        if plan.name == name:
            return plan
    raise UsageError(f"no memory plan is called {name!r}; try --memory {', '.join(NAMES)}")
