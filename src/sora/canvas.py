"""The canvas: a volume of spacetime pixels, some known, some to be painted. Every verb is one of these.

Axis letters: F Y X pixels in time, height, width; T H W latents; C channels; B batch; N tokens; L text; D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sora.clip import Clip
from sora.crop import Crop


@dataclass(frozen=True)
class Canvas:
    """frames_FCYX: uint8 RGB. known_F1YX: bool, True keeps the pixel, False paints it. fps: frames a second.

    Known-ness is said here once, per pixel; each family converts to what its network wants.
    """

    frames_FCYX: Tensor
    known_F1YX: Tensor
    fps: float

    def __post_init__(self) -> None:
        f, c, y, x = self.frames_FCYX.shape
        if self.frames_FCYX.dtype != torch.uint8 or c != 3:
            raise ValueError(f"a canvas is uint8 (F, 3, Y, X), not {self.frames_FCYX.dtype} {(f, c, y, x)}")
        if self.known_F1YX.dtype != torch.bool or self.known_F1YX.shape != (f, 1, y, x):
            raise ValueError(
                f"known is bool {(f, 1, y, x)}, not {self.known_F1YX.dtype} {tuple(self.known_F1YX.shape)}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, height, width)."""
        f, _, y, x = self.frames_FCYX.shape
        return f, y, x

    @classmethod
    def blank(cls, frames: int, height: int, width: int, fps: float) -> Canvas:
        """Nothing known."""
        return cls(
            torch.zeros(frames, 3, height, width, dtype=torch.uint8),
            torch.zeros(frames, 1, height, width, dtype=torch.bool),
            fps,
        )


def to_FCYX(clip: Clip) -> Tensor:
    """A clip's frames as a uint8 tensor, channels second."""
    return torch.from_numpy(clip.frames_FYXC.copy()).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Latents:
    """A canvas as a family's VAE sees it. clean_BCTHW: what is known, encoded. unknown_B1THW: 1 where any pixel of
    the cell must be painted, else 0; float, on the model's device."""

    clean_BCTHW: Tensor
    unknown_B1THW: Tensor


@dataclass(frozen=True)
class Format:
    """The shape of a film and of what a model paints at once.

    size: (height, width) of the film. painted: (height, width) on the model's grid, at which it paints. window: the
    most frames painted at once, 1 + time * k. context: known frames a window goes on from, 1 + time * k. after: known
    frames it arrives at, a multiple of time. time: the grid's frames to a latent.
    """

    size: tuple[int, int]
    painted: tuple[int, int]
    fps: float
    window: int
    context: int
    after: int
    time: int


@dataclass(frozen=True)
class Window:
    """One canvas of a plan, frames counted on the film: its first ``left`` and last ``right`` frames are known from
    the film, those between are painted, and ``keep`` of them are film; the rest only fill up the model's grid.

    part: windows of one shot share it and keep its colours. draw: which noise of the seed's; a shot's first has 0.
    """

    first: int
    frames: int
    left: int
    right: int
    keep: range
    prompt: str
    part: int = 0
    draw: int = 0


@dataclass(frozen=True)
class Start:
    """Film that painting starts from instead of from noise alone.

    clip: as long as the film. strength: in (0, 1], the share of the noise and of the steps; 1 keeps nothing of it.
    known_F1YX: pixels that are kept even in painted frames (one frame stands for all), or None. method: "noise" mixes
    noise in (SDEdit, arXiv 2108.01073), "flow" goes straight from one text to the other (FlowEdit, arXiv 2412.08629).
    was: what the clip shows, in words, for "flow".
    """

    clip: Clip
    strength: float
    known_F1YX: Tensor | None = None
    method: str = "noise"
    was: str = ""


@dataclass(frozen=True)
class Plan:
    """What to paint and how it joins what stands. Built by ``operations``, carried out by ``engine.paint``.

    frames: of the whole film. placed: (first frame, clip) of all that stands already, at the film's size. windows: in
    the order of painting; together they keep every frame that is not placed, each once. circle: after the film's last
    frame comes its first. crop: the part of each frame that the model paints, at ``format.painted``; None is all.
    """

    format: Format
    frames: int
    windows: tuple[Window, ...]
    placed: tuple[tuple[int, Clip], ...] = ()
    start: Start | None = None
    circle: bool = False
    crop: Crop | None = None
