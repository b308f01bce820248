"""How far a film moves from how it began: the colours, contrast and sharpness of its windows against the first one's.

The three are standard measures. Colour is the mean of each channel. Contrast is the standard deviation of luminance in
a frame (RMS contrast; Peli 1990, doi 10.1364/JOSAA.7.002032). Sharpness is the energy of the Laplacian of luminance (as
LAP1 in Pertuz et al. 2013, doi 10.1016/j.patcog.2012.11.011). They tell that frames look other than the first, and
not why: a subject that comes closer moves them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sora.errors import InputError
from sora.media import picture
from sora.media.read import open_video

WINDOW_SECONDS = 2.0  # of a window where nothing says how a film was painted
MAX_PIXELS = 1 << 20  # of a frame as it is measured; larger ones are made smaller
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709, of red, green and blue

STEADY_COLOUR, STEADY_CONTRAST, STEADY_SHARPNESS = 4.0, 0.05, 0.15
"""What a window may differ from the first one and is called steady: grey levels of a channel's mean, shares of the
contrast and of the sharpness."""

SLIGHT = 3.0
"""How many times that a difference may be and is called slight."""

MIN_CONTRAST, MIN_SHARPNESS = 1.0, 1.0
"""Grey levels, and grey levels squared. Shares are taken of no less, since a film that begins black has none."""


@dataclass(frozen=True)
class FilmWindow:
    """A stretch of a film that is measured as one. frames: of the film. shot: which of its shots, from 0."""

    frames: range
    shot: int = 0


@dataclass(frozen=True)
class Measured:
    """How a window is on average. colour: mean red, green and blue, 0 to 255. contrast: grey levels. sharpness: grey
    levels squared."""

    window: FilmWindow
    colour: tuple[float, float, float]
    contrast: float
    sharpness: float


@dataclass(frozen=True)
class Change:
    """From an earlier window to one at ``window``. colour: grey levels by which mean red, green and blue rise.
    contrast, sharpness: shares by which they rise, 0.05 for 5 % more."""

    window: FilmWindow
    colour: tuple[float, float, float]
    contrast: float
    sharpness: float

    @classmethod
    def between(cls, first: Measured, later: Measured) -> Change:
        red, green, blue = (b - a for a, b in zip(first.colour, later.colour, strict=True))
        contrast = (later.contrast - first.contrast) / max(first.contrast, MIN_CONTRAST)
        sharpness = (later.sharpness - first.sharpness) / max(first.sharpness, MIN_SHARPNESS)
        return cls(later.window, (red, green, blue), contrast, sharpness)

    @property
    def sizes(self) -> tuple[float, float, float]:
        """Of colour, contrast and sharpness, in multiples of what is steady."""
        colour = max(map(abs, self.colour)) / STEADY_COLOUR
        return colour, abs(self.contrast) / STEADY_CONTRAST, abs(self.sharpness) / STEADY_SHARPNESS


@dataclass(frozen=True)
class Changes:
    """From one window, or from the first of each shot, to all later ones. Not empty."""

    all: tuple[Change, ...]

    @property
    def worst(self) -> tuple[Change, Change, Change]:
        """The furthest in colour, in contrast and in sharpness."""
        colour, contrast, sharpness = (max(self.all, key=lambda change: change.sizes[n]) for n in range(3))
        return colour, contrast, sharpness

    @property
    def last(self) -> Change:
        return self.all[-1]

    @property
    def summary(self) -> str:
        """In plain words: "steady", "slightly darker and softer", or "drifts: darker, more contrast"."""
        word_of = (_colour_word, _contrast_word, _sharpness_word)
        sizes = [change.sizes[n] for n, change in enumerate(self.worst)]
        words = [word(change) for word, change, size in zip(word_of, self.worst, sizes, strict=True) if size > 1]
        if not words:
            return "steady"
        return f"slightly {', '.join(words)}" if max(sizes) <= SLIGHT else f"drifts: {', '.join(words)}"


@dataclass(frozen=True)
class Drift:
    """The windows of a film in order; one at least."""

    windows: tuple[Measured, ...]

    @cached_property
    def from_first(self) -> Changes | None:
        """Against the first window of the film; None where there is no other."""
        first, *later = self.windows
        return Changes(tuple(Change.between(first, each) for each in later)) if later else None

    @cached_property
    def from_shots(self) -> Changes | None:
        """Against the first window of each shot; None for a film of one shot, and where no shot has two windows."""
        firsts: dict[int, Measured] = {}
        changes: list[Change] = []
        for each in self.windows:
            if each.window.shot in firsts:
                changes.append(Change.between(firsts[each.window.shot], each))
            firsts.setdefault(each.window.shot, each)
        return Changes(tuple(changes)) if len(firsts) > 1 and changes else None

    @property
    def changes(self) -> Changes | None:
        """What is to be judged: inside the shots where there are several, since two shots may show two places."""
        return self.from_shots or self.from_first


class DriftMeter:
    """Measures a film as its frames pass, of which it keeps none.

    windows: in order, without overlap; frames between them are passed over.
    """

    def __init__(self, windows: Sequence[FilmWindow]) -> None:
        self._windows = windows
        self._sums = np.zeros((len(windows), 6))  # frames, red, green, blue, variance, energy
        self._frame, self._window = 0, 0

    def add(self, frames_FYXC: np.ndarray) -> None:
        """The film's next frames, uint8 RGB (F, Y, X, 3)."""
        for frame_YXC in frames_FYXC:
            at, self._frame = self._frame, self._frame + 1
            while self._window < len(self._windows) and at >= self._windows[self._window].frames.stop:
                self._window += 1
            if self._window < len(self._windows) and at >= self._windows[self._window].frames.start:
                self._sums[self._window] += (1, *_measures(frame_YXC))

    def drift(self) -> Drift | None:
        """Of the frames so far. A window of which less than half came is left out, unless it is the first; None where
        no frame came."""
        found: list[Measured] = []
        for window, (count, *sums) in zip(self._windows, self._sums, strict=True):
            if count and (not found or 2 * count >= len(window.frames)):
                red, green, blue, variance, energy = (float(total / count) for total in sums)
                found.append(Measured(window, (red, green, blue), variance**0.5, energy))
        return Drift(tuple(found)) if found else None


def even_windows(frames: range, first: int, others: int, shot: int = 0) -> tuple[FilmWindow, ...]:
    """Windows of ``first`` frames and then of ``others``; a last one of less than a quarter of that joins the one
    before."""
    starts = [frames.start, *range(frames.start + max(first, 1), frames.stop, max(others, 1))]
    if len(starts) > 1 and 4 * (frames.stop - starts[-1]) < others:
        starts.pop()
    stops = [*starts[1:], frames.stop]
    return tuple(FilmWindow(range(a, b), shot) for a, b in zip(starts, stops, strict=True) if b > a)


def windows_by_seconds(frames: int, fps: float) -> tuple[FilmWindow, ...]:
    """Of a film of which nothing says how it was painted."""
    length = max(1, round(WINDOW_SECONDS * fps))
    return even_windows(range(frames), length, length)


def measure(
    path: str | Path, windows: Sequence[FilmWindow] | None = None, on_note: picture.Note = picture.ignore
) -> Drift:
    """Of a film's file, an animation or a folder of pictures, read one frame at a time. windows: None for
    ``windows_by_seconds``. on_note: called with what a person should know of how it was read. Frames of two fields stay
    as they are. Raises InputError."""
    with open_video(path, deinterlace=False, max_pixels=MAX_PIXELS, on_note=on_note) as film:
        meter = DriftMeter(windows_by_seconds(film.frames, film.fps) if windows is None else windows)
        for frame_YXC in film.decode(0, film.frames):
            meter.add(frame_YXC[None])
    drift = meter.drift()
    if drift is None:
        raise InputError(f"{path} has no frame that can be decoded; get a whole copy")
    return drift


def _measures(frame_YXC: np.ndarray) -> tuple[float, ...]:
    """(mean red, green and blue, variance of luminance, energy of its Laplacian) of a frame."""
    pixels_YXC = _smaller(frame_YXC)
    height, width, _ = pixels_YXC.shape
    # A product of matrices is fifty times faster than numpy's mean over an axis that is not the last.
    red, green, blue = np.full(height * width, 1 / (height * width), np.float32) @ pixels_YXC.reshape(-1, 3)
    y_YX = pixels_YXC @ LUMINANCE
    variance = float(y_YX.var())
    if min(y_YX.shape) < 3:
        return red, green, blue, variance, 0.0
    around = y_YX[:-2, 1:-1] + y_YX[2:, 1:-1] + y_YX[1:-1, :-2] + y_YX[1:-1, 2:]
    return red, green, blue, variance, float(np.square(4 * y_YX[1:-1, 1:-1] - around).mean())


def _smaller(frame_YXC: np.ndarray) -> np.ndarray:
    """The frame as float32, in means of squares of pixels where it has more than MAX_PIXELS."""
    height, width, _ = frame_YXC.shape
    side = int(np.ceil((height * width / MAX_PIXELS) ** 0.5))
    if side <= 1 or min(height, width) < side:
        return frame_YXC.astype(np.float32, order="C")
    rows, columns = height // side, width // side
    squares = frame_YXC[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return squares.mean(axis=(1, 3), dtype=np.float32)


def _colour_word(change: Change) -> str:
    """By which of three axes the colour moves most: lightness, red to blue, green to purple."""
    red, green, blue = change.colour
    lightness = float(np.dot(change.colour, LUMINANCE))
    warmth, greenness = (red - blue) / 2, green - (red + blue) / 2
    largest = max((lightness, warmth, greenness), key=abs)
    if largest == lightness:
        return "brighter" if lightness > 0 else "darker"
    if largest == warmth:
        return "warmer" if warmth > 0 else "cooler"
    return "greener" if greenness > 0 else "more purple"


def _contrast_word(change: Change) -> str:
    return "stronger in contrast" if change.contrast > 0 else "weaker in contrast"


def _sharpness_word(change: Change) -> str:
    return "sharper" if change.sharpness > 0 else "softer"
