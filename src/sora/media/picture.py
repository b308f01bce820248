"""Pictures: files opened with Pillow and their pixels as RGB. What a file is, its content says, not its name."""

from __future__ import annotations

import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sora.errors import InputError, SoraError

MAX_PIXELS = 100_000_000  # of one picture or frame
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # not those that run other programs


def read_image(path: str | Path) -> np.ndarray:
    """A picture as uint8 RGB (Y, X, 3), turned as its Exif says, transparency over white, the first if it moves.

    Raises InputError for what is missing, damaged, no picture, or over MAX_PIXELS.
    """
    with opened_still(path) as image:
        return rgb(image)


def existing(path: str | Path) -> Path:
    """The path, if a regular file with something in it or a folder stands there. Raises InputError."""
    file = Path(path)
    try:
        facts = file.stat()
        if not stat.S_ISDIR(facts.st_mode):
            if not stat.S_ISREG(facts.st_mode):
                raise InputError(f"{path} is a device or a pipe; expected a file")
            with file.open("rb") as opened:
                if not opened.read(1):
                    raise InputError(f"{path} is empty; expected a picture or a clip")
    except (OSError, ValueError) as error:
        # A Path has lost one of the two slashes; a single letter before the colon is a Windows drive.
        if address := re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+(?=[^/])", str(path)):
            whole = f"{address[1]}://{str(path)[address.end() :]}"
            raise InputError(f"{whole} is a network address, expected a file; download it first") from None
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason.lower()}; check the name") from None
    return file


@contextmanager
def opened(file: Path) -> Iterator[Image.Image | None]:
    """The file as a Pillow image whose pixels are not decoded yet, or None if it is none.

    Raises InputError for an image over MAX_PIXELS, and for whatever Pillow raises while its pixels are read.
    """
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images below our limit, and of odd Exif
        try:
            image = Image.open(file, formats=known)
        except Image.DecompressionBombError:
            raise InputError(f"{file} has over {MAX_PIXELS // 10**6} megapixels; make it smaller first") from None
        except Exception:  # damaged headers make Pillow's readers raise nearly anything
            image = None
        if image is None:
            yield None
            return
        with image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height}"
                raise InputError(f"{file} is {size}, over {MAX_PIXELS // 10**6} megapixels; make it smaller first")
            try:
                yield image
            except SoraError:
                raise
            except Exception as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise InputError(f"{file} is damaged: {reason}; get a whole copy") from None


@contextmanager
def opened_still(path: str | Path) -> Iterator[Image.Image]:
    """A picture turned as its Exif says; see ``opened``. Raises InputError for what is no picture too."""
    file = existing(path)
    if file.is_dir():
        raise InputError(f"{path} is a folder; expected a picture, e.g. a .png or .jpg")
    with opened(file) as image:
        if image is None:
            raise InputError(f"{path} is not a picture that can be read; expected e.g. a .png, .jpg or .webp")
        yield ImageOps.exif_transpose(image)


def moves(image: Image.Image) -> bool:
    """Whether there is a film in it. The second picture of an MPO, as some cameras write, is a preview."""
    return getattr(image, "n_frames", 1) > 1 and image.format != "MPO"


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


def rgb(image: Image.Image) -> np.ndarray:
    """Any mode as uint8 RGB (Y, X, 3); transparency over white."""
    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255 instead of scaling
        grey = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(1.0, float(grey.max()))
        return np.repeat((np.clip(grey / top, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)
    if has_alpha(image):
        white = Image.new("RGBA", image.size, "white")
        return np.array(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    return np.array(image.convert("RGB"))
