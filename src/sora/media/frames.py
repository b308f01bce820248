"""The frames of a film's file: decoded, and brought by a chain of ffmpeg's filters to RGB at a constant rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sora.errors import InputError
from sora.media import decoder, ffmpeg
from sora.media.conversion import conversion
from sora.media.stream import MAX_PIXELS, Stream
from sora.media.timing import FrameTiming

_SLOWEST_DECODING = 5.0  # frames a second


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
    jump: list[str] = []
    lead = first / times.rate - 1 - 16 / times.rate
    if times.origin is not None and facts.seekable and lead > 0:
        jump = ["-noaccurate_seek", "-ss", f"{float(times.origin + lead):.6f}", "-copyts", "-start_at_zero"]
    steps = (*timing(times, first), *conversion(facts))
    ends = ["-frames:v", str(last - first), "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    return [*jump, *MAX_PIXELS, *ffmpeg.source(path), "-map", "0:V:0", "-vf", ",".join(steps), *ends]


def timing(times: FrameTiming, first: int) -> tuple[str, ...]:
    """Filters that give the frames from ``first`` on, counted at the constant rate."""
    origin = "STARTPTS" if times.origin is None else f"({times.origin})/TB"
    return f"setpts=PTS-{origin}", f"fps={times.rate}:start_time={float(first / times.rate):.9f}"
