"""What is to be painted and how it joins what stands, as data that needs no torch. ``operations`` makes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sora.plan.clip import Clip
from sora.plan.crop import Crop


@dataclass(frozen=True)
class Format:
    """The shape of a film and of what a model paints at once.

    size: (height, width) of the film. painted: (height, width) on the model's grid, at which it paints. window: the
    most frames painted at once, 1 + time * k. context: known frames a window goes on from, 1 + time * k. after: known
    frames it arrives at, a multiple of time. time: the grid's frames to a latent.
    """

    size: tuple[int, int]
    model_size: tuple[int, int]
    fps: float
    window: int
    context: int
    context_after: int
    time: int


@dataclass(frozen=True)
class Window:
    """One canvas of a plan, frames counted on the film: its first ``left`` and last ``right`` frames are known from
    the film, those between are painted, and ``keep`` of them are film; the rest only fill up the model's grid.

    shot: which of the plan's prompts it is painted from. part: windows of one shot share it and keep its colours. draw:
    which noise of the seed's; a shot's first has 0.
    """

    first: int
    frames: int
    context_before: int
    context_after: int
    kept: range
    shot: int = 0
    colour_group: int = 0
    noise_index: int = 0


@dataclass(frozen=True)
class SourceClip:
    """Film that painting starts from instead of from noise alone.

    clip: as long as the film. strength: in (0, 1], the share of the noise and of the steps; 1 keeps nothing of it.
    known_FYX: bool, pixels that are kept even in painted frames (one frame stands for all), or None. method: "noise"
    mixes noise in (SDEdit, arXiv 2108.01073), "flow" goes straight from one text to the other (FlowEdit, arXiv
    2412.08629). was: what the clip shows, in words, for "flow".
    """

    clip: Clip
    strength: float
    known_FYX: np.ndarray | None = None
    method: str = "noise"
    source_prompt: str = ""


@dataclass(frozen=True)
class Plan:
    """What to paint and how it joins what stands. Built by ``operations``, carried out by ``engine.paint``.

    frames: of the whole film. windows: in the order of painting; together they keep every frame that is not placed,
    each once. prompts: the words of each shot. placed: (first frame, clip) of all that stands already, at the film's
    size. circle: after the film's last frame comes its first. crop: the part of each frame that the model paints, at
    ``format.painted``; None is all.
    """

    format: Format
    frames: int
    windows: tuple[Window, ...]
    prompts: tuple[str, ...]
    known_clips: tuple[tuple[int, Clip], ...] = ()
    source: SourceClip | None = None
    cyclic: bool = False
    crop: Crop | None = None
