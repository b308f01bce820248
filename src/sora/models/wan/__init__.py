"""The Wan family, as the rest of the program uses it (``models.Family``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.catalog.wan_keys import KEY_MAPS
from sora.runtime.speed import DEFAULT_SPEED, Speed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch

    from sora.memory import Needs
    from sora.models.device_tests import DeviceTest
    from sora.models.wan.model import Wan
    from sora.models.work import CanvasWork

__all__ = ["KEY_MAPS", "attention_heads", "canvas_work", "device_tests", "load", "memory_needs", "texts_to_encode"]


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT_SPEED) -> Wan:
    """Load a model: see ``model.load``."""
    from sora.models.wan import model

    return model.load(spec, device, dtype, speed)


def attention_heads(spec: ModelSpec) -> int:
    """See ``models.parallel.DividedFamily``."""
    from sora.models.wan import layout

    paths = _paths(spec) or {}
    return layout.meta_module(spec, layout.EXPERTS[0], paths.get(layout.EXPERTS[0])).config.heads  # type: ignore


def _paths(spec: ModelSpec) -> dict[str, Path] | None:
    """Of the components, None for a model that is not downloaded."""
    from sora.models.wan import layout

    return layout.component_paths(spec) if spec.folder or hub.local_copy(spec).state == hub.COMPLETE else None


def memory_needs(
    spec: ModelSpec,
    shape_FYX: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    encodes: bool,
    references: int = 0,
    processes: int = 1,
    guided: bool = True,
    speed: Speed = DEFAULT_SPEED,
) -> Needs:
    """See ``needs.memory_needs``. The sizes are those of the downloaded weights, or else of the published ones."""
    from sora.models.wan import components, needs

    paths = _paths(spec)
    vae_dtype = components.usual_vae_dtype(device, dtype, speed)
    shown = {"encodes": encodes, "references": references, "processes": processes, "guided": guided}
    return needs.memory_needs(spec, paths, shape_FYX, device, dtype, **shown, vae_dtype=vae_dtype, speed=speed)


def canvas_work(spec: ModelSpec, shape_FYX: tuple[int, int, int], *, encodes: bool, references: int = 0) -> CanvasWork:
    """See ``work.canvas_work``. Imports no torch."""
    from sora.models.wan import work

    return work.canvas_work(spec, shape_FYX, encodes=encodes, references=references)


def texts_to_encode(
    spec: ModelSpec, prompts: Iterable[str], device: torch.device, dtype: torch.dtype
) -> tuple[str, ...]:
    """See ``models.CachesTexts``."""
    from sora.models.wan import prompts as wan_prompts
    from sora.models.wan.text_cache import EmbeddingCache

    texts, paths = wan_prompts.encoded(prompts), _paths(spec)
    return texts if paths is None else EmbeddingCache.of(paths["text_encoder"], device, dtype).missing(texts)


def device_tests(device: torch.device, dtype: torch.dtype) -> tuple[DeviceTest, ...]:
    """See ``probes.device_tests``."""
    from sora.models.wan import probes

    return probes.device_tests(device, dtype)
