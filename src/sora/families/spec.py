"""What a checkpoint is, as data: where its files are and what a clip of it is when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sora.grid import Grid

if TYPE_CHECKING:
    from sora.canvas import Format


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
