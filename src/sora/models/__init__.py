"""Model families, and the functions that load a checkpoint of any of them. Importing this module imports no torch.

A family is one package here, ``models/<family>/``, with its networks in ``networks`` and its rows in ``catalog``.
Nothing else names it: the package is found by ``ModelSpec.family``, and used through the protocol ``Family``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, cast

from sora.catalog.spec import Advice, ModelSpec
from sora.errors import ModelError, UsageError
from sora.runtime.speed import DEFAULT_SPEED, Speed

if TYPE_CHECKING:
    import torch

    from sora.engine.model import Model, Trainable
    from sora.memory import MemoryPlan, Needs
    from sora.models.device_tests import DeviceTest
    from sora.models.work import CanvasWork
    from sora.weights import LayoutRules


class Family(Protocol):
    """What ``models/<family>/__init__.py`` exposes; it imports torch only once a function is called. A schedule belongs
    to the model itself (``engine.model.Scheduled``), and recognising files to the rows (``catalog.Family``)."""

    @property
    def KEY_MAPS(self) -> Mapping[str, LayoutRules]:
        """How the tensors in this family's files are named, by network ("transformer", "text", ...). LoRAs use the
        names of "transformer"."""
        ...

    def load(self, spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed) -> Trainable:
        """Load a checkpoint. Raises ModelError where its files are missing or damaged."""
        ...

    def memory_needs(
        self,
        spec: ModelSpec,
        shape_FYX: tuple[int, int, int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        encodes: bool,
        references: int = 0,
        speed: Speed = DEFAULT_SPEED,
    ) -> Needs | None:
        """The memory that painting a canvas of (frames, height, width) needs; the weights need not be downloaded.
        encodes: whether any pixel is known, so that the VAE's encoder runs. references: pictures that are shown with
        it. speed: as for ``load``. None for a family that is never offloaded."""
        ...


class CountsWork(Protocol):
    """What a family also exposes if the seconds of its paintings can be predicted. It imports no torch."""

    def canvas_work(
        self, spec: ModelSpec, shape_FYX: tuple[int, int, int], *, encodes: bool, references: int = 0
    ) -> CanvasWork:
        """The arithmetic of painting a canvas of (frames, height, width); the weights need not be downloaded. encodes,
        references: as for ``Family.memory_needs``."""
        ...


class CachesTexts(Protocol):
    """What a family also exposes if it keeps the embeddings of texts on disk."""

    def texts_to_encode(
        self, spec: ModelSpec, prompts: Iterable[str], device: torch.device, dtype: torch.dtype
    ) -> tuple[str, ...]:
        """The texts, each once, that its text encoder has still to encode for these prompts. Nothing is loaded. Raises
        ModelError."""
        ...


class Tested(Protocol):
    """What a family also exposes if ``sora doctor --deep`` can try it on a device."""

    def device_tests(self, device: torch.device, dtype: torch.dtype) -> tuple[DeviceTest, ...]:
        """Work to compare with the CPU's: small, without downloaded weights. dtype: in which a model would be
        there."""
        ...


class Repertoire(Protocol):
    """All that a model with a closed vocabulary can paint."""

    @property
    def lists(self) -> Mapping[str, list[str]]:
        """Subjects, settings, motions and so on, as a person would write them in a prompt."""
        ...

    def prompts(self, count: int, rng: Random) -> list[str]:
        """``count`` random prompts, all different."""
        ...


class ClosedVocabulary(Protocol):
    """What a family also exposes if its rows have a ``vocabulary``. It imports no torch."""

    def advise(self, spec: ModelSpec, prompt: str, *, allow_unknown: bool) -> Advice: ...

    def repertoire(self, spec: ModelSpec) -> Repertoire: ...


def family(spec: ModelSpec) -> Family:
    """The package that runs a checkpoint."""
    return cast("Family", import_module(f"{__name__}.{spec.family}"))


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed | None = None) -> Trainable:
    """Load a checkpoint. speed: None for every optimisation that leaves the result exact. Raises ModelError where its
    files are missing or damaged."""
    return family(spec).load(spec, device, dtype, speed or Speed())


def canvas_work(
    spec: ModelSpec, shape_FYX: tuple[int, int, int], *, encodes: bool, references: int = 0
) -> CanvasWork | None:
    """As ``CountsWork.canvas_work``; None for a family that does not count. Imports no torch."""
    package = family(spec)
    if not hasattr(package, "canvas_work"):
        return None
    return cast("CountsWork", package).canvas_work(spec, shape_FYX, encodes=encodes, references=references)


def texts_to_encode(
    spec: ModelSpec, prompts: Iterable[str], device: torch.device, dtype: torch.dtype
) -> tuple[str, ...]:
    """As ``CachesTexts.texts_to_encode``; of a family that caches none, all prompts, each once."""
    package = family(spec)
    if not hasattr(package, "texts_to_encode"):
        return tuple(dict.fromkeys(prompts))
    return cast("CachesTexts", package).texts_to_encode(spec, prompts, device, dtype)


def preview_memory_plan(
    spec: ModelSpec,
    shape_FYX: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    encodes: bool,
    references: int = 0,
    forced: str | None = None,
    processes: int = 1,
    guided: bool = True,
    speed: Speed = DEFAULT_SPEED,
) -> tuple[MemoryPlan | None, str]:
    """The plan that ``plan_memory`` would follow for the same canvas, None for a family that is never offloaded, and
    the line that it would return, without loading the model. Takes and raises the same. processes: that paint it
    together, of a family that several devices can paint with. speed: as for ``load``."""
    from sora import memory  # not at the top: commands that only list models do not need it

    options: dict[str, Any] = {"encodes": encodes, "references": references, "speed": speed}
    options |= {"processes": processes, "guided": guided} if processes > 1 else {}
    needs = family(spec).memory_needs(spec, shape_FYX, device, dtype, **options)
    if needs is None:
        return None, _no_memory_plan(spec, forced)
    free = memory.measure_free(device) if processes == 1 else memory.measure_least_free(device, processes)
    return memory.plan_memory(needs, free, forced)


def plan_memory(
    model: Model,
    shape_FYX: tuple[int, int, int],
    *,
    encodes: bool,
    references: int = 0,
    forced: str | None = None,
    sampling_seconds: float | None = None,
    guided: bool = True,
) -> str:
    """Choose and apply the memory plan of a model for canvases of (frames, height, width). Returns a line that
    describes it; an empty one for a model that is never offloaded.

    encodes: whether any pixel is known, so that the VAE's encoder runs. references: pictures that are shown with each.
    forced: the name of a plan, one of ``memory.NAMES``; None to choose. sampling_seconds: that the job's passes are
    predicted to take uncompiled; None: unknown. guided: whether there are two passes a step, which several devices
    divide among them. Raises OutOfMemory where no plan fits, and UsageError for an unknown
    name or a model that is never offloaded.
    """
    from sora.engine.model import Offloadable, Parallelizable

    if not isinstance(model, Offloadable):
        return _no_memory_plan(model.spec, forced)
    options: dict[str, Any] = {"encodes": encodes, "references": references, "forced": forced}
    options |= {"guided": guided} if isinstance(model, Parallelizable) else {}
    return model.plan_memory(shape_FYX, **options, sampling_seconds=sampling_seconds)


def followed_plan(model: Model) -> MemoryPlan | None:
    """The memory plan that a model follows; None for one that is never offloaded."""
    from sora.memory.manager import MemoryManager

    manager = getattr(model, "memory", None)
    return manager.networks.plan if isinstance(manager, MemoryManager) else None


def runs_compiled(model: Model) -> bool:
    """Whether compiled blocks of a model have run."""
    return bool(getattr(model, "runs_compiled", False))


def _no_memory_plan(spec: ModelSpec, forced: str | None) -> str:
    if forced is not None:
        raise UsageError(f"--memory is for open weights; {spec.name} is small and always in memory")
    return ""


def advise(spec: ModelSpec, prompt: str, *, allow_unknown: bool = False) -> Advice | None:
    """How a model with a closed vocabulary understands a prompt; None for an open vocabulary. allow_unknown: do not
    advise against words outside the vocabulary, since a LoRA may have taught them. Imports no torch. Raises
    ModelError."""
    return _closed_vocabulary(spec).advise(spec, prompt, allow_unknown=allow_unknown) if spec.vocabulary else None


def repertoire(spec: ModelSpec) -> Repertoire | None:
    """All that a model with a closed vocabulary can paint; None for an open vocabulary. Imports no torch. Raises
    ModelError."""
    return _closed_vocabulary(spec).repertoire(spec) if spec.vocabulary else None


def _closed_vocabulary(spec: ModelSpec) -> ClosedVocabulary:
    return cast("ClosedVocabulary", family(spec))


def add_lora(model: Trainable, path: Path, strength: float, *, strict: bool = False) -> str:
    """Merge the LoRA in a file into the model's weights, scaled by ``strength``. Returns a line about what of it does
    not fit the model and is left out, empty where all of it fits. Raises InputError and ModelError, for such a rest too
    where ``strict``."""
    from sora.engine.model import LoadedLate
    from sora.runtime import lora
    from sora.weights import lora_file, lora_scale

    rules = family(model.spec).KEY_MAPS["transformer"]
    network = model.meta_dit if isinstance(model, LoadedLate) else model.dit
    components = lora_file.components(path)
    first, second = lora_scale.COMPONENTS
    experts = {first: "high_noise", second: "low_noise"}
    notes: list[str] = []
    if len(components) == 2 and model.spec.boundary is None:
        message = f"{path.name} holds a second expert's part, and {model.spec.name} has a single transformer"
        if strict:
            raise ModelError(f"{message}; leave --strict out to add the first part")
        notes, components = [f"{message}: it is left out"], components[:1]
    for component in components:
        tensors, _ = lora_file.read(path, rules, component)
        fitting, note = lora.fitting(network, tensors, path.name, strict=strict)
        is_expert = len(components) == 2 or component == second
        model.add_lora(fitting, strength, str(path / experts[component] if is_expert else path))
        notes += [note] if note else []
    return "; ".join(notes)
