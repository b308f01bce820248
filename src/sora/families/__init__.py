"""What a checkpoint is and how to drive it. To add a checkpoint: one row in MODELS. To add a family: one file here.

Importing this costs no torch: a model's grid and defaults are known before any weight is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sora.errors import ModelError
from sora.families import wan_models
from sora.families.spec import Advice, Defaults, Guided, ModelSpec
from sora.grid import Grid
from sora.speed import Speed

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sora.canvas import Canvas, Latents
    from sora.families.mini_ideas import Repertoire
    from sora.placement import Needs
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


@runtime_checkable
class Arranged(Protocol):
    """A model that may be too large for the memory there is."""

    def arrange(self, shape_FYX: tuple[int, int, int], *, encodes: bool, forced: str | None = None) -> str:
        """Chooses what is in memory when, for canvases of this shape, and says it in a line for a person. encodes:
        whether anything is known. forced: a name of ``placement.NAMES``. Raises OutOfMemory and UsageError."""
        ...


class Trainable(Model, Protocol):
    """A model whose weights a LoRA may change."""

    @property
    def dit(self) -> nn.Module:
        """The transformer, whose linear maps a LoRA changes."""
        ...

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, called: str) -> None:
        """Merges a LoRA's tensors, by ``lorafile``'s names, into the weights. Raises ModelError for what does not fit.
        called: the file's name, for what is said of it."""
        ...


MODELS: dict[str, ModelSpec] = {
    "mini": ModelSpec(
        name="mini",
        family="mini",
        summary="small cartoon world, inside the package, paints on any CPU",
        licence="Apache-2.0",
        files=(
            *("mini-few-dit.safetensors", "mini-dit.safetensors", "mini-vae.safetensors", "mini-text.safetensors"),
            *("mini.json", "mini-tokenizer.json"),
        ),
        grid=Grid(time=4, space=16, channels=32),
        defaults=Defaults(
            frames=17,
            window=33,
            context=5,
            after=4,
            cycle=32,
            fps=8.0,
            area=256 * 256,
            steps=4,
            draft_area=192 * 192,
            draft_steps=2,
            guidance=1.0,
            shift=3.0,
            step="euler",
            going_on=0.3,
            arriving=0.0,
            near=0.12,
            guided_from=0.0,
            noise_strength=0.75,
            flow_strength=0.8,
            region_share=0.8,
        ),
        speeds={
            "fast": "no faster in few steps, none of which can be spared; with --guidance 4 --steps 30 1.8 times",
            "turbo": "the same as exact: it paints with few-step weights in any case",
        },
        guided=Guided("mini-dit.safetensors", steps=6, draft_steps=3, guidance=4.0, step="unipc"),
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
        vocabulary="mini-words.json",
    ),
    **wan_models.MODELS,
}


def find(name: str) -> ModelSpec:
    """The row called ``name``, or what lies at that path: a folder in diffusers' layout, or a file with a transformer.
    Raises ModelError naming what there is, and for a path that holds no model."""
    if name in MODELS:
        return MODELS[name]
    path = Path(name).expanduser()
    if _exists(path):
        return wan_models.recognise(path, name)
    if near := _nearest(name):
        raise ModelError(f"no model is called {name!r}; the nearest is {near} (see `sora models`)")
    if path.name != name:
        raise ModelError(f"there is nothing at {name!r}; expected a model's name (see `sora models`) or a path")
    raise ModelError(f"no model is called {name!r}; there is {', '.join(MODELS)} (see `sora models`)")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or one with a zero in it, is none
        return False


def _nearest(name: str) -> str:
    """The model that someone who typed this may have meant: by its name or its place on the hub; empty for none."""
    from difflib import get_close_matches

    names = {row.name.lower(): row.name for row in MODELS.values()}
    names |= {row.repo.lower(): row.name for row in MODELS.values() if row.repo}
    found = get_close_matches(name.lower(), names, n=1)
    return names[found[0]] if found else ""


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed | None = None) -> Trainable:
    """The checkpoint in memory, ready to paint; ``speed`` None is exact, with all that makes it quick. Raises
    ModelError when its files are missing or damaged."""
    return import_module(f"sora.families.{spec.family}").load(spec, device, dtype, speed or Speed())


def needs(
    spec: ModelSpec, shape_FYX: tuple[int, int, int], device: torch.device, dtype: torch.dtype, *, encodes: bool
) -> Needs:
    """What painting canvases of this shape needs of memory, with or without the weights here. For families whose
    models are ``Arranged``."""
    from sora.families import wan_needs, wan_places

    here = wan_places.places(spec) if spec.folder else None
    return wan_needs.needs(spec, here, shape_FYX, device, dtype, encodes=encodes)


def advise(spec: ModelSpec, prompt: str, *, own_words: bool = False) -> Advice | None:
    """What a model of a closed vocabulary makes of a prompt; None for an open one. own_words: words that it does not
    know are the person's own, taught by a LoRA. Imports no torch. Raises ModelError."""
    if not spec.vocabulary:
        return None
    from sora.families import mini_advice

    return mini_advice.advice(spec.vocabulary, prompt, own_words=own_words)


def repertoire(spec: ModelSpec) -> Repertoire | None:
    """All that a model of a closed vocabulary can paint; None for an open one. Imports no torch. Raises ModelError."""
    if not spec.vocabulary:
        return None
    from sora.families import mini_ideas

    return mini_ideas.repertoire(spec.vocabulary)


def hang(model: Trainable, path: Path, strength: float) -> None:
    """Merges a LoRA's file into the model's weights, ``strength`` times. Raises InputError and ModelError."""
    from sora import lorafile

    tensors, _ = lorafile.read(path)
    model.add_lora(tensors, strength, str(path))
