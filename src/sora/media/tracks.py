"""The sound tracks of a file, which one of them is kept, and in how many channels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What AAC and FLAC hold, fewest channels first. AAC knows no side speakers: they become those at the back.
_AAC = ("2.1", "3.0", "3.1", "4.0", "quad", "4.1", "5.0", "5.1", "6.1(back)", "7.0", "7.1(wide)", "7.1")
_FLAC = ("3.0", "quad(side)", "quad", "5.0(side)", "5.0", "5.1(side)", "5.1", "6.1(back)", "6.1", "7.0", "7.1")
LAYOUTS = {".mp4": _AAC, ".mkv": _FLAC}
_UNNAMED = {
    "1 channels": "mono",
    "2 channels": "stereo",
    "3 channels": "3.0",
    "4 channels": "4.0",
    "6 channels": "5.1",
    "8 channels": "7.1",
}  # as ffmpeg guesses


@dataclass(frozen=True)
class SoundTrack:
    """A sound stream. number: among those of the file, from 0. layout: ffmpeg's name for its channels, as "mono",
    "stereo" or "5.1(side)". language: three letters, or empty. default: whether the file says that it is the one to
    play."""

    number: int
    codec: str
    layout: str
    language: str
    default: bool


def sound_tracks(log: str) -> tuple[SoundTrack, ...]:
    """Those of the input in ffmpeg's log."""
    lines = re.findall(r"^ *Stream #0:\d+(?:\[\w+\])?(?:\((\w+)\))?[^\n:]*: Audio: (\w+)([^\n]*)", log, re.MULTILINE)
    return tuple(_track(number, *line) for number, line in enumerate(lines))


def _track(number: int, language: str, codec: str, rest: str) -> SoundTrack:
    named = re.search(r" Hz, ([^,\n]+)", rest)
    layout = named[1].strip() if named else ""
    return SoundTrack(
        number, codec, _UNNAMED.get(layout, layout), "" if language == "und" else language, "(default)" in rest
    )


def kept(tracks: Sequence[SoundTrack]) -> SoundTrack:
    """Of several tracks the first that plays by default."""
    return next((track for track in tracks if track.default), tracks[0])


def layout_in(suffix: str, layout: str) -> str:
    """The layout that a file of this kind has of a track: its own where it can."""
    names = (layout, re.sub(r"\(\w+\)$", "", layout), f"{layout}(back)")
    return next((name for name in names if name in LAYOUTS[suffix]), "stereo")


def widest(suffix: str, layouts: Iterable[str]) -> str:
    """The layout with the most channels, of some that ``layout_in`` gave."""
    order = ["stereo", *LAYOUTS[suffix]]
    return max(layouts, key=order.index, default="stereo")
