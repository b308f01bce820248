"""Films, whole or a part: videos, moving pictures and folders of pictures, brought to a constant rate."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from sora.errors import InputError, UsageError
from sora.media import animation, embed, ffmpeg, frames, picture, stream, target, timing
from sora.media.background import WHITE, Background
from sora.plan.clip import Clip, fit
from sora.storage import regular

MAX_CLIP_BYTES = 4 << 30  # of all frames of one clip in memory
MAX_CLIP_FRAMES = 100_000
SLOWEST = 1e-3  # frames a second; less is no rate in a file
FOLDER_FPS = 24.0  # of a folder of pictures that does not say
KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}  # of pictures in a folder

Pixels = Callable[[Image.Image], np.ndarray]


@dataclass(frozen=True)
class VideoSource:
    """A film that is open but not decoded yet. size: (height, width). fps: frames a second, constant.

    decode(first, last) yields its frames from ``first`` to before ``last``; fewer where a file is damaged.
    """

    path: Path
    frames: int
    fps: float
    size: tuple[int, int]
    decode: Callable[[int, int], Iterator[np.ndarray]]


def read_clip(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    deinterlace: bool | None = None,
    background: Background = WHITE,
    on_note: picture.Note = picture.ignore,
) -> Clip:
    """A film as a Clip: a video, a moving GIF, WebP or PNG, or a folder of numbered PNGs or JPEGs.

    start, end: seconds; only frames whose time lies in [start, end) are decoded. Videos and animations of varying
    rate come at a constant one. A folder's rate is the ``fps`` of its recipe.json, else FOLDER_FPS. deinterlace:
    whether whole frames are made of two fields; None where the file says that there are fields. Colours are those of
    sRGB, transparency lies over the background. on_note: called with what a person should know of how it was read.
    Raises InputError for what is missing, damaged, a still, or over MAX_CLIP_BYTES; UsageError for a start or end
    outside the film.
    """
    options: dict[str, Any] = {"deinterlace": deinterlace, "background": background, "on_note": on_note}
    with open_video(path, **options) as film:
        first, last = _frame_range(film, start, end)
        check_room(film, last - first, cut=start is not None or end is not None)
        frames_FYXC = np.empty((last - first, *film.size, 3), np.uint8)
        count = 0
        for frame_YXC in film.decode(first, last):
            frames_FYXC[count] = frame_YXC
            count += 1
        if not count:
            raise InputError(f"{path} has no frame there that can be decoded; get a whole copy")
    return Clip(frames_FYXC[:count], film.fps)


def read_frames(
    path: str | Path,
    numbers: Sequence[int],
    size: tuple[int, int],
    *,
    background: Background = WHITE,
    on_note: picture.Note = picture.ignore,
) -> np.ndarray:
    """Some of a film's frames, uint8 RGB (F, Y, X, 3), each cropped in the middle and resized to ``size`` = (height,
    width) as it is decoded, so that a long or large film takes no more memory. numbers: of those frames, rising,
    counted from 0. Of a damaged film, its last frame stands for those that are missing. Otherwise as ``read_clip``.
    Raises InputError."""
    check_size(path, len(numbers), size)
    with open_video(path, background=background, on_note=on_note) as film:
        wanted, found = set(numbers), list[np.ndarray]()
        last: np.ndarray | None = None
        for n, last in enumerate(film.decode(0, max(numbers) + 1)):
            if n in wanted:
                found.append(fit(last, *size))
        if last is None:
            raise InputError(f"{path} has no frame there that can be decoded; get a whole copy")
    found += [fit(last, *size)] * (len(numbers) - len(found))
    return np.stack(found)


def check_size(path: str | Path, frames: int, size: tuple[int, int]) -> None:
    """Raises InputError where so many frames of that size are more than MAX_CLIP_BYTES."""
    if frames * size[0] * size[1] * 3 > MAX_CLIP_BYTES:
        what = f"{frames} frames of {path} at {size[1]}x{size[0]}"
        raise InputError(f"{what} are over {MAX_CLIP_BYTES >> 30} GiB; ask for a shorter or smaller film")


def cut(clip: Clip, name: str, start: float | None, end: float | None) -> Clip:
    """The part of a clip in memory that ``read_clip`` would read of its file. name: for a person. Raises UsageError."""
    film = VideoSource(
        Path(name), len(clip), clip.fps, clip.size, lambda first, last: iter(clip.frames_FYXC[first:last])
    )
    first, last = _frame_range(film, start, end)
    return clip[first:last]


@contextmanager
def open_video(
    path: str | Path,
    pixels: Pixels | None = None,
    *,
    deinterlace: bool | None = None,
    background: Background = WHITE,
    max_pixels: int | None = None,
    on_note: picture.Note = picture.ignore,
) -> Iterator[VideoSource]:
    """A film, open while the block runs. ``pixels`` says what becomes of each frame, RGB where there is none.
    max_pixels: of a frame of a video, whose larger frames come smaller. The rest is as in ``read_clip``. Raises
    InputError."""
    file, notes = picture.existing(path), set[str]()

    def note_once(note: str) -> None:
        if note not in notes:
            notes.add(note)
            on_note(f"{path} {note}")

    made: Pixels = pixels or partial(picture.rgb, background=background, on_note=note_once)
    if file.is_dir():
        yield _folder(file, made)
        return
    with picture.opened(file) as image:
        if image is not None and not picture.moves(image):
            raise InputError(f"{path} is a still picture; expected a clip (`sora img2vid` animates a still)")
        if image is not None:
            yield _animation(file, image, made)
        else:
            yield _video(file, made, deinterlace, note_once, special=pixels is not None, max_pixels=max_pixels)


def _frame_range(film: VideoSource, start: float | None, end: float | None) -> tuple[int, int]:
    """The first frame at or after ``start`` and the first at or after ``end``. Raises UsageError."""
    seconds = film.frames / film.fps
    for name, value in (("--start", start), ("--end", end)):
        if value is not None and not value >= 0:
            raise UsageError(f"{name} {value:g} is no time in a film; expected seconds, 0 or more")
    if start is not None and end is not None and start >= end:
        raise UsageError(f"--start {start:g} is not before --end {end:g}; give a start that is less than the end")
    if start is not None and start >= seconds:
        raise UsageError(f"--start {start:g} is past the end of {film.path}, {seconds:g} s long; choose less")
    first = 0 if start is None else _frame_at(start, film)
    last = film.frames if end is None else _frame_at(end, film)
    if first >= last:
        apart = f"its frames are {1 / film.fps:.3g} s apart"
        raise UsageError(f"no frame of {film.path} lies between --start and --end; {apart}, choose a longer part")
    return first, last


def _frame_at(seconds: float, film: VideoSource) -> int:
    """The first frame not before that time; a millionth of a frame is the rounding of decimal seconds."""
    return film.frames if seconds * film.fps >= film.frames else math.ceil(seconds * film.fps - 1e-6)


def check_room(film: VideoSource, frames: int, cut: bool) -> None:
    """Raises InputError where so many frames are more than MAX_CLIP_FRAMES or MAX_CLIP_BYTES."""
    frame_bytes = film.size[0] * film.size[1] * 3
    if frames * frame_bytes <= MAX_CLIP_BYTES and frames <= MAX_CLIP_FRAMES:
        return
    size = f"{film.size[1]}x{film.size[0]}"
    most = min(MAX_CLIP_BYTES // frame_bytes, MAX_CLIP_FRAMES) / film.fps
    what = f"the part of {film.path}" if cut else str(film.path)
    advice = "bring --start and --end closer together" if cut else "choose a part with --start and --end"
    seconds, most = frames / film.fps, math.floor(most * 100) / 100
    raise InputError(f"{what} is {seconds:.2f} s long, at most {most:g} s of {size} can be read at once; {advice}")


def _video(
    file: Path,
    pixels: Pixels,
    deinterlace: bool | None,
    on_note: picture.Note,
    *,
    special: bool,
    max_pixels: int | None = None,
) -> VideoSource:
    """special: whether ``pixels`` makes something else than RGB, which most frames are already. max_pixels: None for
    frames of the film's own size."""
    facts = stream.stream(file)
    if facts.height * facts.width > picture.MAX_PIXELS:
        size, most = f"{facts.width}x{facts.height}", picture.MAX_PIXELS // 10**6
        raise InputError(f"{file} is {size}, over {most} megapixels a frame; scale it down")
    times = timing.probe_timing(file, facts.rate, facts.begin)
    if missing := shortfall(file, facts, times):
        on_note(f"is incomplete: {missing}")
    size = (facts.height, facts.width) if max_pixels is None else within(facts.height, facts.width, max_pixels)

    def decode(first: int, last: int) -> Iterator[np.ndarray]:
        options: dict[str, Any] = {"size": size, "deinterlace": deinterlace, "on_note": on_note}
        for frame_YXC in frames.rgb_frames(file, facts, times, first, last, **options):
            yield pixels(Image.fromarray(frame_YXC)) if special or facts.has_alpha else frame_YXC

    return VideoSource(file, times.frames, float(times.rate), size, decode)


def within(height: int, width: int, pixels: int) -> tuple[int, int]:
    """(height, width) of the same shape with at most so many pixels; itself where it has no more."""
    share = (pixels / (height * width)) ** 0.5
    return (height, width) if share >= 1 else (max(1, int(height * share)), max(1, int(width * share)))


def shortfall(file: Path, facts: stream.Stream, times: timing.FrameTiming) -> str | None:
    """What a film that is cut off lacks, in words; None for a whole one."""
    expected = round((facts.seconds or 0) * times.rate)
    if times.incomplete:
        return (
            f"{times.frames} of about {expected} frames are there" if expected > times.frames else "its end is missing"
        )
    return "its name says that it is still being downloaded" if ffmpeg.is_unfinished(file) else None


def _animation(file: Path, image: Image.Image, pixels: Pixels) -> VideoSource:
    shown, fps = repeats(file, image)

    def decode(first: int, last: int) -> Iterator[np.ndarray]:
        at = 0
        for frame, times in zip(ImageSequence.Iterator(image), shown, strict=False):
            wanted = min(at + times, last) - max(at, first)
            if wanted > 0:
                made = pixels(frame)
                yield from (made for _ in range(wanted))
            at += times
            if at >= last:
                return

    return VideoSource(file, sum(shown), fps, (image.height, image.width), decode)


def repeats(file: Path, image: Image.Image) -> tuple[list[int], float]:
    """How often to show each frame of an animation so that a constant rate results, and that rate a second. Raises
    InputError for an animation that would take too much work."""
    durations = animation.durations(file, image.format or "")
    if durations is None:
        durations = _decoded_durations(file, image)
    if not durations:
        raise InputError(f"{file} has no frame that can be decoded; get a whole copy")
    return _constant_rate(durations, tick=10.0 if image.format == "GIF" else 1.0)


def _decoded_durations(file: Path, image: Image.Image) -> list[float]:
    """Of a format whose frames must be decoded for it."""
    frames = getattr(image, "n_frames", 1)
    if frames > animation.MAX_FRAMES or frames * image.width * image.height * 3 > MAX_CLIP_BYTES:
        raise InputError(f"{file} has {frames:,} frames of {image.width}x{image.height}, too many; cut it into parts")
    durations = []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        durations.append(float(frame.info.get("duration", 0)))
    return durations


def _constant_rate(durations: list[float], tick: float) -> tuple[list[int], float]:
    """``repeats`` from durations in milliseconds, rounded to ``tick``. Up to 10 ms count as 100, as browsers do."""
    shown = [d if d > 10 else 100.0 for d in durations]
    even = max(shown) - min(shown) <= tick
    times = [1 if even else max(1, round(d / min(shown))) for d in shown]
    count, seconds = sum(times), sum(shown) / 1000
    whole, slack = round(count / seconds), tick / 1000
    if whole and abs(count / whole - seconds) <= slack:  # a whole rate within the rounding is what was meant
        return times, float(whole)
    return times, count / seconds


def _folder(folder: Path, pixels: Pixels) -> VideoSource:
    files = pictures(folder)
    size = picture.size_of(files[0])

    def decode(first: int, last: int) -> Iterator[np.ndarray]:
        for file in files[first:last]:
            with picture.opened_still(file) as image:
                made = pixels(image)
            if made.shape[:2] != size:
                sizes = f"{size[1]}x{size[0]} and {made.shape[1]}x{made.shape[0]}, {file.name}"
                raise InputError(f"the pictures in {folder} differ in size ({sizes}); make them equal")
            yield made

    return VideoSource(folder, len(files), folder_rate(folder), size, decode)


def pictures(folder: Path) -> list[Path]:
    """The PNGs or the JPEGs of a folder, whichever are more, by the number in their name, then by name.

    Raises InputError.
    """

    def order(file: Path) -> tuple[int, str]:
        digits = re.search(r"(\d+)\D*$", file.stem)
        return int(digits[1]) if digits else -1, file.name

    try:
        found = [f for f in folder.iterdir() if f.suffix.lower() in KINDS and not f.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions") from None
    if not found:
        if ffmpeg.is_unfinished(folder):  # Safari's, with what has come so far in it
            raise ffmpeg.incomplete(folder, "")
        wanted = "a folder of numbered pictures, or a clip's file"
        raise InputError(f"{folder} holds no .png or .jpg files; expected {wanted}")
    counts = Counter(KINDS[f.suffix.lower()] for f in found)
    kind = "png" if counts["png"] >= counts["jpeg"] else "jpeg"
    return sorted((f for f in found if KINDS[f.suffix.lower()] == kind), key=order)


def folder_rate(folder: Path) -> float:
    """Frames a second: what its recipe.json says, else FOLDER_FPS."""
    try:
        fps = regular.parse_json(embed.folder_note(folder / target.RECIPE_FILE) or "")["fps"]
    except (ValueError, KeyError, TypeError):
        return FOLDER_FPS
    good = isinstance(fps, (int, float)) and not isinstance(fps, bool) and SLOWEST <= fps < 1000
    return float(fps) if good else FOLDER_FPS
