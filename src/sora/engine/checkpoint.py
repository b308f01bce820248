"""What of a painting can be kept while it goes on, so that it can be taken up again after its process is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SamplerState:
    """A run of a sampler between two steps. step: how many are done. latents: (B, C, T, H, W) after them. history: of
    the sampler. velocity: what the velocity remembers, by name. denoised: the clean latents as this step predicts them,
    to show how far it is; None where nobody needs them."""

    step: int
    latents: Tensor
    history: tuple[Tensor, ...] = ()
    velocity: Mapping[str, Tensor] = field(default_factory=dict)
    denoised: Tensor | None = None


class Checkpoint(Protocol):
    """What is kept of one canvas. Whoever implements it may keep everything or nothing; what it gives back makes the
    same frames as painting anew."""

    def state(self) -> SamplerState | None:
        """The last state that was kept, None where sampling starts from noise."""
        ...

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        """A step is done. state: makes a state to keep, which costs nothing unless it is called. Whatever is raised
        here ends the painting."""
        ...

    def latents(self) -> Tensor | None:
        """The finished latents, where they were kept."""
        ...

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        """Sampling is done."""
        ...

    def frames(self) -> Iterator[Tensor] | None:
        """The finished frames, uint8 chunks (F, 3, Y, X), where all of them were kept."""
        ...

    def keep_frames(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same chunks, kept as they pass."""
        ...


class NoCheckpoint:
    """Keeps nothing."""

    def state(self) -> SamplerState | None:
        return None

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        pass

    def latents(self) -> Tensor | None:
        return None

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        pass

    def frames(self) -> Iterator[Tensor] | None:
        return None

    def keep_frames(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        return chunks


NO_CHECKPOINT: Checkpoint = NoCheckpoint()

Checkpoints = Callable[[str], Checkpoint]
"""The checkpoint of a canvas by its name: "window-0001", "tile-0012"."""


def keep_nothing(name: str) -> Checkpoint:  # noqa: ARG001
    """``Checkpoints`` that keep nothing."""
    return NO_CHECKPOINT
