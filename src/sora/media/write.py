"""The streaming writer: frames in, a verified file out, or nothing at all."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sora.errors import InputError, UsageError
from sora.media import decoder, embed, ffmpeg, signing, sound, target
from sora.media.encoder_thread import Encoder, EncoderThread
from sora.media.facts import Info, probe
from sora.media.provenance import TAG, Provenance, append_box, gif_block
from sora.media.sound import Sound
from sora.plan.clip import Clip
from sora.storage import refusal

UNCHANGED = "nothing half-made is left there"

# rgb24 in. The matrix is said to the scaler and tagged on the frames, or players show colours a shade off.
_BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int,"
    "format=yuv420p,setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
_TAGS = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
_RGB = "setparams=range=pc:color_primaries=bt709:color_trc=bt709"  # shown like the .mp4 of the same frames
# A palette a frame needs no second pass; an ordered dither does not crawl from one frame to the next.
_GIF = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=bayer:bayer_scale=4"

_NOTES = "notes"  # the file in the staging folder that holds the tags

_ENCODE: dict[str, Sequence[str]] = {
    ".mp4": ["-vf", _BT709, *f"-c:v libx264 -crf 17 -preset medium -movflags +faststart {_TAGS}".split()],
    ".mkv": ["-vf", _RGB, *["-c:v", "ffv1", "-level", "3", "-pix_fmt", "bgr0"]],
    ".gif": ["-filter_complex", _GIF, "-loop", "0"],
}


class Writer:
    """Takes a clip's frames as they come. ``path``: the target and, once closed, where the file stands."""

    def __init__(self, path: Path, size: tuple[int, int], encoder: Encoder) -> None:
        self.path, self.frames, self._size, self._encoder = path, 0, size, encoder

    def write(self, frames_FYXC: np.ndarray) -> None:
        """Appends uint8 RGB frames of the writer's size. Raises InputError when the encoder fails."""
        if frames_FYXC.dtype != np.uint8 or frames_FYXC.shape[1:] != (*self._size, 3):
            raise ValueError(f"expected uint8 (F, {self._size}, 3), not {frames_FYXC.dtype} {frames_FYXC.shape}")
        with _write_errors(self.path):
            for frame_YXC in frames_FYXC:
                self._encoder.write(np.array(frame_YXC, order="C"))  # its own, which nobody changes meanwhile
                self.frames += 1


@contextmanager
def writer(
    path: str | Path,
    fps: float,
    size: tuple[int, int],
    recipe_json: str = "",
    force: bool = False,
    sounds: Sequence[Sound] = (),
    overlap: bool = True,
    provenance: Provenance | None = None,
) -> Iterator[Writer]:
    """A file at ``path`` of the kind its suffix says, from frames of ``size`` = (height, width) at ``fps``.

    Kinds: .mp4 (H.264, yuv420p, bt709), .mkv (FFV1 in RGB, lossless), .gif, .webp, .png and .jpg for one frame, and
    a folder of numbered PNGs with recipe.json. Frames go to a hidden folder next to the target; when the block ends
    well the file is opened again, its frames and size are checked, and it is renamed into place. When the block
    raises, nothing is left. .mp4 (AAC) and .mkv (FLAC) get ``sounds``, read before the block starts; the other kinds
    are silent. overlap: frames are encoded in a thread of their own while the block goes on. provenance: what the file
    says of where it came from; None for nothing. Raises UsageError and InputError as ``check_target`` and
    ``check_size`` do, and InputError when a film in ``sounds`` has none or encoding fails.
    """
    target.check_target(path, force)
    check_size(path, size, fps)
    kind, place = target.kind_of(path), Path(path)
    with target.staged(place) as folder:
        made = folder / ("frames" if kind == target.FOLDER else f"made{kind}")
        with _write_errors(place):
            staged = sound.stage(sounds, folder, kind) if sounds and kind in sound.ENCODE else None
            encoder = _encoder(kind, made, place, fps, size, _Notes(recipe_json, provenance))
            encoder = EncoderThread(encoder, math.prod((*size, 3))) if overlap else encoder
        try:
            w = Writer(place, size, encoder)
            yield w
            if not w.frames:
                raise InputError(f"no frames were painted, so {place} is not written")
            with _write_errors(place):
                encoder.close()
        finally:
            encoder.abandon()
        if staged:
            with _write_errors(place):
                sound.lay(made, folder / _NOTES, staged, w.frames / ffmpeg.rate(fps))
        with _write_errors(place):
            if kind == ".mp4" and provenance is not None:
                append_box(made, provenance.packet())
            if kind in signing.KINDS and provenance is not None and signing.is_asked_for():
                signing.sign(made, provenance)
        _verify(made, place, w.frames, size, has_sound=bool(staged), provenance=provenance)
        with _write_errors(place):
            w.path = target.publish(made, place, force)


def write_clip(path: str | Path, clip: Clip, recipe_json: str = "", force: bool = False) -> Path:
    """A whole clip at once; see ``writer``. Returns where the file stands."""
    with writer(path, clip.fps, clip.size, recipe_json, force) as w:
        w.write(clip.frames_FYXC)
    return w.path


def check_size(path: str | Path, size: tuple[int, int], fps: float) -> None:
    """Refuses a (height, width) or rate that the kind of file cannot hold. Raises UsageError.

    An .mp4 needs even sides: its chroma has half the resolution, and padding or cropping would change the picture.
    """
    kind, (height, width) = target.kind_of(path), size
    if kind == ".mp4" and (height % 2 or width % 2):
        smaller = f"{max(2, width - width % 2)}x{max(2, height - height % 2)}"
        larger = f"{width + width % 2}x{height + height % 2}"
        hint = f"try {smaller} or {larger}, or write .mkv, which is lossless"
        raise UsageError(f"{width}x{height} does not fit .mp4, which needs even sides; {hint}")
    if kind == ".gif" and fps > 50:
        raise UsageError(f"a .gif holds at most 50 frames a second, not {fps:g}; lower --fps or write .mp4")
    if kind == ".webp" and max(size) > 16_383:
        raise UsageError(f"a .webp is at most 16383 pixels a side, not {width}x{height}; write .mkv")


@contextmanager
def _write_errors(place: Path) -> Iterator[None]:
    """Says in the user's words what the system refuses while the file is written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {place}: {refusal.explain(error, place)} ({UNCHANGED})") from None


def _verify(
    made: Path, place: Path, frames: int, size: tuple[int, int], *, has_sound: bool, provenance: Provenance | None
) -> None:
    """Opens the finished file and compares. Raises InputError."""
    try:
        info: Info = probe(made)
    except (InputError, OSError) as error:
        reason = refusal.explain(error, place) if isinstance(error, OSError) else "it cannot be read"
        raise InputError(f"{place} came out damaged ({reason}); it is not kept, try again or another -o") from None
    if (info.frames, info.height, info.width) != (frames, *size):
        found = f"{info.frames} frames of {info.width}x{info.height}"
        raise InputError(
            f"{place} came out wrong: {found}, expected {frames} of {size[1]}x{size[0]}; it is not kept, try .mkv"
        )
    if has_sound and not info.sound:
        raise InputError(f"{place} came out without its sound; it is not kept, try .mkv")
    if provenance is not None and info.source_type != provenance.source_type:
        raise InputError(f"{place} came out without the mark of its origin; it is not kept, try another kind of file")


@dataclass(frozen=True)
class _Notes:
    """What a file says of itself. recipe: JSON, empty for none."""

    recipe: str
    provenance: Provenance | None

    @property
    def xmp(self) -> bytes:
        """A packet; empty for none."""
        return b"" if self.provenance is None else self.provenance.packet()

    def ffmetadata(self) -> bytes:
        """As the file from which ffmpeg takes the tags."""
        lines = [f"comment={ffmpeg.escaped(self.recipe)}"] if self.recipe else []
        lines += [f"{TAG}={ffmpeg.escaped(self.provenance.uri)}"] if self.provenance else []
        return "\n".join([";FFMETADATA1", *lines, ""]).encode()


def _encoder(kind: str, made: Path, place: Path, fps: float, size: tuple[int, int], notes: _Notes) -> Encoder:
    if kind in _ENCODE:
        return _Pipe(kind, made, place, fps, size, notes)
    if kind == ".webp":
        return _WebP(made, fps, size, notes)
    return _Folder(made, notes) if kind == target.FOLDER else _Still(made, notes)


class _Pipe:
    """Frames through ffmpeg's standard input. When this process dies, however it dies, ffmpeg does."""

    def __init__(self, kind: str, made: Path, place: Path, fps: float, size: tuple[int, int], notes: _Notes) -> None:
        self._gif, self._made, self._place, self._notes = kind == ".gif", made, place, notes
        # The tag comes from a file: an argument holds 128 KiB, and a recipe with long prompts can pass that.
        tag_file = made.with_name(_NOTES)
        tag_file.write_bytes(notes.ffmetadata())
        raw = f"-f rawvideo -pix_fmt rgb24 -s {size[1]}x{size[0]} -r {ffmpeg.rate(fps)} -i pipe:0".split()
        tags = ["-f", "ffmetadata", "-i", ffmpeg.url(tag_file), "-map_metadata", "1"]
        arguments = [*raw, *tags, *_ENCODE[kind], ffmpeg.url(made)]
        self._log = made.with_name("log").open("w+b")
        self._process = decoder.taking_frames(*arguments, stdout=subprocess.DEVNULL, stderr=self._log)

    def write(self, frame_YXC: np.ndarray) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame_YXC.data)
        except BrokenPipeError:
            raise self._failure() from None

    def close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._failure() from None
        if self._process.wait():
            raise self._failure()
        if self._gif and self._notes.recipe:
            embed.add_gif_comment(self._made, self._notes.recipe)
        if self._gif and self._notes.provenance:
            embed.append_to_gif(self._made, gif_block(self._notes.xmp))

    def _failure(self) -> InputError:
        status = self._process.wait()
        self._log.seek(0)
        log, place = self._log.read(), self._place
        reason = refusal.explain_status(status, place) or refusal.explain_log(log.decode(errors="replace"), place)
        reason = reason or f"status {status}, {ffmpeg.last_line(log)}; try another kind of file or another -o"
        return InputError(f"cannot write {place}: the video encoder stopped: {reason} ({UNCHANGED})")

    def abandon(self) -> None:
        """Ends ffmpeg if it still runs."""
        self._process.kill()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        self._log.close()


class _WebP:
    def __init__(self, made: Path, fps: float, size: tuple[int, int], notes: _Notes) -> None:
        self._notes, self._file = notes, made.open("wb")
        self._stream = embed.WebPStream(self._file, *size, fps)

    def write(self, frame_YXC: np.ndarray) -> None:
        self._stream.write(frame_YXC)

    def close(self) -> None:
        self._stream.close(self._notes.recipe, self._notes.xmp)
        self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):  # what is not written yet no longer matters
            self._file.close()


class _Folder:
    """Numbered PNGs and recipe.json."""

    def __init__(self, made: Path, notes: _Notes) -> None:
        self._made, self._notes, self._count = made, notes, 0
        made.mkdir()

    def write(self, frame_YXC: np.ndarray) -> None:
        embed.save_image(self._made / f"{self._count:05d}.png", frame_YXC, "", self._notes.xmp)
        self._count += 1

    def close(self) -> None:
        if self._notes.recipe:
            (self._made / target.RECIPE_FILE).write_bytes(self._notes.recipe.encode())

    def abandon(self) -> None:
        pass


class _Still:
    """A PNG or JPEG, of exactly one frame."""

    def __init__(self, made: Path, notes: _Notes) -> None:
        self._made, self._notes = made, notes

    def write(self, frame_YXC: np.ndarray) -> None:
        if self._made.exists():
            raise UsageError(f"a {self._made.suffix} holds one frame; write a clip as .mp4, .gif, .webp or .mkv")
        embed.save_image(self._made, frame_YXC, self._notes.recipe, self._notes.xmp)

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass
