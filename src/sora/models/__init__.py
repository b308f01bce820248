"""Loads a checkpoint by its row: one package for each family. Importing this costs no torch."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sora.catalog.spec import Advice, ModelSpec
from sora.runtime.speed import Speed

if TYPE_CHECKING:
    import torch

    from sora.engine.model import Trainable
    from sora.memory import Needs
    from sora.models.mini.ideas import Repertoire


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed | None = None) -> Trainable:
    """The checkpoint in memory, ready to paint; ``speed`` None is exact, with all that makes it quick. Raises
    ModelError when its files are missing or damaged."""
    return import_module(f"sora.models.{spec.family}").load(spec, device, dtype, speed or Speed())


def needs(
    spec: ModelSpec, shape_FYX: tuple[int, int, int], device: torch.device, dtype: torch.dtype, *, encodes: bool
) -> Needs:
    """What painting canvases of this shape needs of memory, with or without the weights here. For families whose
    models are ``Arranged``."""
    from sora.models.wan import layout
    from sora.models.wan import needs as wan_needs

    here = layout.places(spec) if spec.folder else None
    return wan_needs.needs(spec, here, shape_FYX, device, dtype, encodes=encodes)


def advise(spec: ModelSpec, prompt: str, *, own_words: bool = False) -> Advice | None:
    """What a model of a closed vocabulary makes of a prompt; None for an open one. own_words: words that it does not
    know are the person's own, taught by a LoRA. Imports no torch. Raises ModelError."""
    if not spec.vocabulary:
        return None
    from sora.models.mini import advice

    return advice.advice(spec.vocabulary, prompt, own_words=own_words)


def repertoire(spec: ModelSpec) -> Repertoire | None:
    """All that a model of a closed vocabulary can paint; None for an open one. Imports no torch. Raises ModelError."""
    if not spec.vocabulary:
        return None
    from sora.models.mini import ideas

    return ideas.repertoire(spec.vocabulary)


def add_lora(model: Trainable, path: Path, strength: float) -> None:
    """Merges a LoRA's file into the model's weights, ``strength`` times. Raises InputError and ModelError."""
    from sora.weights import lora_file

    tensors, _ = lora_file.read(path)
    model.add_lora(tensors, strength, str(path))
