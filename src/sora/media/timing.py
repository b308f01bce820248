"""When the frames of a film's file are shown, and at which constant rate all of them are."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sora.errors import InputError
from sora.media import decoder, ffmpeg

_DISCARD = 4  # the flag of a packet that an edit list leaves out
MAX_FRAMES = 4_000_000  # of a film: 18 hours at 60 frames a second
_FASTEST = 60  # frames a second; what claims more must have as many frames


@dataclass(frozen=True)
class FrameTiming:
    """A film at the constant ``rate`` that fits it: so many ``frames``.

    origin: seconds from the file's beginning to the first frame, None where the file holds no times.
    """

    rate: Fraction
    frames: int
    origin: Fraction | None


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
    with decoder.running(["-v", "error", *ffmpeg.source(path), *arguments]) as output:
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
