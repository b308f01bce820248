"""The family of the embedded model, as the rest of the program uses it (``models.Family``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sora.catalog.spec import Advice, ModelSpec
from sora.catalog.wan_keys import KEY_MAPS as WAN_KEY_MAPS
from sora.runtime.speed import DEFAULT_SPEED, Speed

if TYPE_CHECKING:
    import torch

    from sora.models.device_tests import DeviceTest
    from sora.models.mini.ideas import Repertoire
    from sora.models.mini.model import Mini
    from sora.models.work import CanvasWork

KEY_MAPS = {"transformer": WAN_KEY_MAPS["transformer"]}  # its transformer is Wan's, only smaller


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, speed: Speed = DEFAULT_SPEED) -> Mini:
    """Load the model: see ``model.load``."""
    from sora.models.mini import model

    return model.load(spec, device, dtype, speed)


def memory_needs(*_: Any, **__: Any) -> None:
    """None: the model is small and never offloaded."""


def canvas_work(spec: ModelSpec, shape_FYX: tuple[int, int, int], *, encodes: bool, references: int = 0) -> CanvasWork:
    """See ``work.canvas_work``. Imports no torch."""
    from sora.models.mini import work

    return work.canvas_work(spec, shape_FYX, encodes=encodes, references=references)


def device_tests(device: torch.device, dtype: torch.dtype) -> tuple[DeviceTest, ...]:  # noqa: ARG001, the protocol's
    """See ``probes.device_tests``."""
    from sora.models.mini import probes

    return probes.device_tests(dtype)


def advise(spec: ModelSpec, prompt: str, *, allow_unknown: bool) -> Advice:
    """See ``advice.advice``. Imports no torch."""
    from sora.models.mini import advice

    return advice.advice(spec.vocabulary, prompt, allow_unknown=allow_unknown)


def repertoire(spec: ModelSpec) -> Repertoire:
    """See ``ideas.repertoire``. Imports no torch."""
    from sora.models.mini import ideas

    return ideas.repertoire(spec.vocabulary)
