"""The canvas: a volume of spacetime pixels, some known, some to be painted. Every verb is one of these.

Axis letters: F Y X pixels in time, height, width; T H W latents; C channels; B batch; N tokens; L text; D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sora.clip import Clip


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

    def with_known(self, clip: Clip, start: int) -> Canvas:
        """The clip's frames laid in from frame ``start`` on, and known. The clip has the canvas's height and width."""
        total, height, width = self.shape
        if not 0 <= start <= total - len(clip) or clip.size != (height, width):  # tensors would broadcast in silence
            raise ValueError(f"{len(clip)} frames of {clip.size} from frame {start} do not lie on canvas {self.shape}")
        frames, known = self.frames_FCYX.clone(), self.known_F1YX.clone()
        frames[start : start + len(clip)] = to_FCYX(clip)
        known[start : start + len(clip)] = True
        return Canvas(frames, known, self.fps)

    def paste_known(self, painted_FCYX: Tensor, start: int = 0) -> Tensor:
        """Painted uint8 frames, the first of them frame ``start`` here, with every known pixel put back exactly."""
        span = slice(start, start + painted_FCYX.shape[0])
        return torch.where(self.known_F1YX[span], self.frames_FCYX[span], painted_FCYX)


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
class Plan:
    """What to paint and how it joins what stands.

    canvases and prompts: one each per window, in order. keep: which frames of the painted canvas are new film.
    before, after: film that stands before and after the kept frames.
    """

    canvases: tuple[Canvas, ...]
    prompts: tuple[str, ...]
    keep: slice = field(default_factory=lambda: slice(None))  # Python before 3.12 takes a slice for mutable
    before: Clip | None = None
    after: Clip | None = None
