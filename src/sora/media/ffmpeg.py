"""The ffmpeg program that imageio-ffmpeg carries: commands, its metadata text, and facts about a video file."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from sora.errors import InputError

# Only real video containers: a playlist, a script or a text file posing as a video must not make ffmpeg open others.
CONTAINERS = "mov,matroska,avi,flv,asf,ogg,mpeg,mpegts,mpegvideo,m4v,h264,hevc,ivf,obu,nut,mxf,dv,rm,wtv,yuv4mpegpipe"


@dataclass(frozen=True)
class Stream:
    """The first video stream of a file, as it is shown: (height, width) is after rotation. rate: frames a second."""

    height: int
    width: int
    rate: Fraction
    codec: str
    pix_fmt: str
    tagged: bool


def command(*arguments: str) -> list[str]:
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", *arguments]


def source(path: Path) -> list[str]:
    """Input arguments that take the path as a file whatever its name, and never reach the network."""
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", CONTAINERS, "-i", url(path)]


def url(path: Path) -> str:
    return f"file:{path.absolute()}"


def rate_text(fps: float) -> str:
    """A rate as a fraction, so that 23.976 and 29.97 survive: ``30000/1001``."""
    rate = Fraction(fps).limit_denominator(1001)
    return f"{rate.numerator}/{rate.denominator}"


def output(path: Path, *arguments: str) -> bytes:
    """What ffmpeg prints about the file. Raises InputError with its reason when it fails."""
    done = subprocess.run(command("-v", "error", *source(path), *arguments, "pipe:1"), capture_output=True)
    if done.returncode:
        raise unreadable(path, done.stderr)
    return done.stdout


def unreadable(path: Path, log: bytes) -> InputError:
    return InputError(f"{path} cannot be read as a video: {last_line(log)}; expected e.g. an .mp4, .mkv, .webm or .gif")


def last_line(log: bytes) -> str:
    """The line of ffmpeg's log that says most: the first one, without the name of the part that says it."""
    lines = [re.sub(r"^\[[^]]*\] ", "", line).strip() for line in log.decode(errors="replace").splitlines()]
    named = [re.sub(r"^Error opening input: ", "", line) for line in lines if line and "Last message" not in line]
    return named[0].rstrip(".") if named else "no reason given"


def stream(path: Path) -> Stream:
    """Facts about the first video stream, from decoding one frame. Raises InputError."""
    arguments = ("-map", "0:V:0", "-frames:v", "1", "-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "pipe:1")
    done = subprocess.run(command(*source(path), *arguments), capture_output=True)
    # YUV4MPEG2's first line has the size after rotation and, unlike the log, the rate as an exact fraction.
    header = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+)", done.stdout)
    log = done.stderr.decode(errors="replace")
    found = re.search(r"Stream #0.*? Video: (\w+)[^\n]*?, (\w+)(?:\(([^)\n]*)\))?, \d+x\d+", log)
    if done.returncode or not header or not int(header[4]):
        reason = "it holds no video" if "matches no streams" in log and not found else _reason(done.stderr)
        raise unreadable(path, reason.encode())
    width, height, rate = int(header[1]), int(header[2]), Fraction(int(header[3]), int(header[4]))
    codec, pix_fmt, colour = found.groups() if found else ("", "", "")
    return Stream(height, width, rate, codec, pix_fmt, bool(re.search(r"bt|smpte|gbr|fcc|film", colour or "")))


def _reason(log: bytes) -> str:
    """ffmpeg's complaint out of a full log, where facts about the file stand too."""
    lines = [line for line in log.splitlines() if re.search(rb"rror|nvalid|not found|No such|denied", line)]
    return last_line(b"\n".join(lines))


def count_frames(path: Path) -> int:
    """Video packets in the file, counted without decoding: one a frame in every common codec. Raises InputError."""
    listing = output(path, "-map", "0:V:0", "-c", "copy", "-f", "framecrc")
    return sum(not line.startswith(b"#") for line in listing.splitlines())


@contextmanager
def rgb_frames(path: Path, facts: Stream) -> Iterator[IO[bytes]]:
    """A pipe of rgb24 frames at the stream's constant rate. Raises InputError if ffmpeg fails."""
    # Untagged video of 720 lines and more is bt709 by convention; swscale would take it for 601.
    matrix = "bt709" if not facts.tagged and facts.height >= 720 and facts.pix_fmt.startswith("yuv") else "auto"
    scale = f"scale=in_color_matrix={matrix}:out_range=pc:flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int"
    arguments = ["-map", "0:V:0", "-vf", f"{scale},format=rgb24", "-f", "rawvideo", "pipe:1"]
    process = subprocess.Popen(
        command("-v", "fatal", *source(path), *arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        process.kill()
        process.wait()


def escaped(text: str) -> str:
    """Text as a value of an ffmetadata file, where = ; # \\ and line ends need a backslash."""
    return re.sub(r"([=;#\\\n\r])", r"\\\1", text)


def comment(path: Path) -> str | None:
    """The ``comment`` tag of a video file, if there is one. Raises InputError."""
    text = output(path, "-map", "0:V:0", "-c", "copy", "-f", "ffmetadata").decode(errors="replace")
    # Tags of the file stand before the first [STREAM] or [CHAPTER]; an escaped line end belongs to its value.
    for entry in re.findall(r"(?:[^\\\n]|\\.)+", text, re.DOTALL):
        if entry.startswith("["):
            return None
        key, _, value = entry.partition("=")
        if key.lower() == "comment":
            return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
    return None
