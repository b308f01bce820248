"""Training examples: clips cut to what a model paints at once, resized to its grid and frame rate, and encoded."""

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

MAX_WINDOWS = 4  # cut from one clip
STILLS = 4  # of one clip, as examples one frame long: a subject's looks are learnt from several moments
MAX_ASPECT = 4.0  # the longer side over the shorter


@dataclass(frozen=True)
class Example:
    """frames_FCYX: uint8, of a size on the model's grid. clean_BCTHW: the same frames as latents, on the CPU."""

    frames_FCYX: Tensor
    clean_BCTHW: Tensor
    caption: str
    fps: float

    def canvas(self, known: int) -> Canvas:
        """A canvas of the example whose first ``known`` frames are known."""
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
    """Cut and encode clips to examples. A picture, and a few frames of each clip, become examples one frame long, since
    looks are learnt from those at a fraction of the cost. size: (height, width) on the grid; None for the size nearest
    to each clip's shape. on_progress(done, total): called after each clip. Raises InputError.
    """
    rng, examples = Random(seed), []
    for number, clip in enumerate(clips, start=1):
        for cut in cuts(_read(clip, model.spec, size), model.spec, rng):
            examples.append(_example(model, cut, clip.caption))
        on_progress(number, len(clips))
    return examples


def cuts(clip: Clip, spec: ModelSpec, rng: Random) -> list[Clip]:
    """Cut a clip: STILLS single frames, and where it is long enough windows that begin at random frames."""
    stills = sorted(rng.sample(range(len(clip)), min(STILLS, len(clip))))
    out = [clip[index : index + 1] for index in stills]
    length = min(spec.defaults.window, 1 + (len(clip) - 1) // spec.grid.time * spec.grid.time)
    if length > 1:
        spare = len(clip) - length
        count = min(MAX_WINDOWS, 1 + 2 * spare // spec.defaults.window, 1 + spare)
        starts = sorted(rng.sample(range(spare + 1), count))
        out += [clip[start : start + length] for start in starts]
    return out


def _read(source: TrainingClip, spec: ModelSpec, size: tuple[int, int] | None) -> Clip:
    """Read a training clip at the model's frame rate and at a size on its grid."""
    fps = spec.defaults.fps
    if source.is_video:
        clip = resampled(media.read_clip(source.path), fps)
    else:
        clip = Clip(media.read_image(source.path)[None], fps)
    return clip.fitted(*(size or nearest_size(source.size, spec)))


def nearest_size(size: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """The (height, width) on the grid with about this shape and the area that the model paints."""
    shape = min(max(size[1] / size[0], 1 / MAX_ASPECT), MAX_ASPECT)
    return spec.grid.nearest_size(shape, spec.defaults.area)


@torch.no_grad()
def _example(model: Model, clip: Clip, caption: str) -> Example:
    frames = to_FCYX(clip)
    everything = Canvas(frames, torch.ones_like(frames[:, :1], dtype=torch.bool), clip.fps)
    return Example(frames, model.encode(everything).clean_BCTHW.cpu(), caption, clip.fps)
