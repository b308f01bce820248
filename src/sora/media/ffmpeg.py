"""The ffmpeg program that imageio-ffmpeg carries: commands, its metadata text, and facts about a video file."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sora.errors import InputError
from sora.media import decoder, picture
from sora.storage import regular

# Only real containers: a playlist, a script or a text file posing as a video must not make ffmpeg open others.
CONTAINERS = "mov,matroska,avi,flv,asf,ogg,mpeg,mpegts,mpegvideo,m4v,h264,hevc,ivf,obu,nut,mxf,dv,rm,wtv,yuv4mpegpipe"
SOUND_CONTAINERS = "wav,mp3,flac,aac,aiff,caf,w64"
SEEKABLE = ("mov,", "matroska,")  # where a jump lands on a keyframe before the time asked for

MAX_TAG_BYTES = 1 << 23  # bytes of a file's tags that are looked at; a recipe has at most half of that, escaped
_MAX_PIXELS = ("-max_pixels", str(picture.MAX_PIXELS))  # before each frame, since they may grow on the way
_DISCARD = 4  # the flag of a packet that an edit list leaves out
MAX_FRAMES = 4_000_000  # of a film: 18 hours at 60 frames a second
_SLOWEST_DECODING = 5.0  # frames a second
_FASTEST = 60  # frames a second; what claims more must have as many frames


@dataclass(frozen=True)
class Stream:
    """The first video stream of a file, as it is shown: (height, width) is after rotation, in square pixels.

    rate: frames a second. sound: whether the file has a sound stream, too.
    """

    height: int
    width: int
    rate: Fraction
    codec: str
    pix_fmt: str
    tagged: bool
    seekable: bool
    sound: bool


@dataclass(frozen=True)
class FrameTiming:
    """A film at the constant ``rate`` that fits it: so many ``frames``.

    origin: seconds from the file's beginning to the first frame, None where the file holds no times.
    """

    rate: Fraction
    frames: int
    origin: Fraction | None


def source(path: Path) -> list[str]:
    """Input arguments that take the path as a file whatever its name, and never reach the network."""
    return [
        "-protocol_whitelist",
        "file,pipe",
        "-format_whitelist",
        f"{CONTAINERS},{SOUND_CONTAINERS}",
        "-i",
        url(path),
    ]


def url(path: Path) -> str:
    return f"file:{path.absolute()}"


def rate(fps: float) -> Fraction:
    """A rate as a fraction, so that 23.976 and 29.97 survive: ``30000/1001``."""
    return Fraction(fps).limit_denominator(1001)


def unreadable(path: Path, log: bytes) -> InputError:
    with regular.opened(path) as file:
        head = file.read(1024) or b""
    if re.match(rb"(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|<\?xml|<MPD|\[playlist\])", head):
        return InputError(f"{path} is a playlist, expected a film; give the file of the film itself")
    if head and all(byte >= 32 or byte in b"\t\n\r" for byte in head) and not head.startswith(b"YUV4MPEG2"):
        return InputError(f"{path} is a text file, expected a film; give e.g. an .mp4, .mkv, .webm or .gif")
    return InputError(f"{path} cannot be read as a video: {last_line(log)}; expected e.g. an .mp4, .mkv, .webm or .gif")


def last_line(log: bytes) -> str:
    """The line of ffmpeg's log that says most: the first one, without the name of the part that says it."""
    lines = [re.sub(r"^\[[^]]*\] ", "", line).strip() for line in log.decode(errors="replace").splitlines()]
    named = [re.sub(r"^Error opening input: ", "", line) for line in lines if line and "Last message" not in line]
    return named[0].rstrip(".") if named else "no reason given"


def stream(path: Path) -> Stream:
    """Facts about the first video stream, from decoding one frame. Raises InputError."""
    # The frame is made small before it is printed: showinfo has its size after rotation, and YUV4MPEG2's first line,
    # unlike the log, has the rate as an exact fraction.
    arguments = ("-map", "0:V:0", "-vf", "showinfo,scale=16:16", "-frames:v", "1", "-pix_fmt", "yuv444p")
    done = decoder.run(["-threads", "1", *_MAX_PIXELS, *source(path), *arguments, "-f", "yuv4mpegpipe", "pipe:1"])
    header = re.match(rb"YUV4MPEG2 [^\n]*?F(\d+):(\d+)", done.stdout)
    log = done.stderr.decode(errors="replace")
    shown = re.search(r"^\[Parsed_showinfo[^\n]* sar:(\d+)/(\d+) s:(\d+)x(\d+)", log, re.MULTILINE)
    opened = re.search(r"^Input #0, (\S+), from", log, re.MULTILINE)
    found = re.search(
        r"^ *Stream #0:\d+[^\n]*? Video: (\w+)[^\n]*?, (\w+)(?:\(([^)\n]*)\))?, \d+x\d+", log, re.MULTILINE
    )
    if done.returncode or not header or not shown or not int(header[2]):
        raise _no_frame(path, log, opened is not None, done.stderr)
    across, down, coded_width, height = map(int, shown.groups())
    rate, width = Fraction(int(header[1]), int(header[2])), _square(coded_width, across, down)
    codec, pix_fmt, colour = found.groups() if found else ("", "", "")
    tagged = bool(re.search(r"bt|smpte|gbr|fcc|film", colour or ""))
    seekable = opened is not None and opened[1].startswith(SEEKABLE)
    return Stream(height, width, rate, codec, pix_fmt, tagged, seekable, _hears(log))


def _no_frame(path: Path, log: str, opened: bool, raw_log: bytes) -> InputError:
    """Why no frame came of a file."""
    if "max pixel count" in log:
        return InputError(f"{path} has over {picture.MAX_PIXELS // 10**6} megapixels a frame; scale it down")
    if opened and _hears(log) and "matches no streams" in log:
        return InputError(f"{path} holds sound but no picture; expected a film, e.g. an .mp4, .mkv or .webm")
    if opened:
        return InputError(f"{path} has no frame that can be decoded; get a whole copy")
    return unreadable(path, _reason(raw_log).encode())


def _square(width: int, across: int, down: int) -> int:
    """The width in square pixels, of pixels that are across:down. Less than 2 % is a rounding, not worth a blur."""
    believed = down and 0.25 <= across / down <= 4 and abs(across / down - 1) > 0.02
    return round(width * across / down) if believed else width


def channels(path: Path) -> str | None:
    """ffmpeg's name for the channels of the first sound stream, e.g. "mono", "stereo" or "5.1"; None without one.

    Raises InputError for what is no film and no sound.
    """
    done = decoder.run(source(path))
    log = done.stderr.decode(errors="replace")
    if not re.search(r"^Input #0, ", log, re.MULTILINE):
        raise unreadable(path, _reason(done.stderr).encode())
    named = re.search(r": Audio: [^\n]*? Hz, ([^,\s]+)", log)
    return (named[1] if named else "") if _hears(log) else None


def _hears(log: str) -> bool:
    return bool(re.search(r"^ *Stream #0:\d+[^\n]*?: Audio: ", log, re.MULTILINE))


def _reason(log: bytes) -> str:
    """ffmpeg's complaint out of a full log, where facts about the file stand too."""
    lines = [line for line in log.splitlines() if re.search(rb"rror|nvalid|not found|No such|denied", line)]
    return last_line(b"\n".join(lines))


def probe_timing(path: Path, declared: Fraction) -> FrameTiming:
    """When the first video stream's frames are shown, from its packets, which are not decoded: one a frame in every
    common codec. declared: the rate the file claims. Raises InputError, also for a film of over MAX_FRAMES.
    """
    unit, shown = _packets(path)
    if unit is None or not len(shown):
        raise InputError(f"{path} has no frame that can be decoded; get a whole copy")
    times = shown[np.lexsort((shown[:, 1], shown[:, 0]))]
    first, (last, length) = int(times[0, 0]), map(int, times[-1])
    if first <= -(2**62):  # AV_NOPTS_VALUE
        return FrameTiming(declared, len(times), None)
    rate = _constant(declared, times[:, 0], unit)
    frames = round((last - first + length) * unit * rate)
    # A whole film may end in a frame of no stated length.
    frames = len(times) if abs(frames - len(times)) <= 1 else frames
    return FrameTiming(rate, frames, first * unit)


def _packets(path: Path) -> tuple[Fraction | None, np.ndarray]:
    """(seconds of a tick, int64 (F, 2): when each packet that is shown begins, and how many ticks it lasts)."""
    arguments = ("-map", "0:V:0", "-c", "copy", "-f", "framecrc", "pipe:1")
    unit, shown = None, array("q")
    with decoder.running(["-v", "error", *source(path), *arguments]) as output:
        for line in output.lines():
            if line.startswith(b"#tb 0:") and (tick := re.match(rb"#tb 0: (\d+)/(\d+)", line)):
                unit = Fraction(int(tick[1]), int(tick[2]))
            elif line[:1].isdigit():
                row = line.split(b",")
                if not any(int(cell[3:], 16) & _DISCARD for cell in row if cell[:3] == b" F="):
                    shown.extend((int(row[2]), int(row[3])))
                if len(shown) > 2 * MAX_FRAMES:
                    raise InputError(f"{path} has over {MAX_FRAMES:,} frames; cut it into parts")
    return unit, np.frombuffer(shown, np.int64).reshape(-1, 2)


def origin(path: Path) -> float:
    """Seconds from the file's beginning to its first frame; 0 where there is none or no time."""
    try:
        return float(probe_timing(path, Fraction(1)).origin or 0)
    except InputError:
        return 0.0


def _constant(declared: Fraction, times: np.ndarray, unit: Fraction) -> Fraction:
    """The declared rate, unless frames would be lost at it, or a clock of 1 ms poses as 1000 frames a second: then
    that of the median gap. times: int64, rising.
    """
    claimed = declared * (int(times[-1]) - int(times[0])) * unit
    if claimed > 0.9 * (len(times) - 1) and (declared <= _FASTEST or claimed < 1.1 * len(times)):
        return declared
    if len(times) < 2:
        return declared
    gaps = np.sort(np.diff(times))
    return Fraction(max(1, round(1 / (max(1, int(gaps[len(gaps) // 2])) * unit))))


def rgb_frames(path: Path, facts: Stream, times: FrameTiming, first: int, last: int) -> Iterator[np.ndarray]:
    """The frames (Y, X, 3) from ``first`` to before ``last``, counted at the constant rate; fewer if damaged. Raises
    InputError where nothing comes any more."""
    shape = (facts.height, facts.width, 3)
    size, memory = math.prod(shape), decoder.memory_for(facts.height * facts.width)
    patience = decoder.PATIENCE + first / _SLOWEST_DECODING  # where no jump is possible, all before it is decoded
    with decoder.running(["-v", "fatal", *_decoding(path, facts, times, first, last)], memory=memory) as output:
        while len(data := output.read(size, patience)) == size:
            yield np.frombuffer(data, np.uint8).reshape(shape)
            patience = decoder.PATIENCE
        if output.stalled:
            raise InputError(f"{path} gives no frame for {decoder.PATIENCE:g} s; it is damaged, get a whole copy")


def _decoding(path: Path, facts: Stream, times: FrameTiming, first: int, last: int) -> list[str]:
    # A jump goes to a keyframe well before the first frame (the reordering of frames counts), and no frame on the way
    # is thrown away: the fps filter drops them by their time, so that the cut is that of a full read.
    start, jump, origin = first / times.rate, [], "STARTPTS"
    lead = start - 1 - 16 / times.rate
    if times.origin is not None:
        origin = f"({times.origin})/TB"
        if facts.seekable and lead > 0:
            moment = f"{float(times.origin + lead):.6f}"
            jump = ["-noaccurate_seek", "-ss", moment, "-copyts", "-start_at_zero"]
    # Untagged video of 720 lines and more is bt709 by convention; swscale would take it for 601.
    matrix = "bt709" if not facts.tagged and facts.height >= 720 and facts.pix_fmt.startswith("yuv") else "auto"
    steps = (
        f"setpts=PTS-{origin}",
        f"fps={times.rate}:start_time={float(start):.9f}",
        f"scale={facts.width}:{facts.height}:in_color_matrix={matrix}:out_range=pc"
        ":flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int",
        "format=rgb24",
    )
    ends = ["-frames:v", str(last - first), "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    return [*jump, *_MAX_PIXELS, *source(path), "-map", "0:V:0", "-vf", ",".join(steps), *ends]


def escaped(text: str) -> str:
    """Text as a value of an ffmetadata file, where = ; # \\ and line ends need a backslash."""
    return re.sub(r"([=;#\\\n\r])", r"\\\1", text)


def tags(path: Path) -> dict[str, str]:
    """The tags of a video file, by their names in lower case, among the first MAX_TAG_BYTES; of those of one name the
    first. Raises InputError."""
    done = decoder.run(["-v", "error", *source(path), "-f", "ffmetadata", "pipe:1"], max_bytes=MAX_TAG_BYTES)
    if done.returncode:
        raise unreadable(path, done.stderr)
    text = done.stdout.decode(errors="replace")
    found: dict[str, str] = {}
    # Tags of the file stand before the first [STREAM] or [CHAPTER]; an escaped line end belongs to its value.
    for match in re.finditer(r"(?:[^\\\n]+|\\.)+", text, re.DOTALL):
        entry = match[0]
        if entry.startswith("["):
            break
        key, _, value = entry.partition("=")
        # A tag holds no zero, and this takes no second for a million of them.
        value = value.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
        found.setdefault(key.lower(), value)
    return found
