"""Facts about files and the recipe inside them, without keeping any frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from sora.errors import InputError
from sora.media import animation, embed, ffmpeg, picture, provenance, read, stream, target, timing
from sora.media.tracks import SoundTrack


@dataclass(frozen=True)
class Info:
    """Facts about a file. kind: "video", "animation", "image" or "folder". width, height: pixels, as shown.

    frames, fps: as ``read_clip`` gives them. fps, seconds: 0 for an image. codec, pix_fmt: in ffmpeg's or Pillow's
    words. recipe: JSON text, if it has one. sound_tracks: those it has. source_type: a name of IPTC's vocabulary of
    digital source types, where the file says one. colors: matrix, primaries and transfer, as far as a film names them.
    interlaced: whether it says that its frames are. incomplete: what a film that is cut off lacks, in words.
    """

    kind: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    codec: str
    pix_fmt: str
    recipe: str | None = None
    sound_tracks: tuple[SoundTrack, ...] = ()
    source_type: str | None = None
    colors: str = ""
    interlaced: bool = False
    incomplete: str | None = None

    @property
    def sound(self) -> bool:
        """Whether it has any."""
        return bool(self.sound_tracks)


@dataclass(frozen=True)
class Notes:
    """What a file says of itself. recipe: JSON text. source_type: as in ``Info``."""

    recipe: str | None
    source_type: str | None


def probe(path: str | Path) -> Info:
    """Facts about a file without keeping its frames. Raises InputError for what cannot be read."""
    info = _facts(picture.existing(path))
    notes = read_notes(path)
    return replace(info, recipe=notes.recipe, source_type=notes.source_type)


def _facts(file: Path) -> Info:
    if file.is_dir():
        return _probe_folder(file)
    with picture.opened(file) as image:
        if image is not None:
            return _probe_picture(file, image)
    facts = stream.stream(file)
    times = timing.probe_timing(file, facts.rate, facts.begin)
    fps, shape = float(times.rate), (facts.width, facts.height)
    seconds = times.frames / fps
    own = {"sound_tracks": facts.sounds, "interlaced": bool(facts.fields), "colors": facts.colours.summary}
    missing = read.shortfall(file, facts, times)
    return Info("video", *shape, times.frames, fps, seconds, facts.codec, facts.pix_fmt, incomplete=missing, **own)


def read_recipe(path: str | Path) -> str | None:
    """The recipe's JSON text inside a file or folder that sora wrote; None when it has none, as where the comment is
    longer than any recipe. Raises InputError."""
    file = picture.existing(path)
    return _recipe_in(embed.folder_note(file / target.RECIPE_FILE)) if file.is_dir() else read_notes(path).recipe


def read_notes(path: str | Path) -> Notes:
    """What a file or a folder says of itself; of a folder's pictures the first is asked for its source type. Raises
    InputError."""
    file = picture.existing(path)
    if file.is_dir():
        first = picture.existing(read.pictures(file)[0])
        with picture.opened(first) as image:
            packet = None if image is None else _picture_packet(first, image)
        return Notes(read_recipe(file), provenance.source_type_in(packet))
    with picture.opened(file) as image:
        if image is not None:
            packet = _picture_packet(file, image)
            return Notes(_recipe_in(_picture_comment(file, image)), provenance.source_type_in(packet))
    tags, packet = ffmpeg.tags(file), provenance.in_mp4(file)
    source_type = provenance.source_type_in(packet) or provenance.source_type_of_tags(tags)
    return Notes(_recipe_in(tags.get("comment")), source_type)


def _recipe_in(comment: str | None) -> str | None:
    """Other programs leave comments too ("Made with GIMP"); a recipe is a JSON object."""
    return comment if comment and comment.lstrip().startswith("{") else None


def _probe_folder(folder: Path) -> Info:
    pictures, fps = read.pictures(folder), read.folder_rate(folder)
    with picture.opened(pictures[0]) as first:
        if first is None:
            raise InputError(f"{pictures[0]} is not a picture; expected numbered pictures in {folder}")
        (height, width), count = picture.upright_size(pictures[0], first), len(pictures)
        codec = (first.format or "").lower()
        return Info("folder", width, height, count, fps, count / fps, codec, first.mode.lower())


def _probe_picture(file: Path, image: Image.Image) -> Info:
    codec, mode = (image.format or "").lower(), image.mode.lower()
    if not picture.moves(image):
        height, width = picture.upright_size(file, image)
        return Info("image", width, height, 1, 0.0, 0.0, codec, mode)
    repeats, fps = read.repeats(file, image)
    return Info("animation", *image.size, sum(repeats), fps, sum(repeats) / fps, codec, mode)


def _picture_comment(file: Path, image: Image.Image) -> str | None:
    if image.format == "PNG":
        text = image.info.get(embed.PNG_KEY)
        return str(text) if text is not None else None
    if image.format == "GIF":
        return animation.in_bytes(file, embed.gif_comment)
    if image.format == "WEBP":
        return embed.exif_description(image)
    if image.format in ("JPEG", "MPO"):
        return animation.in_bytes(file, embed.jpeg_comment)
    return None


def _picture_packet(file: Path, image: Image.Image) -> bytes | None:
    """A picture's XMP packet."""
    if image.format == "GIF":
        return animation.in_bytes(file, provenance.in_gif)
    if image.format in ("JPEG", "MPO"):
        return animation.in_bytes(file, provenance.in_jpeg)
    packet = image.info.get(provenance.PNG_KEY if image.format == "PNG" else "xmp")
    return packet.encode() if isinstance(packet, str) else packet if isinstance(packet, bytes) else None
