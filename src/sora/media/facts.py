"""Facts about files and the recipe inside them, without keeping any frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from sora.errors import InputError
from sora.media import embed, ffmpeg, picture, read, target


@dataclass(frozen=True)
class Info:
    """Facts about a file. kind: "video", "animation", "image" or "folder". width, height: pixels, as shown.

    frames, fps: as ``read_clip`` gives them. fps, seconds: 0 for an image. codec, pix_fmt: in ffmpeg's or Pillow's
    words. recipe: JSON text, if it has one. sound: whether it has sound.
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
    sound: bool = False


def probe(path: str | Path) -> Info:
    """Facts about a file without keeping its frames. Raises InputError for what cannot be read."""
    file = picture.existing(path)
    if file.is_dir():
        return _probe_folder(file, read_recipe(path))
    with picture.opened(file) as image:
        if image is not None:
            return _probe_picture(image, read_recipe(path))
    facts, recipe = ffmpeg.stream(file), read_recipe(path)
    times = ffmpeg.probe_timing(file, facts.rate)
    fps, shape = float(times.rate), (facts.width, facts.height)
    seconds = times.frames / fps
    return Info("video", *shape, times.frames, fps, seconds, facts.codec, facts.pix_fmt, recipe, facts.sound)


def read_recipe(path: str | Path) -> str | None:
    """The recipe's JSON text inside a file or folder that sora wrote; None when it has none, as where the comment is
    longer than any recipe. Raises InputError."""
    file = picture.existing(path)
    if file.is_dir():
        text = embed.folder_note(file / target.RECIPE_FILE)
    else:
        with picture.opened(file) as image:
            text = ffmpeg.comment(file) if image is None else _picture_comment(file, image)
    # Other programs leave comments too ("Made with GIMP"); a recipe is a JSON object.
    return text if text and text.lstrip().startswith("{") else None


def _probe_folder(folder: Path, recipe: str | None) -> Info:
    pictures, fps = read.pictures(folder), read.folder_rate(folder)
    with picture.opened(pictures[0]) as first:
        if first is None:
            raise InputError(f"{pictures[0]} is not a picture; expected numbered pictures in {folder}")
        size, count, codec = ImageOps.exif_transpose(first).size, len(pictures), (first.format or "").lower()
        return Info("folder", *size, count, fps, count / fps, codec, first.mode.lower(), recipe)


def _probe_picture(image: Image.Image, recipe: str | None) -> Info:
    codec, mode = (image.format or "").lower(), image.mode.lower()
    if not picture.moves(image):
        width, height = ImageOps.exif_transpose(image).size
        return Info("image", width, height, 1, 0.0, 0.0, codec, mode, recipe)
    repeats, fps = read.repeats(image)
    return Info("animation", *image.size, sum(repeats), fps, sum(repeats) / fps, codec, mode, recipe)


def _picture_comment(file: Path, image: Image.Image) -> str | None:
    if image.format == "PNG":
        text = image.info.get(embed.PNG_KEY)
        return str(text) if text is not None else None
    if image.format == "GIF":
        return embed.in_bytes(file, embed.gif_comment)
    if image.format == "WEBP":
        return embed.exif_description(image)
    return embed.in_bytes(file, embed.jpeg_comment) if image.format in ("JPEG", "MPO") else None
