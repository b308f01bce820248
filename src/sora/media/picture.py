"""Pictures: files opened with Pillow and their pixels as RGB. What a file is, its content says, not its name."""

from __future__ import annotations

import mmap
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from sora.errors import InputError, SoraError
from sora.media import animation, profiles
from sora.media.background import WHITE, Background
from sora.storage import regular

MAX_PIXELS = 100_000_000  # of one picture or frame
MAX_BYTES = 1 << 30  # of a picture's file, and of one whose reader may take all of it into memory:
MAX_LOADED_BYTES = 1 << 28
LOADED = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "HEIF")
MOVING = ("PNG", "WEBP", "GIF", "AVIF")  # formats that hold films; pages and previews are none

# A file of few bytes can unfold to any size. What has more pixels than this, of still pictures and of formats whose
# readers take several times the memory, must have a byte for each PIXELS_PER_BYTE, as photographs do.
UNFOLDED_STILL, UNFOLDED_MOVING, PIXELS_PER_BYTE = 1 << 25, 12_000_000, 64
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")  # not those that run other programs

Note = Callable[[str], None]  # takes what a person should know

_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of Exif
_STRIP_PIXELS = 1 << 21
_MAX_EXIF = 1 << 20  # bytes
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_MAX_CHUNKS = 1000  # before the pixels of a PNG


def ignore(note: str) -> None:
    """What nobody asks for."""


def read_reference(path: str | Path, *, on_note: Note = ignore) -> tuple[np.ndarray, bool]:
    """(a picture as ``read_image`` reads it, over white, whether any of it is transparent)."""
    with opened_still(path) as image:
        transparent = is_transparent(image)
        noted = rgb(image, on_note=lambda note: None if note == WHITE.note else on_note(f"{path} {note}"))
        return noted, transparent


def read_image(path: str | Path, *, background: Background = WHITE, on_note: Note = ignore) -> np.ndarray:
    """A picture as uint8 sRGB (Y, X, 3), turned as its Exif says, transparency over the background, the first if it
    moves. on_note: called with what a person should know of how it was read.

    Raises InputError for what is missing, damaged, no picture, or over MAX_PIXELS.
    """
    with opened_still(path) as image:
        return rgb(image, background, lambda note: on_note(f"{path} {note}"))


def existing(path: str | Path) -> Path:
    """The path, if a regular file with something in it or a folder stands there. Raises InputError."""
    file = Path(path)
    try:
        facts = file.stat()
        if not stat.S_ISDIR(facts.st_mode):
            if not stat.S_ISREG(facts.st_mode):
                raise InputError(f"{path} is a device, a pipe or a socket; expected a file")
            with regular.opened(file) as opened:
                if not os.fstat(opened.fileno()).st_size:  # nor is a kernel's own file read, which claims none
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
    with _regular(file) as stream, warnings.catch_warnings():
        size = os.fstat(stream.fileno()).st_size
        if _is_heif(stream):
            _register_heif(file)
        known = [name for name in FORMATS if name in Image.OPEN and size <= _max_bytes(name)]
        warnings.simplefilter("ignore")  # Pillow warns of large images below our limit, and of odd Exif
        try:
            image = Image.open(stream, formats=known)
        except Image.DecompressionBombError:
            raise InputError(f"{file} has over {MAX_PIXELS // 10**6} megapixels; make it smaller first") from None
        except Exception:  # damaged headers make Pillow's readers raise nearly anything
            image = None
        if image is None:
            yield None
            return
        with image:
            try:
                _check_pixels(file, image, size)
                if image.format == "PNG" and (code := animation.in_bytes(file, _png_cicp)):
                    image.info[profiles.CICP] = code
                yield image
            except SoraError:
                raise
            except Exception as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                how = "incomplete" if "truncated" in reason else "damaged"
                raise InputError(f"{file} is {how}: {reason}; get a whole copy") from None


def _regular(file: Path) -> BinaryIO:
    """As ``regular.opened``, of a file that may lie in a folder of pictures. Raises InputError."""
    try:
        return regular.opened(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; expected a picture or a clip") from None


def _is_heif(stream: BinaryIO) -> bool:
    """Whether it is a picture as telephones write them, by its brands (ISO/IEC 23008-12, annex B)."""
    head = stream.read(64)
    stream.seek(0)
    size = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in (8, *range(16, min(size, len(head)), 4))}
    return head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis") and bool(brands & _HEIF_BRANDS)


def _register_heif(file: Path) -> None:
    """Teaches Pillow to read it. Raises InputError where what can is not installed."""
    try:
        import pillow_heif  # late: it is an extra
    except ImportError:
        hint = "pip install 'sora-video[heif]', or save it as .jpg"
        raise InputError(f"{file} is a HEIC picture, which needs pillow-heif; {hint}") from None
    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener(thumbnails=False)


def _max_bytes(format: str) -> int:
    return MAX_LOADED_BYTES if format in LOADED else MAX_BYTES


def _check_pixels(file: Path, image: Image.Image, file_bytes: int) -> None:
    """Raises InputError for more pixels than are read, and for more than a file of so many bytes would hold."""
    pixels, size = image.width * image.height, f"{image.width}x{image.height}"
    if pixels > MAX_PIXELS:
        raise InputError(f"{file} is {size}, over {MAX_PIXELS // 10**6} megapixels; make it smaller first")
    bound = UNFOLDED_MOVING if image.format in ("WEBP", "AVIF", "HEIF") or moves(image) else UNFOLDED_STILL
    if pixels > max(bound, PIXELS_PER_BYTE * file_bytes):
        problem = f"{size} from {file_bytes:,} bytes, over {bound // 10**6} megapixels of next to nothing"
        raise InputError(f"{file} unfolds to {problem}; make it smaller first")


def size_of(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture as its Exif turns it, without decoding it. Raises InputError as ``opened_still``."""
    with _opened_picture(path) as image:
        return upright_size(Path(path), image)


def upright_size(file: Path, image: Image.Image) -> tuple[int, int]:
    """(height, width) of an open picture as its Exif turns it."""
    if image.format == "PNG" and "exif" not in image.info:  # it may come behind the pixels, for which Pillow decodes
        if found := animation.in_bytes(file, _png_exif):
            image.info["exif"] = found
        turn = Image.Image.getexif(image).get(_ORIENTATION)
    else:
        turn = image.getexif().get(_ORIENTATION)
    return (image.width, image.height) if turn in _ON_ITS_SIDE else (image.height, image.width)


def _png_exif(data: mmap.mmap) -> bytes | None:
    found = ((at, size) for name, at, size in animation.png_chunks(data) if name == b"eXIf" and size <= _MAX_EXIF)
    return next((bytes(data[at : at + size]) for at, size in found), None)


def _png_cicp(data: mmap.mmap) -> tuple[int, int] | None:
    """The code points of a PNG's primaries and transfer, of RGB that uses the full range; Pillow leaves them out."""
    for name, at, size in islice(animation.png_chunks(data), _MAX_CHUNKS):
        if name == b"cICP" and size == 4:
            return (data[at], data[at + 1]) if data[at + 2 : at + 4] == b"\0\1" else None
        if name == b"IDAT":
            break
    return None


@contextmanager
def opened_still(path: str | Path) -> Iterator[Image.Image]:
    """A picture turned as its Exif says; see ``opened``. Raises InputError for what is no picture too."""
    with _opened_picture(path) as image:
        ImageOps.exif_transpose(image, in_place=True)  # otherwise it makes a copy
        yield image


@contextmanager
def _opened_picture(path: str | Path) -> Iterator[Image.Image]:
    file = existing(path)
    if file.is_dir():
        raise InputError(f"{path} is a folder; expected a picture, e.g. a .png or .jpg")
    with opened(file) as image:
        if image is None:
            raise InputError(f"{path} is not a picture that can be read; expected e.g. a .png, .jpg or .webp")
        yield image


def moves(image: Image.Image) -> bool:
    """Whether there is a film in it. The second picture of an MPO, as some cameras write, is a preview, and what a TIFF
    holds are pages."""
    return image.format in MOVING and getattr(image, "is_animated", False)


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


def is_transparent(image: Image.Image) -> bool:
    """Whether any pixel lets something else be seen."""
    if not has_alpha(image):
        return False
    alphas = (strip.convert("RGBA").getchannel("A") for _, strip in strips(image))
    return any(alpha.getextrema() != (255, 255) for alpha in alphas)


def rgb(image: Image.Image, background: Background = WHITE, on_note: Note = ignore) -> np.ndarray:
    """Any mode as uint8 sRGB (Y, X, 3); transparency over the background. on_note: called with what a person should
    know, to stand behind the file's name."""
    top = 65535.0 if image.mode.startswith("I") else max(1.0, _brightest(image)) if image.mode == "F" else 0.0
    to_srgb, transparent = profiles.converter(image, on_note), False
    out_YXC = np.empty((image.height, image.width, 3), np.uint8)
    for rows, strip in strips(image):
        shown = Image.fromarray(_grey(strip, top)) if top else strip
        colours = to_srgb(shown) if to_srgb else shown.convert("RGB")
        alpha = strip.convert("RGBA").getchannel("A") if has_alpha(strip) else None
        if alpha is not None and alpha.getextrema() != (255, 255):
            transparent = True
            colours = _over(background, colours if to_srgb else strip.convert("RGBA"), alpha)
        out_YXC[rows] = np.asarray(colours)
    if transparent:
        on_note(background.note)
    return out_YXC


def _over(background: Background, colours: Image.Image, alpha: Image.Image) -> Image.Image:
    colours.putalpha(alpha)
    under = Image.new("RGBA", colours.size, background.rgb)
    return Image.alpha_composite(under, colours).convert("RGB")


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """An image in pieces of some rows, so that what is made of it on the way takes little memory next to it."""
    step = max(1, _STRIP_PIXELS // max(1, image.width))
    for first in range(0, image.height, step):
        last = min(first + step, image.height)
        yield slice(first, last), image if step >= image.height else image.crop((0, first, image.width, last))


def _brightest(image: Image.Image) -> float:
    return max(float(np.asarray(strip).max()) for _, strip in strips(image))


def _grey(image: Image.Image, top: float) -> np.ndarray:
    """uint8 (Y, X). top: what is white of a mode with more than 8 bits, which Pillow would clip at 255."""
    grey = np.asarray(image).astype(np.float64)
    return (np.clip(grey / top, 0, 1) * 255 + 0.5).astype(np.uint8)
