"""The canvas: a volume of spacetime pixels, some known, some to be painted. Every verb paints one of these.

Axis letters: F Y X pixels in time, height, width; T H W latents; C channels; B batch; N tokens; L text; D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sora.plan.clip import Clip


@dataclass(frozen=True)
class Guides:
    """What a model is shown that is no part of the canvas.

    references: pictures of what the canvas shows, uint8 RGB (3, Y, X), each of a size of its own. control_FCYX: uint8
    RGB of the canvas's size, a control signal for the pixels to paint, as edges or depth; None for none.
    controlled_F: bool, the frames in which it holds. scales: weights of what the model makes of both, one for all its
    layers that take them or one for each. anchors: known frames of the clip that the canvas does not contain, uint8 RGB
    (3, Y, X), each with its frame counted from the canvas's first: below 0 where it comes before.
    """

    references: tuple[Tensor, ...] = ()
    control_FCYX: Tensor | None = None
    controlled_F: Tensor | None = None
    scales: tuple[float, ...] = (1.0,)
    anchors: tuple[tuple[int, Tensor], ...] = ()

    @property
    def pictures(self) -> tuple[Tensor, ...]:
        """References, then anchors, for a model that takes either as references."""
        return (*self.references, *(picture_CYX for _, picture_CYX in self.anchors))

    @property
    def start(self) -> Tensor | None:
        """The frame from which the clip goes on, where it comes before the canvas; None where there is none."""
        before = [picture_CYX for frame, picture_CYX in self.anchors if frame < 0]
        return before[0] if before else None


NO_GUIDES = Guides()


@dataclass(frozen=True)
class Canvas:
    """frames_FCYX: uint8 RGB. known_F1YX: bool, True keeps the pixel, False paints it. fps: frames a second.

    The mask of known pixels is kept here alone; each model family converts it to what its network expects.
    """

    frames_FCYX: Tensor
    known_F1YX: Tensor
    fps: float
    guides: Guides = NO_GUIDES

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
        """A black canvas of which nothing is known."""
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
    """A canvas in a model's latent space. clean_BCTHW: the known pixels, encoded. unknown_B1THW: 1 where any pixel
    that the latent covers must be painted, else 0; float, on the model's device. lead: how many latents before the
    canvas's own stand for its references; they are sampled along and never decoded."""

    clean_BCTHW: Tensor
    unknown_B1THW: Tensor
    lead: int = 0

    @property
    def without_lead(self) -> Latents:
        """The canvas's own latents."""
        return Latents(self.clean_BCTHW[:, :, self.lead :], self.unknown_B1THW[:, :, self.lead :])
