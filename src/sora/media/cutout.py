"""A picture's subject alone, on white: found by GrabCut (Rother, Kolmogorov and Blake, "GrabCut: interactive foreground
extraction using iterated graph cuts", SIGGRAPH 2004), as OpenCV has it, with the picture's edges as background."""

from __future__ import annotations

import numpy as np

from sora.errors import InputError, UsageError

MAX_SIDE = 384  # pixels at which the subject is looked for; its outline is as fine as that
EDGE = 0.02  # of the longer side: how much of the picture's edges is background
ITERATIONS = 5
LEAST, MOST = 0.005, 0.98  # of a picture's pixels that a subject covers


def on_white(picture_YXC: np.ndarray, name: str) -> np.ndarray:
    """The subject of a picture, uint8 RGB (Y, X, 3), as large as before. It may reach the lower edge, as that of a
    portrait does. name: of the picture, for a person. Raises InputError where no subject is found, and
    UsageError without OpenCV."""
    share_YX1 = _subject(picture_YXC, name)[..., None]
    return np.rint(picture_YXC * share_YX1 + 255 * (1 - share_YX1)).astype(np.uint8)


def _subject(picture_YXC: np.ndarray, name: str) -> np.ndarray:
    """How much of each pixel is the subject's: float32 (Y, X) in [0, 1]. Raises as ``on_white``."""
    try:
        import cv2  # late: it is an extra
    except ImportError:
        hint = "pip install 'sora-video[control]', or give a picture whose background is transparent"
        raise UsageError(f"to cut the subject of {name} out needs OpenCV; {hint}") from None
    height, width = picture_YXC.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    small_YXC = cv2.resize(picture_YXC, small, interpolation=cv2.INTER_AREA)[..., ::-1].copy()  # OpenCV's is BGR
    labels_YX = _labels(small_YXC.shape[:2], background=cv2.GC_BGD, perhaps_subject=cv2.GC_PR_FGD)
    cv2.setRNGSeed(0)  # so that a recipe's film comes out the same
    try:
        colours = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small_YXC, labels_YX, (0, 0, 0, 0), *colours, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # nothing but edges
        labels_YX[:] = cv2.GC_BGD
    found_YX = (labels_YX == cv2.GC_FGD) | (labels_YX == cv2.GC_PR_FGD)
    if not LEAST <= found_YX.mean() <= MOST:
        hint = "leave --reference-background out, or give a picture whose background is transparent"
        raise InputError(f"no subject is found in {name} that stands out from the picture's edges; {hint}")
    return cv2.resize(found_YX.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def _labels(size: tuple[int, int], *, background: int, perhaps_subject: int) -> np.ndarray:
    """uint8 (Y, X): background along all edges but the lower one."""
    edge = max(1, round(EDGE * max(size)))
    labels_YX = np.full(size, perhaps_subject, np.uint8)
    labels_YX[:edge] = labels_YX[:, :edge] = labels_YX[:, -edge:] = background
    return labels_YX
