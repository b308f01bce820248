"""What a family's package exposes, asked for by the row of a checkpoint. Importing this costs no torch.

A family is one package here, ``models/<family>/``, beside its networks and its rows in ``catalog``. Nothing else names
it: the package is found by ``ModelSpec.family``, and whatever has to be known of it is asked through ``Family``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol, cast

from sora.catalog.spec import Advice, ModelSpec
from sora.errors import UsageError
from sora.runtime.speed import Speed

if TYPE_CHECKING:
    import torch

    from sora.engine.model import Model, Trainable
    from sora.memory import Needs
    from sora.weights import Kind


class Family(Protocol):
    """What ``models/<family>/__init__.py`` exposes, without importing torch before it is called. ``schedule`` is asked
    of the model itself (``engine.model.Scheduled``), ``recognise`` of the rows (``catalog.Family``)."""

    @property
    def KEY_MAPS(self) -> Mapping[str, Kind]:
        """What is known of the names in this family's files, by the network they are of. Those of "transformer" are a
        LoRA's too."""
        ...

    def load(self, spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed) -> Trainable:
        """The checkpoint in memory, ready to paint. Raises ModelError when its files are missing or damaged."""
        ...

    def memory_needs(
        self,
        spec: ModelSpec,
        shape_FYX: tuple[int, int, int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        encodes: bool,
    ) -> Needs | None:
        """What painting canvases of this shape needs of memory, with or without the weights here. encodes: whether
        anything is known. None for a family that is always in memory whole."""
        ...


class Repertoire(Protocol):
    """All that a model of a closed vocabulary can paint."""

    @property
    def lists(self) -> Mapping[str, list[str]]:
        """What there is of subjects, settings, motions and the like, as a person says them."""
        ...

    def prompts(self, count: int, rng: Random) -> list[str]:
        """Different random prompts."""
        ...


class ClosedVocabulary(Protocol):
    """What a family exposes besides, whose rows have a ``vocabulary``. Imports no torch."""

    def advise(self, spec: ModelSpec, prompt: str, *, allow_unknown: bool) -> Advice: ...

    def repertoire(self, spec: ModelSpec) -> Repertoire: ...


def family(spec: ModelSpec) -> Family:
    """The package that drives a checkpoint."""
    return cast("Family", import_module(f"{__name__}.{spec.family}"))


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed | None = None) -> Trainable:
    """The checkpoint in memory, ready to paint; ``speed`` None is exact, with all that makes it quick. Raises
    ModelError when its files are missing or damaged."""
    return family(spec).load(spec, device, dtype, speed or Speed())


def preview_memory_plan(
    spec: ModelSpec,
    shape_FYX: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    encodes: bool,
    forced: str | None = None,
) -> str:
    """The line that ``arrange`` would say for the same painting, before anything is loaded; empty where it would say
    nothing. Takes and raises what ``arrange`` does."""
    from sora import memory  # late: commands that only list models need none of it

    needs = family(spec).memory_needs(spec, shape_FYX, device, dtype, encodes=encodes)
    if needs is None:
        return _without_plans(spec, forced)
    return memory.arrange(needs, memory.free_on(device), forced)[1]


def plan_memory(model: Model, shape_FYX: tuple[int, int, int], *, encodes: bool, forced: str | None = None) -> str:
    """Chooses what of a model is in memory when, for canvases of this shape, and says it in a line for a person; empty
    for a model that is always in memory whole.

    encodes: whether anything is known. forced: a name of ``memory.NAMES``. Raises OutOfMemory where no plan fits, and
    UsageError for a name that is none or where there is nothing to choose.
    """
    from sora.engine.model import Offloadable

    if not isinstance(model, Offloadable):
        return _without_plans(model.spec, forced)
    return model.plan_memory(shape_FYX, encodes=encodes, forced=forced)


def _without_plans(spec: ModelSpec, forced: str | None) -> str:
    if forced is not None:
        raise UsageError(f"--memory is for open weights; {spec.name} is small and always in memory")
    return ""


def advise(spec: ModelSpec, prompt: str, *, allow_unknown: bool = False) -> Advice | None:
    """What a model of a closed vocabulary makes of a prompt; None for an open one. own_words: words that it does not
    know are the person's own, taught by a LoRA. Imports no torch. Raises ModelError."""
    return _closed(spec).advise(spec, prompt, allow_unknown=allow_unknown) if spec.vocabulary else None


def repertoire(spec: ModelSpec) -> Repertoire | None:
    """All that a model of a closed vocabulary can paint; None for an open one. Imports no torch. Raises ModelError."""
    return _closed(spec).repertoire(spec) if spec.vocabulary else None


def _closed(spec: ModelSpec) -> ClosedVocabulary:
    return cast("ClosedVocabulary", family(spec))


def add_lora(model: Trainable, path: Path, strength: float) -> None:
    """Merges a LoRA's file into the model's weights, ``strength`` times. Raises InputError and ModelError."""
    from sora.weights import lora_file

    tensors, _ = lora_file.read(path, family(model.spec).KEY_MAPS["transformer"])
    model.add_lora(tensors, strength, str(path))
