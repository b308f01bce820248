"""Images, clips and facts about files. What a file is, its content says, not its name."""

from __future__ import annotations

import json
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from sora.clip import Clip
from sora.errors import InputError
from sora.media import embed, ffmpeg, target

MAX_PIXELS = 100_000_000  # of one image or frame
MAX_CLIP_BYTES = 8 << 30  # of all frames of one clip in memory
FOLDER_FPS = 24.0  # of a folder of pictures that does not say
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # not those that run other programs


@dataclass(frozen=True)
class Info:
    """Facts about a file. kind: "video", "animation", "image" or "folder". width, height: pixels, as shown.

    fps, seconds: 0 for an image. codec, pix_fmt: in ffmpeg's or Pillow's words. recipe: JSON text, if it has one.
    """

    kind: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    codec: str
    pix_fmt: str
    recipe: str | None


def read_image(path: str | Path) -> np.ndarray:
    """A picture as uint8 RGB (Y, X, 3), turned as its Exif says, transparency over white, the first if it moves.

    Raises InputError for what is missing, damaged, no picture, or over MAX_PIXELS.
    """
    file = _existing(path)
    if file.is_dir():
        raise InputError(f"{path} is a folder; expected a picture, e.g. a .png or .jpg")
    with _opened(file) as image:
        if image is None:
            raise InputError(f"{path} is not a picture that can be read; expected e.g. a .png, .jpg or .webp")
        return _rgb(ImageOps.exif_transpose(image))


def read_clip(path: str | Path) -> Clip:
    """A film as a Clip: a video, a moving GIF, WebP or PNG, or a folder of numbered PNGs (in the order of names).

    Videos and animations of varying rate come at a constant one. A folder's rate is the ``fps`` of its recipe.json,
    else FOLDER_FPS. Raises InputError for what is missing, damaged, a still, or over MAX_CLIP_BYTES.
    """
    file = _existing(path)
    if file.is_dir():
        return _read_folder(file)
    with _opened(file) as image:
        if image is not None and getattr(image, "n_frames", 1) == 1:
            raise InputError(f"{path} is a still picture; expected a clip (`sora img2vid` animates a still)")
        if image is not None:
            return _read_animation(file, image)
    return _read_video(file)


def probe(path: str | Path) -> Info:
    """Facts about a file without keeping its frames. Raises InputError for what cannot be read."""
    file = _existing(path)
    recipe = read_recipe(path)
    if file.is_dir():
        pictures = _pictures(file)
        with _opened(pictures[0]) as first:
            if first is None:
                raise InputError(f"{pictures[0]} is not a picture; expected numbered PNGs in {path}")
            count, fps = len(pictures), _folder_rate(file)
            return Info("folder", *first.size, count, fps, count / fps, "png", first.mode.lower(), recipe)
    with _opened(file) as image:
        if image is not None:
            return _probe_picture(image, recipe)
    facts, count = ffmpeg.stream(file), ffmpeg.count_frames(file)
    fps = float(facts.rate)
    return Info("video", facts.width, facts.height, count, fps, count / fps, facts.codec, facts.pix_fmt, recipe)


def read_recipe(path: str | Path) -> str | None:
    """The recipe's JSON text inside a file or folder that sora wrote; None when it has none. Raises InputError."""
    file = _existing(path)
    if file.is_dir():
        note = file / target.RECIPE_FILE
        text = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else None
    else:
        with _opened(file) as image:
            text = ffmpeg.comment(file) if image is None else _picture_comment(file, image)
    # Other programs leave comments too ("Made with GIMP"); a recipe is a JSON object.
    return text if text and text.lstrip().startswith("{") else None


def _existing(path: str | Path) -> Path:
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
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason.lower()}; check the name") from None
    return file


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image | None]:
    """The file as a Pillow image whose pixels are not decoded yet, or None if it is none.

    Raises InputError for an image over MAX_PIXELS, and for whatever Pillow raises while its pixels are read.
    """
    Image.init()
    known = [name for name in IMAGE_FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images below our limit, and of odd Exif
        try:
            image = Image.open(file, formats=known)
        except Image.DecompressionBombError:
            raise InputError(f"{file} has over {MAX_PIXELS // 10**6} megapixels; make it smaller first") from None
        except Exception:  # damaged headers make Pillow's readers raise nearly anything
            yield None
            return
        with image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height}"
                raise InputError(f"{file} is {size}, over {MAX_PIXELS // 10**6} megapixels; make it smaller first")
            try:
                yield image
            except InputError:
                raise
            except Exception as error:
                raise InputError(f"{file} is damaged: {str(error).splitlines()[0]}; get a whole copy") from None


def _rgb(image: Image.Image) -> np.ndarray:
    """Any mode as uint8 RGB (Y, X, 3); transparency over white."""
    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255 instead of scaling
        grey = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(1.0, float(grey.max()))
        return np.repeat((np.clip(grey / top, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return np.array(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    return np.array(image.convert("RGB"))


def _read_video(file: Path) -> Clip:
    facts = ffmpeg.stream(file)
    frame_bytes = facts.height * facts.width * 3
    if frame_bytes > 3 * MAX_PIXELS:
        size = f"{facts.width}x{facts.height}"
        raise InputError(f"{file} is {size}, over {MAX_PIXELS // 10**6} megapixels a frame; scale it down")
    _check_room(file, ffmpeg.count_frames(file), frame_bytes)
    pixels = bytearray()
    with ffmpeg.rgb_frames(file, facts) as pipe:
        while piece := pipe.read(1 << 20):
            pixels += piece
            _check_room(file, len(pixels) // frame_bytes, frame_bytes)
    count = len(pixels) // frame_bytes
    if not count:
        raise InputError(f"{file} has no frame that can be decoded; get a whole copy")
    frames_FYXC = np.frombuffer(pixels, np.uint8, count * frame_bytes)
    return Clip(frames_FYXC.reshape(count, facts.height, facts.width, 3), float(facts.rate))


def _check_room(file: Path, frames: int, frame_bytes: int) -> None:
    if frames * frame_bytes > MAX_CLIP_BYTES:
        limit = MAX_CLIP_BYTES // frame_bytes
        raise InputError(f"{file} has {frames} frames, at most {limit} of that size can be read; cut it first")


def _read_animation(file: Path, image: Image.Image) -> Clip:
    frames, durations = [], []
    for number, frame in enumerate(ImageSequence.Iterator(image), start=1):
        frames.append(_rgb(frame))
        durations.append(float(frame.info.get("duration", 0)))
        _check_room(file, number, frames[0].size)
    repeats, fps = _timeline(durations, tick=_tick(image))
    _check_room(file, sum(repeats), frames[0].size)
    return Clip(np.repeat(np.stack(frames), repeats, axis=0), fps)


def _probe_picture(image: Image.Image, recipe: str | None) -> Info:
    codec, mode = (image.format or "").lower(), image.mode.lower()
    if getattr(image, "n_frames", 1) == 1:
        width, height = ImageOps.exif_transpose(image).size
        return Info("image", width, height, 1, 0.0, 0.0, codec, mode, recipe)
    durations = []
    for frame in ImageSequence.Iterator(image):
        frame.load()  # WebP knows a frame's duration only then
        durations.append(float(frame.info.get("duration", 0)))
    repeats, fps = _timeline(durations, tick=_tick(image))
    return Info("animation", *image.size, sum(repeats), fps, sum(repeats) / fps, codec, mode, recipe)


def _tick(image: Image.Image) -> float:
    """Milliseconds to which the format rounds durations."""
    return 10.0 if image.format == "GIF" else 1.0


def _timeline(durations: list[float], tick: float) -> tuple[list[int], float]:
    """How often to show each frame of an animation so that a constant rate results, and that rate in frames a second.

    durations: milliseconds, rounded to ``tick``. Up to 10 ms count as 100, as browsers have it.
    """
    shown = [d if d > 10 else 100.0 for d in durations]
    even = max(shown) - min(shown) <= tick
    repeats = [1 if even else max(1, round(d / min(shown))) for d in shown]
    count, seconds = sum(repeats), sum(shown) / 1000
    whole, slack = round(count / seconds), tick / 1000
    if whole and abs(count / whole - seconds) <= slack:  # a whole rate within the rounding is what was meant
        return repeats, float(whole)
    return repeats, count / seconds


def _read_folder(folder: Path) -> Clip:
    pictures = _pictures(folder)
    frames = []
    for number, file in enumerate(pictures, start=1):
        frames.append(read_image(file))
        if frames[-1].shape != frames[0].shape:
            sizes = " and ".join(f"{f.shape[1]}x{f.shape[0]}" for f in (frames[0], frames[-1]))
            raise InputError(f"the pictures in {folder} differ in size ({sizes}, {file.name}); make them equal")
        _check_room(folder, number, frames[0].size)
    return Clip(np.stack(frames), _folder_rate(folder))


def _pictures(folder: Path) -> list[Path]:
    """The PNGs of a folder by the number in their name, then by name."""

    def order(file: Path) -> tuple[int, str]:
        digits = re.search(r"(\d+)\D*$", file.stem)
        return int(digits[1]) if digits else -1, file.name

    try:
        found = [f for f in folder.iterdir() if f.suffix.lower() == ".png" and not f.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions") from None
    if not found:
        raise InputError(f"{folder} holds no .png files; expected a folder of numbered PNGs, or a clip's file")
    return sorted(found, key=order)


def _folder_rate(folder: Path) -> float:
    try:
        fps = json.loads((folder / target.RECIPE_FILE).read_text(encoding="utf-8"))["fps"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return FOLDER_FPS
    good = isinstance(fps, (int, float)) and not isinstance(fps, bool) and 0 < fps < 1000
    return float(fps) if good else FOLDER_FPS


def _picture_comment(file: Path, image: Image.Image) -> str | None:
    if image.format == "PNG":
        text = image.info.get(embed.PNG_KEY)
        return str(text) if text is not None else None
    if image.format == "GIF":
        return embed.gif_comment(file.read_bytes())
    if image.format == "WEBP":
        return embed.exif_description(image)
    return embed.jpeg_comment(file.read_bytes()) if image.format in ("JPEG", "MPO") else None
