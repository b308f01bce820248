"""What the engine expects of a model: the protocols that a model family implements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sora.catalog.spec import ModelSpec
    from sora.engine.canvas import Canvas, Latents
    from sora.engine.velocity import Velocity
    from sora.runtime.parallel.ranks import Ranks
    from sora.runtime.parallel.workers import Workers


class Model(Protocol):
    """A loaded checkpoint, as the engine sees it."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> torch.device: ...

    def encode(self, canvas: Canvas) -> Latents:
        """Encode a canvas to latent space."""
        ...

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        """Decode latents to frames: chunks (F, 3, Y, X) in [-1, 1], streamed in order."""
        ...

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        """The velocity under these prompts, known pixels and guidance scale (1 disables guidance), for the sampler to
        evaluate. Prompts may hold weights, see ``plan.weighting``."""
        ...


@runtime_checkable
class Offloadable(Protocol):
    """A model that may be too large for the device, and whose networks can then be offloaded."""

    def plan_memory(
        self,
        shape_FYX: tuple[int, int, int],
        *,
        encodes: bool,
        references: int = 0,
        forced: str | None = None,
        sampling_seconds: float | None = None,
    ) -> str:
        """Choose and apply the memory plan of a job with canvases of (frames, height, width); returns a line that
        describes it. encodes: whether any pixel is known, so that the VAE's encoder runs. references: pictures that are
        shown with each. forced: the name of a plan, one of ``memory.NAMES``; None to choose. sampling_seconds: that the
        job's passes are predicted to take uncompiled, by which the model may choose to compile; None: unknown. Raises
        OutOfMemory and UsageError."""
        ...


@runtime_checkable
class Scheduled(Protocol):
    """A model with a schedule of its own. Others sample at the times of ``sampler.timesteps_for_strength``."""

    def schedule(self, sampler: str, steps: int, shift: float, strength: float, tokens: int) -> Tensor:
        """Times in [0, 1] that fall to 0, float32 on the CPU: the last ``strength`` in (0, 1] of a whole run's.
        sampler: a name in ``sampler.SAMPLERS``. tokens: how many tokens the transformer makes of the
        canvas; of the largest, where a clip is painted in several."""
        ...


@runtime_checkable
class Batchable(Protocol):
    """A model that samples several canvases at once which are alike in all but their prompts."""

    def batched_windows(self, shape_FYX: tuple[int, int, int]) -> int:
        """How many canvases of (frames, height, width) of which nothing is known should be sampled at once: where that
        pays, and as many as fit in memory. 1 is none."""
        ...

    def bind_batch(
        self, canvas: Canvas, latents: Latents, prompts: Sequence[str], negative_prompt: str, guidance: float
    ) -> Velocity:
        """As ``Model.bind``, for x of (B, C, T, H, W) with a prompt for each sample. Nothing of the canvas is known."""
        ...


@runtime_checkable
class Parallelizable(Protocol):
    """A model whose passes several processes can compute together, each on a device of its own. Its ``plan_memory``
    also takes guided: whether there are two passes a step to divide."""

    @property
    def workers(self) -> Workers | None:
        """The other processes, None for this one alone."""
        ...

    def parallelize(self, workers: Workers) -> Model:
        """The same model on rank 0, which computes with these from now on."""
        ...

    def serve(self, ranks: Ranks) -> Callable[[Any], Any]:
        """What handles the messages of rank 0 in another process."""
        ...


@runtime_checkable
class LoadedLate(Protocol):
    """A model whose transformer is loaded when it is first used."""

    @property
    def meta_dit(self) -> nn.Module:
        """The transformer without its weights, on the meta device."""
        ...


class Trainable(Model, Protocol):
    """A model that takes LoRAs, and that they can be trained on."""

    @property
    def dit(self) -> nn.Module:
        """The transformer, whose linear layers a LoRA changes."""
        ...

    @property
    def lora_targets(self) -> Sequence[str]:
        """Which of its linear layers a LoRA is trained on, by the ends of their names."""
        ...

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        """Merge a LoRA's tensors, under the names of ``weights.lora_file``, into the weights. name: the file's, for
        error messages. Raises ModelError where the tensors do not fit."""
        ...
