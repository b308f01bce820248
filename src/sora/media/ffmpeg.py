"""The ffmpeg program that imageio-ffmpeg carries: its arguments, its complaints, and its metadata text."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from sora.errors import InputError
from sora.media import decoder
from sora.storage import regular

# Only real containers: a playlist, a script or a text file posing as a video must not make ffmpeg open others.
CONTAINERS = "mov,matroska,avi,flv,asf,ogg,mpeg,mpegts,mpegvideo,m4v,h264,hevc,ivf,obu,nut,mxf,dv,rm,wtv,yuv4mpegpipe"
SOUND_CONTAINERS = "wav,mp3,flac,aac,aiff,caf,w64"

UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".!qb", ".!ut", ".aria2", ".ytdl")
MAX_TAG_BYTES = 1 << 23  # bytes of a file's tags that are looked at; a recipe has at most half of that, escaped


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


def is_unfinished(path: Path) -> bool:
    """Whether a file is named as browsers and other programs name what they have not downloaded to its end."""
    return path.suffix.lower() in UNFINISHED


def incomplete(path: Path, missing: str) -> InputError:
    """missing: what is not there of it."""
    if is_unfinished(path):
        return InputError(f"{path} is incomplete: its name says that it is still being downloaded; wait for its end")
    return InputError(f"{path} is incomplete: {missing}; get the whole file")


def unreadable(path: Path, log: bytes) -> InputError:
    with regular.opened(path) as file:
        head = file.read(1024) or b""
    if re.match(rb"(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|<\?xml|<MPD|\[playlist\])", head):
        return InputError(f"{path} is a playlist, expected a film; give the file of the film itself")
    if head and all(byte >= 32 or byte in b"\t\n\r" for byte in head) and not head.startswith(b"YUV4MPEG2"):
        return InputError(f"{path} is a text file, expected a film; give e.g. an .mp4, .mkv, .webm or .gif")
    if is_unfinished(path) or b"moov atom not found" in log:
        return incomplete(path, "its index (moov), without which nothing can be read, has not come")
    return InputError(f"{path} cannot be read as a video: {last_line(log)}; expected e.g. an .mp4, .mkv, .webm or .gif")


def last_line(log: bytes) -> str:
    """The line of ffmpeg's log that says most: the first one, without the name of the part that says it."""
    lines = [re.sub(r"^\[[^]]*\] ", "", line).strip() for line in log.decode(errors="replace").splitlines()]
    named = [re.sub(r"^Error opening input: ", "", line) for line in lines if line and "Last message" not in line]
    return named[0].rstrip(".") if named else "no reason given"


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
