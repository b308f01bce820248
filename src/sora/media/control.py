"""Control signals, computed from the frames of a clip with OpenCV: edges, grey and optical flow, as VACE's weights know
them (github.com/ali-vilab/VACE, vace/annotators).

edges: black lines on white. VACE was trained on scribbles, which are that, and its authors say to invert what Canny and
AnyLine draw in white on black (github.com/ali-vilab/VACE/issues/100).
grey: luma, the same in all three channels.
flow: where each pixel moved since the frame before, as a hue of the colour wheel of Baker et al., "A Database and
Evaluation Methodology for Optical Flow" (ICCV 2007), the paler the slower; white stands still. VACE shows RAFT's flow
so, each frame up to its own fastest pixel, and the first frame like the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import numpy as np

from sora.errors import UsageError

LINE_SHARE = 256  # pixels of the short side to each pixel of a line's width; 2 at 480, as scribbles have it
BLUR = 1.4  # pixels, the standard deviation, as in Canny's own example: the noise of a film is no edge
MIN_GRADIENT = 40.0  # of a strong edge, in grey levels as Sobel's 3x3 kernels sum them; a step of 20 levels, blurred
WEAK_SHARE = 0.4  # of a strong edge's gradient, that of a weak one, which counts where it goes on from a strong one
HUES = 4096  # of the colour wheel, at equal angles
FLOW_SIDE = 256  # pixels of the short side at which flow is computed: in a larger picture it gets holes
SLOWEST = 0.5  # of these pixels a frame; where nothing is faster, noise is not made to look as if it were
WHEEL = (("red", 15), ("yellow", 6), ("green", 4), ("cyan", 11), ("blue", 13), ("magenta", 6))
"""Hues of the colour wheel that lie between each colour and the next, from that of motion to the right clockwise."""

_CORNERS = {
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "blue": (0, 0, 255),
    "magenta": (255, 0, 255),
}


def check_installed(kind: str) -> None:
    """Raises UsageError where the library that computes these signals is not there."""
    if find_spec("cv2") is None:
        install = "pip install 'sora-video[control]'"
        raise UsageError(f"--control-kind {kind} needs OpenCV; {install}, or give a signal with --control-kind as-is")


def signal(frames_FYXC: np.ndarray, kind: str) -> np.ndarray:
    """The control signal of a clip, uint8 RGB (F, Y, X, 3) as the clip is. kind: "edges", "grey" or "flow", of which
    the last needs two frames. Raises ValueError."""
    if kind not in SIGNALS:
        raise ValueError(f"{kind} is no signal that is computed; expected {', '.join(SIGNALS)}")
    made_FYXC = np.empty(frames_FYXC.shape, np.uint8)
    with _one_thread():
        for n, frame_YXC in enumerate(SIGNALS[kind](frames_FYXC)):
            made_FYXC[n] = frame_YXC
    return made_FYXC


def _grey(frames_FYXC: np.ndarray) -> Iterator[np.ndarray]:
    for frame_YXC in frames_FYXC:
        yield _luma(frame_YXC)[..., None]


def _edges(frames_FYXC: np.ndarray) -> Iterator[np.ndarray]:
    for frame_YXC in frames_FYXC:
        yield 255 - _lines(frame_YXC)[..., None]


def _flow(frames_FYXC: np.ndarray) -> Iterator[np.ndarray]:
    import cv2

    if len(frames_FYXC) < 2:
        raise ValueError("optical flow lies between two frames, and there is one")
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    (height, width), scale = frames_FYXC.shape[1:3], max(1, min(frames_FYXC.shape[1:3]) / FLOW_SIDE)
    size, small = (width, height), (round(width / scale), round(height / scale))
    before_YX = cv2.resize(_luma(frames_FYXC[0]), small, interpolation=cv2.INTER_AREA)
    for n, frame_YXC in enumerate(frames_FYXC[1:]):
        after_YX = cv2.resize(_luma(frame_YXC), small, interpolation=cv2.INTER_AREA)
        flow_YX2 = method.calc(before_YX, after_YX, np.zeros((*after_YX.shape, 2), np.float32))
        shown_YXC = cv2.resize(flow_picture(flow_YX2), size, interpolation=cv2.INTER_LINEAR)
        before_YX = after_YX
        if n == 0:
            yield shown_YXC
        yield shown_YXC


SIGNALS: dict[str, Callable[[np.ndarray], Iterator[np.ndarray]]] = {"edges": _edges, "grey": _grey, "flow": _flow}
"""What each kind of signal is made with: frames (F, Y, X, 3) to as many of (Y, X, 3) or (Y, X, 1)."""


def _luma(frame_YXC: np.ndarray) -> np.ndarray:
    """uint8 (Y, X), by the weights of BT.601."""
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(frame_YXC), cv2.COLOR_RGB2GRAY)


def _lines(frame_YXC: np.ndarray) -> np.ndarray:
    """Canny's edges, uint8 (Y, X), 255 on a line, in whichever channel they are strongest: orange on grey may have no
    edge in luma. What a strong edge is, the frame's own gradients say: Otsu's method parts those of edges from those of
    textures."""
    import cv2

    blurred_YXC = cv2.GaussianBlur(np.ascontiguousarray(frame_YXC), (0, 0), BLUR)
    across_YXC, down_YXC = (cv2.Sobel(blurred_YXC, cv2.CV_16S, *order, ksize=3) for order in ((1, 0), (0, 1)))
    gradient_YX = np.hypot(across_YXC.astype(np.float32), down_YXC.astype(np.float32)).max(axis=-1)
    largest = float(gradient_YX.max())
    levels_YX = (gradient_YX * (255 / max(1.0, largest))).astype(np.uint8)
    otsu, _ = cv2.threshold(levels_YX, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    strong = max(MIN_GRADIENT, otsu / 255 * largest)
    lines_YX = cv2.Canny(across_YXC, down_YXC, WEAK_SHARE * strong, strong, L2gradient=True)
    width = max(1, round(min(lines_YX.shape) / LINE_SHARE))
    return lines_YX if width == 1 else cv2.dilate(lines_YX, np.ones((width, width), np.uint8))


def flow_picture(flow_YX2: np.ndarray) -> np.ndarray:
    """Optical flow in pixels, float (Y, X, 2), to the right and down, as uint8 RGB (Y, X, 3) of the colour wheel, full
    colours at its fastest pixel."""
    import cv2

    right_YX, down_YX = (np.ascontiguousarray(flow_YX2[..., n], np.float32) for n in (0, 1))
    speed_YX, angle_YX = cv2.cartToPolar(right_YX, down_YX)
    share_YX1 = (speed_YX / max(SLOWEST, float(speed_YX.max())))[..., None]
    wheel_N3 = _wheel()
    hue_YX3 = wheel_N3[(angle_YX * (len(wheel_N3) / (2 * np.pi))).astype(int) % len(wheel_N3)]
    return (255.5 - share_YX1 * (255 - hue_YX3)).astype(np.uint8)


@cache
def _wheel() -> np.ndarray:
    """The hues of the colour wheel at HUES angles, float32 (N, 3), 0 to 255. As it is usually drawn, the wheel ends one
    hue before it is round."""
    names = [name for name, _ in WHEEL]
    stretches = []
    for n, (name, count) in enumerate(WHEEL):
        begin, end = (np.array(_CORNERS[each], float) for each in (name, names[(n + 1) % len(names)]))
        stretches.append(begin + (end - begin) * (np.arange(count) / count)[:, None])
    hues_N3 = np.concatenate(stretches)
    places = np.linspace(0, len(hues_N3) - 1, HUES)
    channels = [np.interp(places, np.arange(len(hues_N3)), hues_N3[:, n]) for n in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV's flow cuts the picture into as many stripes as it has threads, and its results depend on them."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
