"""How well generated video joins the existing one, in numbers. Benchmarks and tests measure with the same functions.

Clips are uint8 (F, Y, X, 3); differences are in grey levels, means over all pixels and channels. With ``circular`` the
last frame is followed by the first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NEIGHBOUR_PAIRS = 3  # pairs on each side that a seam is compared with
MIN_DIFFERENCE = 1.0  # grey levels; below this a difference is not seen, and still pictures would make any ratio


def frame_differences(frames_FYXC: np.ndarray, *, circular: bool = False) -> np.ndarray:
    """Mean absolute difference of each pair of neighbours i, i + 1: (F - 1,), or (F,) if circular."""
    pairs = len(frames_FYXC) - (not circular)
    return np.array([_mean_difference(frames_FYXC[i], frames_FYXC[(i + 1) % len(frames_FYXC)]) for i in range(pairs)])


def mean_motion(frames_FYXC: np.ndarray) -> float:
    """Mean of the differences of all neighbours; 0 for a single frame."""
    found = frame_differences(frames_FYXC)
    return float(found.mean()) if len(found) else 0.0


def seam_ratio(frames_FYXC: np.ndarray, at: int, *, circular: bool = False) -> float:
    """How much the step from frame ``at`` to the next stands out: the mean absolute difference of the two over
    max(MIN_DIFFERENCE, the median of the differences of the neighbouring pairs).

    The neighbours are the 8 frames at - 3 .. at + 4, whose 7 pairs count except for the seam's own; there are fewer at
    the ends of a clip, and if it is circular they wrap around, each pair once. 1 is a step like any other. Raises
    IndexError.
    """
    frames = len(frames_FYXC)
    pairs = frames - (not circular)
    if not 0 <= at < pairs:
        raise IndexError(f"no seam follows frame {at} of {frames}")
    near = range(at - NEIGHBOUR_PAIRS, at + NEIGHBOUR_PAIRS + 1)
    around = {i % frames for i in near} if circular else {i for i in near if 0 <= i < pairs}
    usual = [_mean_difference(frames_FYXC[i], frames_FYXC[(i + 1) % frames]) for i in around - {at}]
    seam = _mean_difference(frames_FYXC[at], frames_FYXC[(at + 1) % frames])
    return seam / max(MIN_DIFFERENCE, float(np.median(usual)) if usual else 0.0)


def edge_ratio(frames_FYXC: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """The same in space, for the border of a rectangle ``box`` = (x, y, width, height): the mean absolute difference of
    the pixels that face each other across the border, over max(MIN_DIFFERENCE, the median of the same at neighbouring
    lines).

    Those lines lie 1 to 3 pixels further in and further out, within the frame; a side on the frame's own edge has no
    border. 1 is a line like any other; 0 if the rectangle is the whole frame.
    """
    steps = range(-NEIGHBOUR_PAIRS, NEIGHBOUR_PAIRS + 1)
    found = {k: [d for side in _border_differences(frames_FYXC, box, k) for d in side.ravel()] for k in steps}
    if not found[0]:
        return 0.0
    usual = [float(np.mean(found[k])) for k in steps if k and found[k]]
    return float(np.mean(found[0])) / max(MIN_DIFFERENCE, float(np.median(usual)) if usual else 0.0)


def _border_differences(frames_FYXC: np.ndarray, box: tuple[int, int, int, int], k: int) -> Iterator[np.ndarray]:
    """Differences across the line k pixels right of and below each side of the box, where both facing pixels are in the
    frame."""
    x, y, width, height = box
    columns, rows = frames_FYXC[:, y : y + height], frames_FYXC[:, :, x : x + width].swapaxes(1, 2)
    for lines_FRLC, borders in ((columns, (x, x + width)), (rows, (y, y + height))):
        for border in borders:
            if 0 < border < lines_FRLC.shape[2] and 0 < border + k < lines_FRLC.shape[2]:
                a, b = (lines_FRLC[:, :, border + k - near].astype(np.int16) for near in (1, 0))
                yield np.abs(a - b)


def psnr(a_FYXC: np.ndarray, b_FYXC: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels, peak 255, of the mean square over everything; infinite for equal
    clips."""
    if a_FYXC.shape != b_FYXC.shape:
        raise ValueError(f"clips of shapes {a_FYXC.shape} and {b_FYXC.shape} cannot be compared")
    square = float(np.square(a_FYXC.astype(np.float32) - b_FYXC.astype(np.float32)).mean(dtype=np.float64))
    return 10 * float(np.log10(255.0**2 / square)) if square else float("inf")


def colour_drift(a_FYXC: np.ndarray, b_FYXC: np.ndarray) -> float:
    """Greatest difference of the two clips' mean colours over the channels, in grey levels."""
    a, b = (film.mean(axis=(0, 1, 2), dtype=np.float64) for film in (a_FYXC, b_FYXC))
    return float(np.abs(a - b).max())


def locate(reference_YXC: np.ndarray, mask_YX: np.ndarray, frame_YXC: np.ndarray) -> tuple[int, int, float]:
    """(down, right, similarity): where an object stands in ``frame`` relative to ``reference``, in pixels.

    mask: bool, the object's own pixels in ``reference``. The position is the shift at which those pixels, all channels
    together, correlate best with the frame (normalised, so that brightness and contrast may differ; similarity is that
    coefficient, at most 1). Shifts wrap around the frame's edges and lie within half a frame each way.
    """
    if not mask_YX.any():
        raise ValueError("the mask is empty, so there is nothing to locate")
    count = 3 * int(mask_YX.sum())
    reference = reference_YXC.astype(np.float64)
    reference = (reference - reference[mask_YX].mean()) * mask_YX[..., None]
    frame = frame_YXC.astype(np.float64)
    mask = np.conj(np.fft.rfft2(mask_YX.astype(np.float64)))
    total = np.fft.irfft2(np.fft.rfft2(frame.sum(axis=-1)) * mask, mask_YX.shape)
    squares = np.fft.irfft2(np.fft.rfft2(np.square(frame).sum(axis=-1)) * mask, mask_YX.shape)
    product = np.fft.rfft2(frame, axes=(0, 1)) * np.conj(np.fft.rfft2(reference, axes=(0, 1)))
    together = np.fft.irfft2(product.sum(axis=-1), mask_YX.shape)
    spread = np.sqrt(np.maximum(squares - np.square(total) / count, count) * np.square(reference).sum())
    likeness = together / np.maximum(spread, 1e-9)
    at = np.unravel_index(int(likeness.argmax()), mask_YX.shape)
    down, right = ((int(n) + size // 2) % size - size // 2 for n, size in zip(at, mask_YX.shape, strict=True))
    return down, right, float(likeness.max())


def _mean_difference(a_YXC: np.ndarray, b_YXC: np.ndarray) -> float:
    return float(np.abs(a_YXC.astype(np.int16) - b_YXC.astype(np.int16)).mean())
