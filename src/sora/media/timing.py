"""When the frames of a film's file are shown, and at which constant rate all of them are."""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sora.errors import InputError
from sora.media import decoder, ffmpeg
from sora.media.stream import stream

_TORN, _DISCARD = 2, 4  # flags of a packet: part of it is missing, an edit list leaves it out
_CUT_OFF = (
    "partial file|File ended prematurely|invalid as first byte of an EBML"  # of files, and of zeros in place of one
)
MAX_FRAMES = 4_000_000  # of a film: 18 hours at 60 frames a second
STANDARD = tuple(Fraction(n, d) for n, d in ((10, 1), (12, 1), (15, 1), (24000, 1001), (24, 1), (25, 1)))
STANDARD += tuple(Fraction(n, d) for n, d in ((30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1)))
_STEADY, _LOOSE = 0.1, 0.2  # of a place: what frames lie off the grid of their rate; without a rate it would be 0.25
_UNKNOWN = -(2**62)  # ticks; AV_NOPTS_VALUE is less
_RESTART = 1 << 40  # ticks, longer than any packet lasts
RESTARTING = 0.25  # seconds back in time that no reordering of frames explains
_ROUNDING = 1e-3  # seconds
_FASTEST = 60  # frames a second; what claims more must have as many frames


@dataclass(frozen=True)
class FrameTiming:
    """A film at the constant ``rate`` that fits it: so many ``frames``.

    origin: seconds from the file's beginning to the first frame, None where the file holds no times. restarts: how
    often the times begin anew midway, as where files were joined byte by byte. incomplete: whether the file ends before
    its end.
    """

    rate: Fraction
    frames: int
    origin: Fraction | None
    restarts: int = 0
    incomplete: bool = False


def probe_timing(path: Path, declared: Fraction, begin: float | None = None) -> FrameTiming:
    """When the first video stream's frames are shown, from its packets, which are not decoded: one a frame in every
    common codec. declared: the rate the file claims. begin: the second of the first frame that can be decoded, None for
    the first there is. Raises InputError, also for a film of over MAX_FRAMES.
    """
    unit, packets, incomplete = _packets(path)
    if unit is None or not len(packets):
        raise InputError(f"{path} has no frame that can be decoded; get a whole copy")
    known = packets[:, 0].min() > _UNKNOWN
    shown = packets[:, 0] if known else packets[:, 1]  # without the former, the order of decoding keeps the rate
    if known and begin is not None:  # a recording that was cut out of another begins with frames that lack others
        there = shown >= (begin - _ROUNDING) / float(unit)
        packets, shown = (packets[there], shown[there]) if there.any() else (packets, shown)
    order = np.lexsort((packets[:, 2], shown))
    times, length = shown[order], int(packets[order[-1], 2])
    restarts, length = int((packets[:, 2] >= _RESTART).sum()), length % _RESTART
    rate, first = _constant(declared, times, unit), int(times[0])
    # Places on the grid of the rate, to which the fps filter rounds, too; a last frame of no stated length takes one.
    frames = _nearest((int(times[-1]) - first) * unit * rate) + max(1, _nearest(length * unit * rate))
    return FrameTiming(rate, frames, first * unit if known else None, restarts, incomplete)


def _nearest(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def _packets(path: Path) -> tuple[Fraction | None, np.ndarray, bool]:
    """(seconds of a tick; int64 (F, 3): when each packet that is shown begins, when it is decoded, and how many ticks
    it lasts; whether the file is cut off). Times that begin anew go on instead, and _RESTART is added to what the
    packet there lasts."""
    arguments = ("-map", "0:V:0", "-c", "copy", "-bsf:v", _onward(), "-f", "framecrc", "pipe:1")
    unit, shown, torn = None, array("q"), False
    with decoder.running(["-v", "error", *ffmpeg.source(path), *arguments]) as output:
        for line in output.lines():
            if line.startswith(b"#tb 0:") and (tick := re.match(rb"#tb 0: (\d+)/(\d+)", line)):
                unit = Fraction(int(tick[1]), int(tick[2]))
            elif line[:1].isdigit():
                row = line.split(b",")
                if not int(row[4]):  # of no bytes: AVI's way to show the frame before it once more
                    continue
                flags = next((int(cell[3:], 16) for cell in row if cell[:3] == b" F="), 0)
                torn = bool(flags & _TORN)
                if not flags & _DISCARD:
                    shown.extend((int(row[2]), int(row[1]), int(row[3])))
                if len(shown) > 3 * MAX_FRAMES:
                    raise InputError(f"{path} has over {MAX_FRAMES:,} frames; cut it into parts")
    packets_F3 = np.frombuffer(shown, np.int64).reshape(-1, 3)
    whole_F3 = packets_F3[:-1] if torn and len(packets_F3) > 1 else packets_F3
    return unit, whole_F3, torn or bool(re.search(_CUT_OFF, output.log))


def _onward() -> str:
    """A bitstream filter that lets times which begin anew go on, and adds _RESTART to what the packet there lasts."""
    began_anew = f"gt(PREV_INDTS,{_UNKNOWN})*lt(DTS,PREV_INDTS-{RESTARTING}/TB)*gt(DTS,{_UNKNOWN})"
    behind = "PREV_OUTDTS+max(DURATION,1)-DTS"
    move = f"if(gt(PREV_OUTDTS,{_UNKNOWN}),if({began_anew},{behind},PREV_OUTDTS-PREV_INDTS),0)"
    times = (f"{kind.lower()}='if(gt({kind},{_UNKNOWN}),{kind}+{move},{kind})'" for kind in ("DTS", "PTS"))
    return ":".join(("setts=" + next(times), *times, f"duration='DURATION+{_RESTART}*{began_anew}'"))


def origin(path: Path) -> float:
    """Seconds from the file's beginning to its first frame; 0 where there is none or no time."""
    try:
        return float(probe_timing(path, Fraction(1), stream(path).begin).origin or 0)
    except InputError:
        return 0.0


def _constant(declared: Fraction, times: np.ndarray, unit: Fraction) -> Fraction:
    """The rate on whose grid the frames lie best: the declared one, or one of ``STANDARD``. Where they lie on none, the
    declared one, unless frames would be lost at it, or a clock of 1 ms poses as 1000 frames a second: then that of the
    median gap. times: int64, rising.
    """
    if len(times) < 2:
        return declared
    claimed = declared * (int(times[-1]) - int(times[0])) * unit
    plausible = claimed > 0.9 * (len(times) - 1) and (declared <= _FASTEST or claimed < 1.1 * len(times))
    gaps = np.sort(np.diff(times))
    median = 1 / (max(1, int(gaps[len(gaps) // 2])) * unit)
    own = _misfit(declared, times, unit) if plausible else math.inf
    if own < _STEADY:
        return declared
    fits = {rate: _misfit(rate, times, unit) for rate in STANDARD if 0.8 < rate / median < 1.25}
    best = min(fits, key=lambda rate: fits[rate], default=declared)
    if fits.get(best, math.inf) < min(_LOOSE, own / 2):
        return best
    return declared if plausible else Fraction(max(1, round(median)))


def _misfit(rate: Fraction, times: np.ndarray, unit: Fraction) -> float:
    """How far frames lie from the grid of a rate, in its places, on the average; infinity where two share a place."""
    places = (times - times[0]) * float(unit * rate)
    places -= np.median(places - np.round(places))  # the first frame may be off, too
    whole = np.round(places)
    return float(np.abs(places - whole).mean()) if np.all(np.diff(whole) > 0) else math.inf
