"""What to paint and which frames are known, as data that needs no torch. ``operations`` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sora.plan.clip import Clip
from sora.plan.crop import Crop


@dataclass(frozen=True)
class Format:
    """The shape of a film and of what a model paints at once.

    size: (height, width) of the film. model_size: (height, width) on the model's grid, at which it paints. window: the
    most frames in one window, 1 + time * k. context: known frames before the painted ones, 1 + time * k. context_after:
    known frames after them, a multiple of time. time: frames to a latent frame.
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
    """One canvas of a plan. Its first ``context_before`` and last ``context_after`` frames are known, and those between
    are painted.

    first: the film's frame at which it begins. frames: how many. kept: the film's frames that it paints; what else it
    paints only fills up the model's grid. shot: which of the plan's prompts it is painted from. colour_group: windows
    that share it are matched to the colours of the first of them. noise_index: which noise of the seed's; a shot's
    first window has 0.
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
    """The clip that an edit starts from instead of from noise alone.

    clip: as long as the film. strength: in (0, 1], the share of the noise and of the steps; 1 keeps nothing of it.
    known_FYX: bool, pixels that are kept even in painted frames (one frame stands for all), or None. method: "noise"
    mixes noise in (SDEdit, arXiv 2108.01073), "flow" goes straight from one text to the other (FlowEdit, arXiv
    2412.08629). source_prompt: what the clip shows, for "flow".
    """

    clip: Clip
    strength: float
    known_FYX: np.ndarray | None = None
    method: str = "noise"
    source_prompt: str = ""


@dataclass(frozen=True)
class Control:
    """A control signal for what is painted, as edges, depth or poses. clip: as long as the plan, at the film's size.
    frames: of the plan, in which it holds."""

    clip: Clip
    frames: range


@dataclass(frozen=True)
class Stretch:
    """Frames of a film that are made of painted ones, at equal steps in time.

    film: the film's frames. painted: frames of the plan, the first of which shows the moment of the film's frame
    ``film.start - lead``, and the last that of ``film.stop - 1 + trail``. lead, trail: 1 where that frame is a known
    one, else 0.
    """

    film: range
    painted: range
    lead: int = 0
    trail: int = 0

    @property
    def step(self) -> Fraction:
        """Painted frames to a frame of the film."""
        return Fraction(len(self.painted) - 1, max(1, len(self.film) - 1 + self.lead + self.trail))


@dataclass(frozen=True)
class Retiming:
    """A film of another rate than the one at which it is painted. fps: of the film. frames: of the whole film.
    known_clips: (first frame, clip) of everything known, at the film's size and rate. stretches: all other frames, in
    order."""

    fps: float
    frames: int
    known_clips: tuple[tuple[int, Clip], ...]
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class Plan:
    """What to paint and which frames are known. Built by ``operations``, carried out by ``engine.paint``.

    frames: that ``paint`` yields, known and painted. windows: in the order of painting; together they keep every frame
    that is not known, each once. prompts: of the shots. known_clips: (first frame, clip) of everything known, at the
    film's size. source: what an edit starts from. cyclic: whether the last frame is followed by the first. crop: the
    part of each frame that the model paints, at ``format.model_size``; None is all. retiming: how a film of another
    rate is made of these frames; None where they are the film. references: pictures of what every window shows, uint8
    RGB (Y, X, 3), each of a size of its own. control: a signal for what is painted. guide_scales: weights of both, one
    for all the layers of the model that take them or one for each. subject_from_first_shot: whether a frame of
    the first shot, which is chosen when that is painted, is the reference of later ones where there are no
    ``references``. anchors: known frames that are shown as pictures with windows that do not contain them, see
    ``anchors``.
    """

    format: Format
    frames: int
    windows: tuple[Window, ...]
    prompts: tuple[str, ...]
    known_clips: tuple[tuple[int, Clip], ...] = ()
    source: SourceClip | None = None
    cyclic: bool = False
    crop: Crop | None = None
    retiming: Retiming | None = None
    references: tuple[np.ndarray, ...] = ()
    control: Control | None = None
    guide_scales: tuple[float, ...] = (1.0,)
    subject_from_first_shot: bool = False
    anchors: tuple[int, ...] = ()

    @property
    def shows_first_shot(self) -> bool:
        """Whether windows of later shots are given a frame of the first one as a reference."""
        return self.subject_from_first_shot and not self.references

    @property
    def reference_count(self) -> int:
        """The most references that a window is shown, without anchors."""
        return len(self.references) or int(self.shows_first_shot)

    @property
    def film_frames(self) -> int:
        """Frames of the whole film."""
        return self.frames if self.retiming is None else self.retiming.frames

    @property
    def film_fps(self) -> float:
        """Frames a second of the film."""
        return self.format.fps if self.retiming is None else self.retiming.fps
