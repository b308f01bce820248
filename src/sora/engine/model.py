"""What the engine asks of a model: the protocols that a family fulfils."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sora.catalog.spec import ModelSpec
    from sora.engine.canvas import Canvas, Latents
    from sora.engine.sampler import Velocity


class Model(Protocol):
    """A loaded checkpoint, as the engine sees it."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> torch.device: ...

    def encode(self, canvas: Canvas) -> Latents:
        """The canvas in latent space."""
        ...

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        """Pixel frames as chunks of (F, 3, Y, X) in [-1, 1], streamed in order."""
        ...

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        """A velocity field that knows the text, the known pixels and the guidance scale."""
        ...


@runtime_checkable
class Offloadable(Protocol):
    """A model that may be too large for the memory there is."""

    def plan_memory(self, shape_FYX: tuple[int, int, int], *, encodes: bool, forced: str | None = None) -> str:
        """Chooses what is in memory when, for canvases of this shape, and says it in a line for a person. encodes:
        whether anything is known. forced: a name of ``memory.NAMES``. Raises OutOfMemory and UsageError."""
        ...


@runtime_checkable
class Scheduled(Protocol):
    """A model that samples at times of its own. Others do at those of ``sampler.scheduled``."""

    def schedule(self, sampler: str, steps: int, shift: float, strength: float, tokens: int) -> Tensor:
        """Times in [0, 1] falling to 0, float32 on the CPU: the last ``strength`` of a run's. step: a name in
        ``sampler.STEPS``. tokens: that the transformer sees of the canvas."""
        ...


class Trainable(Model, Protocol):
    """A model whose weights a LoRA may change."""

    @property
    def dit(self) -> nn.Module:
        """The transformer, whose linear maps a LoRA changes."""
        ...

    @property
    def lora_targets(self) -> Sequence[str]:
        """Which of its linear maps a LoRA is trained on: the ends of their names."""
        ...

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        """Merges a LoRA's tensors, by ``weights.lora_file``'s names, into the weights. called: the file's name, for
        what is said of it. Raises ModelError for what does not fit."""
        ...
