"""Clips cut to what a model paints at once, fitted to its grid and its rate, in its latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from sora import media
from sora.catalog.spec import ModelSpec
from sora.engine.canvas import Canvas, to_FCYX
from sora.engine.model import Model
from sora.finetune.dataset import TrainingClip
from sora.plan.clip import Clip, resampled

MAX_WINDOWS = 4  # of one clip
STILLS = 4  # of one clip: what a subject looks like is learnt from more than one of its moments
MAX_ASPECT = 4.0


@dataclass(frozen=True)
class Example:
    """frames_FCYX: uint8, on the grid. clean_BCTHW: the same in latents, on the CPU."""

    frames_FCYX: Tensor
    clean_BCTHW: Tensor
    caption: str
    fps: float

    def canvas(self, known: int) -> Canvas:
        """The example with its first ``known`` frames to go on from."""
        f, _, y, x = self.frames_FCYX.shape
        mask = torch.zeros(f, 1, y, x, dtype=torch.bool)
        mask[:known] = True
        return Canvas(self.frames_FCYX, mask, self.fps)


def prepare(
    model: Model,
    clips: Sequence[TrainingClip],
    size: tuple[int, int] | None,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> list[Example]:
    """Every material's cuts. A picture, and a few frames of each clip, are examples one frame long: looks are learnt
    from those at a fraction of the cost. size: (height, width) on the grid; None takes each at the nearest of its
    shape. tell: hears how many are done of how many. Raises InputError.
    """
    rng, made = Random(seed), []
    for number, material in enumerate(clips, start=1):
        for clip in cuts(_read(material, model.spec, size), model.spec, rng):
            made.append(_example(model, clip, material.caption))
        on_progress(number, len(clips))
    return made


def cuts(clip: Clip, spec: ModelSpec, rng: Random) -> list[Clip]:
    """STILLS out of the clip, and of a clip long enough its windows, begun at random places."""
    stills = sorted(rng.sample(range(len(clip)), min(STILLS, len(clip))))
    found = [clip[still : still + 1] for still in stills]
    length = min(spec.defaults.window, 1 + (len(clip) - 1) // spec.grid.time * spec.grid.time)
    if length > 1:
        spare = len(clip) - length
        count = min(MAX_WINDOWS, 1 + 2 * spare // spec.defaults.window, 1 + spare)
        starts = sorted(rng.sample(range(spare + 1), count))
        found += [clip[start : start + length] for start in starts]
    return found


def _read(material: TrainingClip, spec: ModelSpec, size: tuple[int, int] | None) -> Clip:
    """The material at the model's rate and at a size on its grid."""
    fps = spec.defaults.fps
    if material.is_video:
        clip = resampled(media.read_clip(material.path), fps)
    else:
        clip = Clip(media.read_image(material.path)[None], fps)
    return clip.fitted(*(size or nearest_size(material.size, spec)))


def nearest_size(size: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """The grid's (height, width) of that shape, at the area the model paints."""
    shape = min(max(size[1] / size[0], 1 / MAX_ASPECT), MAX_ASPECT)
    return spec.grid.nearest_size(shape, spec.defaults.area)


@torch.no_grad()
def _example(model: Model, clip: Clip, caption: str) -> Example:
    frames = to_FCYX(clip)
    everything = Canvas(frames, torch.ones_like(frames[:, :1], dtype=torch.bool), clip.fps)
    return Example(frames, model.encode(everything).clean_BCTHW.cpu(), caption, clip.fps)
