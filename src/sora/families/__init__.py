"""What a checkpoint is and how to drive it. To add a checkpoint: one row in MODELS. To add a family: one file here.

Importing this costs no torch: a model's grid and defaults are known before any weight is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from sora.errors import ModelError
from sora.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from sora.canvas import Canvas, Format, Latents
    from sora.sampler import Velocity


@dataclass(frozen=True)
class Defaults:
    """What a clip is when nobody says otherwise. window: the most frames painted at once; longer film is painted in
    several. context, after: known frames a window goes on from and arrives at. area: pixels a frame. shift: of the
    timesteps, 1 is none. step: a name in ``sampler.STEPS``. draft_area, draft_steps: of a quick sketch. cycle: frames
    of an endless loop. going_on: the share of the guidance's push that is left where a window goes on from film that
    stands, which says most of what the words would. arriving: the same where it must also meet film that comes after,
    which words can pull away from."""

    frames: int
    window: int
    context: int
    after: int
    cycle: int
    fps: float
    area: int
    steps: int
    draft_area: int
    draft_steps: int
    guidance: float
    shift: float
    step: str
    going_on: float = 1.0
    arriving: float = 1.0


@dataclass(frozen=True)
class ModelSpec:
    """One checkpoint. family: the module of this package that drives it. repo and revision: on the Hugging Face hub,
    empty for weights that ship inside the package. files: relative to the repo or to ``sora/assets``. camera, motion:
    the words this model understands for a ``--camera`` or ``--motion``; what is missing it cannot do."""

    name: str
    family: str
    summary: str
    licence: str
    files: tuple[str, ...]
    grid: Grid
    defaults: Defaults
    repo: str = ""
    revision: str = ""
    camera: Mapping[str, str] = field(default_factory=dict)
    motion: Mapping[str, str] = field(default_factory=dict)

    def form(self, size: tuple[int, int], fps: float, *, draft: bool = False) -> Format:
        """The format of a film of (height, width), painted at the grid's nearest size of that shape."""
        from sora.canvas import Format

        d = self.defaults
        painted = self.grid.nearest_size(size[1] / size[0], d.draft_area if draft else d.area)
        return Format(size, painted, fps, d.window, d.context, d.after, self.grid.time)


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
