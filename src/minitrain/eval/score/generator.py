"""The loaded models and their judge; captions of held-out films; generates a caption's clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

import numpy as np
import torch

from minitrain.captions import caption
from minitrain.judge import Judge
from minitrain.scene import Film
from minitrain.worlds.world import World
from sora import catalog, models
from sora.engine import engine
from sora.engine.model import Model
from sora.plan import operations
from sora.plan.plan import Format

ASPECTS = (1.0, 16 / 9, 9 / 16, 4 / 3, 3 / 4)  # width / height, in turn
CAPTION_KINDS: dict[str, tuple[str | None, str]] = {  # length and language of a caption; the length is drawn where None
    "terse": ("terse", "en"),
    "plain": ("plain", "en"),
    "long": ("long", "en"),
    "chinese": (None, "zh"),
}


@dataclass(frozen=True)
class SamplingOptions:
    """model: a name of ``catalog.MODELS``, or "guided" for mini's weights that take guidance. overrides: values
    that replace its defaults for steps, guidance, shift and sampler."""

    model: str = "mini"
    overrides: Mapping[str, float | str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> SamplingOptions:
        """From "NAME=VALUE NAME=VALUE", where the name "model" chooses the model."""
        pairs = dict(pair.split("=", 1) for pair in text.split())
        model = pairs.pop("model", "mini")
        kinds = {"steps": int, "guidance": float, "shift": float, "sampler": str}
        return cls(model, {name: kinds[name](value) for name, value in pairs.items()})

    def __str__(self) -> str:
        return " ".join([self.model, *(f"{k}={v}" for k, v in self.overrides.items())])


class ClipGenerator:
    """Models are loaded when they are first needed, and kept."""

    def __init__(self, judge: Judge, device: str = "cpu") -> None:
        self.judge, self.device = judge, torch.device(device)
        self._models: dict[str, Model] = {}

    def model(self, name: str = "mini") -> Model:
        if name not in self._models:
            spec = catalog.find("mini").with_guidance() if name == "guided" else catalog.find(name)
            self._models[name] = models.load(spec, self.device, torch.float32)
        return self._models[name]

    def replace_model(self, name: str, model: Model) -> None:
        """Use this model in place of the one of that name."""
        self._models[name] = model

    def generate(self, text: str, frames: int, aspect: float, seed: int, sampling: SamplingOptions) -> np.ndarray:
        """frames_FYXC, uint8, at the model's own size."""
        return np.concatenate([chunk for chunk, _ in self.stream(text, frames, aspect, seed, sampling)])

    def stream(
        self, text: str, frames: int, aspect: float, seed: int, sampling: SamplingOptions
    ) -> Iterator[tuple[np.ndarray, Format]]:
        """Chunks of frames_FYXC as they are finished, each with the film's format."""
        model = self.model(sampling.model)
        spec, d = model.spec, model.spec.defaults
        form = spec.format(spec.grid.nearest_size(aspect, d.area), d.fps)
        plan = operations.generate((text,), frames=frames, format=form)
        settings = engine.Settings.from_spec(spec, seed, **dict(sampling.overrides))  # type: ignore[arg-type]
        for chunk_FCYX in engine.paint(model, plan, settings):
            yield chunk_FCYX.permute(0, 2, 3, 1).cpu().numpy(), form


def full_caption(film: Film, world: World, kind: str, number: int) -> str:
    """A complete caption of the film."""
    rng = Random(number)
    length, language = CAPTION_KINDS[kind]
    return caption(film, rng, complete=True, length=length, language=language, gaits=world.has_gaits).text
