"""A finished piece of film: frames and their rate. Pure functions that slice, join and fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Clip:
    """frames_FYXC: uint8 RGB, (F, Y, X, 3), F >= 1. fps: frames a second, > 0."""

    frames_FYXC: np.ndarray
    fps: float

    def __post_init__(self) -> None:
        f = self.frames_FYXC
        if f.dtype != np.uint8 or f.ndim != 4 or f.shape[-1] != 3 or 0 in f.shape:
            raise ValueError(f"a clip is uint8 (F, Y, X, 3) with no empty axis, not {f.dtype} {f.shape}")
        if not self.fps > 0:
            raise ValueError(f"a clip's rate is positive, not {self.fps}")

    def __len__(self) -> int:
        return self.frames_FYXC.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.frames_FYXC.shape[1], self.frames_FYXC.shape[2]

    @property
    def seconds(self) -> float:
        return len(self) / self.fps

    def __getitem__(self, frames: slice) -> Clip:
        """The frames of a slice, as a clip of the same rate."""
        return replace(self, frames_FYXC=self.frames_FYXC[frames])

    def fitted(self, height: int, width: int) -> Clip:
        """Cropped in the middle to the new shape, then resized to exactly height x width."""
        return replace(self, frames_FYXC=np.stack([fit(f, height, width) for f in self.frames_FYXC]))


def resampled(clip: Clip, fps: float) -> Clip:
    """The clip at another rate, as long as it was to half a frame: at each moment the frame that was shown then."""
    if clip.fps == fps:
        return clip
    count = max(1, round(len(clip) * fps / clip.fps))
    shown = ((np.arange(count) + 0.5) * clip.fps / fps).astype(int)
    return Clip(clip.frames_FYXC[np.minimum(shown, len(clip) - 1)], fps)


def fit(frame_YXC: np.ndarray, height: int, width: int) -> np.ndarray:
    """One uint8 frame, cropped in the middle to the shape of height x width and resized with Lanczos to it."""
    y, x = frame_YXC.shape[:2]
    if (y, x) == (height, width):
        return frame_YXC
    scale = min(y / height, x / width)
    box_y, box_x = min(y, height * scale), min(x, width * scale)  # rounding can pass the edge by 1e-15
    box = ((x - box_x) / 2, (y - box_y) / 2, (x + box_x) / 2, (y + box_y) / 2)
    return np.asarray(Image.fromarray(frame_YXC).resize((width, height), Image.Resampling.LANCZOS, box=box))
