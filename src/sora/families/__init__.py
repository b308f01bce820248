"""What a checkpoint is and how to drive it. To add a checkpoint: one row in MODELS. To add a family: one file here.

Importing this costs no torch: a model's grid and defaults are known before any weight is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from sora.errors import ModelError
from sora.families.spec import Defaults, ModelSpec
from sora.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from sora.canvas import Canvas, Latents
    from sora.sampler import Velocity


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

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative: str, guidance: float) -> Velocity:
        """A velocity field that knows the text, the known pixels and the guidance scale."""
        ...

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt this model never learnt; empty for models with an open vocabulary."""
        ...


class Trainable(Model, Protocol):
    """A model whose weights a LoRA may change."""

    @property
    def dit(self) -> nn.Module:
        """The transformer, whose linear maps a LoRA changes."""
        ...


MODELS: dict[str, ModelSpec] = {
    "mini": ModelSpec(
        name="mini",
        family="mini",
        summary="small cartoon world, inside the package, paints on any CPU",
        licence="Apache-2.0",
        files=("mini.safetensors", "mini.json", "mini-tokenizer.json"),
        grid=Grid(time=4, space=8, channels=16),
        defaults=Defaults(
            frames=17,
            window=17,
            context=5,
            after=4,
            cycle=32,
            fps=8.0,
            area=128 * 128,
            steps=12,
            draft_area=112 * 112,
            draft_steps=3,
            guidance=4.0,
            shift=3.0,
            step="euler",
            going_on=0.3,
            arriving=0.0,
        ),
        camera={"static": "", "pan-left": "the camera pans left", "pan-right": "the camera pans right"},
        motion={
            "left": "moving to the left",
            "right": "moving to the right",
            "up": "moving up",
            "down": "moving down",
            "bounce": "bouncing up and down",
            "spin": "spinning around",
            "grow": "gets bigger",
            "shrink": "gets smaller",
            "still": "stands still",
        },
    ),
}


def find(name: str) -> ModelSpec:
    """The row called ``name``. Raises ModelError naming what there is."""
    try:
        return MODELS[name]
    except KeyError:
        raise ModelError(f"no model is called {name!r}; there is {', '.join(MODELS)} (see `sora models`)") from None


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> Trainable:
    """The checkpoint in memory, ready to paint. Raises ModelError when its files are missing or damaged."""
    return import_module(f"sora.families.{spec.family}").load(spec, device, dtype)


def hang(model: Trainable, path: Path, strength: float) -> None:
    """Merges a LoRA's file into the model's weights, ``strength`` times. Raises InputError and ModelError."""
    from sora import lorafile
    from sora.networks import lora

    tensors, _ = lorafile.read(path)
    lora.merge(model.dit, tensors, strength, called=str(path))
