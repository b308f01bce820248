"""Facts about the streams of a film's file, out of what ffmpeg says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sora.errors import InputError
from sora.media import colorimetry, decoder, ffmpeg, picture
from sora.media.colorimetry import Colorimetry
from sora.media.tracks import SoundTrack, sound_tracks

SEEKABLE = ("mov,", "matroska,")  # where a jump lands on a keyframe before the time asked for
MAX_PIXELS = ("-max_pixels", str(picture.MAX_PIXELS))  # before each frame, since they may grow on the way

_ALPHA = re.compile(r"yuva|gbra|rgba|bgra|argb|abgr|ya\d|ayuv|vuya|uyva|pal8")
# WebM keeps alpha as a second picture, which ffmpeg's own decoders leave out.
_ALPHA_DECODERS = {"vp8": ("-c:V:0", "libvpx"), "vp9": ("-c:V:0", "libvpx-vp9")}
_FIELDS = {"T": "tff", "B": "bff", "P": ""}
_FRAMES_SAY = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "dvvideo", "prores")  # of their own fields


@dataclass(frozen=True)
class Stream:
    """The first video stream of a file, as it is shown: (height, width) is after rotation, in square pixels.

    rate: frames a second. pix_fmt: ffmpeg's name, of what is decoded. sounds: the file's sound tracks. coded: (height,
    width) in pixels as they are coded, which may be oblong. shape: width to height, as ffmpeg has it of the first one.
    fields: "tff" or "bff" where frames are interlaced, the top or the bottom field first, else "". frames_say: whether
    each frame says that of itself. turned: whether ffmpeg turns or crops frames before any filter sees them. seconds:
    that the file says it lasts, with its sound; None where it does not say. begin: the second of the first frame, None
    without times; frames before it cannot be decoded. decoder: arguments that choose ffmpeg's.
    """

    height: int
    width: int
    rate: Fraction
    codec: str
    pix_fmt: str
    colours: Colorimetry
    seekable: bool
    sounds: tuple[SoundTrack, ...]
    coded: tuple[int, int]
    shape: float
    fields: str
    frames_say: bool
    turned: bool
    seconds: float | None
    begin: float | None
    decoder: tuple[str, ...]

    @property
    def has_alpha(self) -> bool:
        return bool(_ALPHA.match(self.pix_fmt))


def stream(path: Path) -> Stream:
    """Facts about the first video stream, from decoding one frame. Raises InputError."""
    # The frame is made small before it is printed: showinfo has its size after rotation, and YUV4MPEG2's first line,
    # unlike the log, has the rate as an exact fraction. Its colours are of no matter, and some cannot be scaled.
    filters = f"showinfo,{colorimetry.NAMELESS},scale=16:16"
    arguments = ("-map", "0:V:0", "-vf", filters, "-frames:v", "1", "-pix_fmt", "yuv444p")
    done = decoder.run(["-threads", "1", *MAX_PIXELS, *ffmpeg.source(path), *arguments, "-f", "yuv4mpegpipe", "pipe:1"])
    header = re.match(rb"YUV4MPEG2 [^\n]*?F(\d+):(\d+)", done.stdout)
    log = done.stderr.decode(errors="replace")
    shown = re.search(r"^\[Parsed_showinfo[^\n]* sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(.)", log, re.MULTILINE)
    decoded = re.search(r"^\[Parsed_showinfo[^\n]* fmt:(\w+) ", log, re.MULTILINE)
    opened = re.search(r"^Input #0, (\S+), from", log, re.MULTILINE)
    found = re.search(r"^ *Stream #0:\d+[^\n]*? Video: (\w+)(?![^\n]*attached pic)([^\n]*)", log, re.MULTILINE)
    if done.returncode or not header or not shown or not decoded or not int(header[2]):
        raise _no_frame(path, log, opened is not None, done.stderr)
    across, down, coded_width, height = map(int, shown.groups()[:4])
    width = _square(coded_width, across, down)
    codec, rest = found.groups() if found else ("", "")
    fields = re.search(r"[(,] ?(top|bottom) (?:first|coded)", rest)
    second = _ALPHA_DECODERS.get(codec, ()) if found and _says_alpha(log[found.end() :]) else ()
    return Stream(
        height,
        width,
        rate=Fraction(int(header[1]), int(header[2])),
        codec=codec,
        pix_fmt="yuva420p" if second else decoded[1],
        colours=colorimetry.of_log(log),
        seekable=opened is not None and opened[1].startswith(SEEKABLE),
        sounds=sound_tracks(log),
        coded=(height, coded_width),
        shape=coded_width / height * (across / down if across and down else 1),
        fields=_FIELDS[shown[5]] or (_FIELDS[fields[1][0].upper()] if fields else ""),
        frames_say=shown[5] != "P" or codec in _FRAMES_SAY,
        turned=bool(re.search("display ?matrix|cropping", log, re.IGNORECASE)),
        seconds=_seconds(log),
        begin=_begin(log),
        decoder=second,
    )


def _says_alpha(log: str) -> bool:
    """log: what follows the line of the stream."""
    own = re.split(r"\n *Stream ", log, maxsplit=1)[0]
    return bool(re.search(r"^ +alpha_mode +: 1$", own, re.MULTILINE | re.IGNORECASE))


def _no_frame(path: Path, log: str, opened: bool, raw_log: bytes) -> InputError:
    """Why no frame came of a file."""
    if "max pixel count" in log:
        return InputError(f"{path} has over {picture.MAX_PIXELS // 10**6} megapixels a frame; scale it down")
    if opened and sound_tracks(log) and "matches no streams" in log:
        return InputError(f"{path} holds sound but no picture; expected a film, e.g. an .mp4, .mkv or .webm")
    if ffmpeg.is_unfinished(path) or "partial file" in log or "ended prematurely" in log:
        return ffmpeg.incomplete(path, "no frame is there whole")
    if opened:
        return InputError(f"{path} has no frame that can be decoded; get a whole copy")
    return ffmpeg.unreadable(path, _reason(raw_log).encode())


def _begin(log: str) -> float | None:
    found = re.search(r"^\[Parsed_showinfo[^\n]* pts_time: *(-?[\d.]+)", log, re.MULTILINE)
    return float(found[1]) if found else None


def _seconds(log: str) -> float | None:
    found = re.search(r"^  Duration: (\d+):(\d+):(\d+\.\d+)", log, re.MULTILINE)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def _square(width: int, across: int, down: int) -> int:
    """The width in square pixels, of pixels that are across:down. Less than 2 % is a rounding, not worth a blur."""
    believed = down and 0.25 <= across / down <= 4 and abs(across / down - 1) > 0.02
    return round(width * across / down) if believed else width


def sound_tracks_of(path: Path) -> tuple[SoundTrack, ...]:
    """The sound tracks of a film, or of a file of sound alone. Raises InputError for what is neither."""
    done = decoder.run(ffmpeg.source(path))
    log = done.stderr.decode(errors="replace")
    if not re.search(r"^Input #0, ", log, re.MULTILINE):
        raise ffmpeg.unreadable(path, _reason(done.stderr).encode())
    return sound_tracks(log)


def _reason(log: bytes) -> str:
    """ffmpeg's complaint out of a full log, where facts about the file stand too."""
    lines = [line for line in log.splitlines() if re.search(rb"rror|nvalid|not found|No such|denied", line)]
    return ffmpeg.last_line(b"\n".join(lines))
