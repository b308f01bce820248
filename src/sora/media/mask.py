"""Masks: which pixels of a film to paint, from a picture or a film in white and black."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from sora.errors import InputError
from sora.media import picture, read

WHITE = 128  # luma, 0 to 255, from which a pixel is to be painted


def read_mask(path: str | Path, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Where to paint: bool (F, Y, X) for so many frames of ``size`` = (height, width).

    A picture stands for all frames. A film goes frame by frame: its last one stands for the rest, what is too much is
    not read. White is to be painted (luma of WHITE and more, transparency counts as black); in a picture of one
    colour with transparent parts, what is opaque is. Sizes are brought together by the nearest pixel. Raises
    InputError for what cannot be read, and where no pixel is marked.
    """
    return mask_of(_marks(path, frames), str(path), frames, size)


def mask_of(marks: Iterable[np.ndarray], name: str, frames: int, size: tuple[int, int]) -> np.ndarray:
    """As ``read_mask``, of marks that were read: bool (Y, X), one or more. name: what they come from, for a person.
    Raises InputError."""
    found_FYX = [_resized(mark_YX, size) for mark_YX in marks]
    if not found_FYX:
        raise InputError(f"{name} has no frame that can be decoded; get a whole copy")
    found_FYX += [found_FYX[-1]] * (frames - len(found_FYX))
    mask_FYX = np.stack(found_FYX)
    if not mask_FYX.any():
        raise InputError(f"{name} marks nothing to paint; expected white, or one colour on transparent, where to paint")
    return mask_FYX


def _marks(path: str | Path, frames: int) -> Iterator[np.ndarray]:
    """bool (Y, X) of each frame, in the size it has in the file, one after the other."""
    file = picture.existing(path)
    if not file.is_dir():
        with picture.opened(file) as image:
            still = image is not None and not picture.moves(image)
        if still:
            with picture.opened_still(file) as image:
                yield marked(image)
            return
    with read.open_video(file, marked) as film:
        count = min(frames, film.frames)
        read.check_room(film, count, cut=False)
        yield from film.decode(0, count)


def marked(image: Image.Image) -> np.ndarray:
    """Which pixels of one picture are to be painted: bool (Y, X)."""
    if not picture.has_alpha(image):
        return _luma(picture.rgb(image)) >= WHITE
    luma_YX, alpha_YX = (np.empty((image.height, image.width), np.uint8) for _ in range(2))
    for rows, strip in picture.strips(image):
        whole = strip.convert("RGBA")
        luma_YX[rows] = _luma(np.asarray(whole.convert("RGB")))
        alpha_YX[rows] = np.asarray(whole.getchannel("A"))
    opaque_YX = alpha_YX >= WHITE
    seen = luma_YX[opaque_YX]
    if seen.size and seen.min() == seen.max() and not opaque_YX.all():
        return opaque_YX
    return luma_YX.astype(np.uint16) * alpha_YX >= WHITE * 255


def _luma(rgb_YXC: np.ndarray) -> np.ndarray:
    """uint8 (Y, X), as Pillow weighs the colours."""
    out_YX = np.empty(rgb_YXC.shape[:2], np.uint8)
    step = max(1, (1 << 21) // max(1, rgb_YXC.shape[1]))
    for first in range(0, len(rgb_YXC), step):
        out_YX[first : first + step] = np.asarray(Image.fromarray(rgb_YXC[first : first + step]).convert("L"))
    return out_YX


def _resized(mark_YX: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return np.asarray(Image.fromarray(mark_YX).resize((width, height), Image.Resampling.NEAREST))
