"""Frames between frames: a film's moments at another rate, out of what moves from one frame to the next.

The bundled ffmpeg's ``minterpolate`` follows blocks of the picture. Of rendered films it finds every second frame with
32.5 dB; the mean of both neighbours, which shows all that moves twice, comes to 25.5 dB, and repeating the nearest one,
which judders, to 22.7 dB (``benchmarks/retiming.py``).
"""

from __future__ import annotations

import math
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from queue import Queue

import numpy as np

from sora.errors import InputError
from sora.media import decoder, ffmpeg
from sora.plan.clip import Clip

# The filter takes YUV alone: in full range and whole chroma a frame comes back within two grey levels.
_TO_YUV = "scale=out_color_matrix=bt709:out_range=pc,format=yuv444p"
_TO_RGB = "scale=in_color_matrix=bt709:in_range=pc,format=rgb24"
_METHOD = "mi_mode=mci:me_mode=bidir:mc_mode=aobmc:mb_size=8:scd=none"
_SMALLEST = 16  # pixels; smaller frames are padded with their edges
_AHEAD = 2  # frames that the filter must see after a moment before it shows it


def interpolated(
    frames: Iterable[np.ndarray], size: tuple[int, int], step: Fraction, count: int
) -> Iterator[np.ndarray]:
    """``count`` frames of which number k shows the moment ``k * step`` of those given, counted in these; uint8 RGB
    (Y, X, 3) of ``size`` = (height, width). They come as soon as what they need is there.

    Where ``frames`` ends early or raises, what can be made of them comes first. Raises InputError where ffmpeg fails.
    """
    if step in (0, 1):
        yield from islice(frames, count)
        return
    if min(size) < _SMALLEST:
        height, width = size
        below, right = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
        larger = (np.pad(frame_YXC, ((0, below), (0, right), (0, 0)), "edge") for frame_YXC in frames)
        made = interpolated(larger, (height + below, width + right), step, count)
        yield from (frame_YXC[:height, :width] for frame_YXC in made)
        return
    failures: list[Exception] = []
    program = _Program(size, step)
    made = 0
    try:
        for frame_YXC in program.run(_until_failure(frames, failures)):
            if made == count:
                return
            yield frame_YXC
            made += 1
        if failures:
            raise failures[0]
        if made < count:
            raise InputError(
                f"{count} frames were to be made between others, ffmpeg made {made}: {program.last_words()}"
            )
    finally:
        program.end()


def sampled(clip: Clip, fps: float) -> Clip:
    """A clip at a higher rate: frame k shows the moment k / fps, as far as the clip goes."""
    step = Fraction(clip.fps / fps).limit_denominator(1001)
    count = math.floor((len(clip) - 1) / step) + 1
    return Clip(np.stack(list(interpolated(clip.frames_FYXC, clip.size, step, count))), fps)


def _until_failure(frames: Iterable[np.ndarray], failures: list[Exception]) -> Iterator[np.ndarray]:
    """The frames up to where they raise, and what they raise among ``failures``."""
    try:
        yield from frames
    except Exception as error:
        failures.append(error)


class _Program:
    """ffmpeg, which reads frames and prints others. A thread takes what it prints, so that neither waits for ever."""

    def __init__(self, size: tuple[int, int], step: Fraction) -> None:
        self._size, self._step = size, step
        raw = f"-f rawvideo -pix_fmt rgb24 -s {size[1]}x{size[0]} -framerate {step.numerator} -i pipe:0".split()
        method = f"{_TO_YUV},minterpolate=fps={step.denominator}:{_METHOD},{_TO_RGB}"
        arguments = [*raw, "-vf", method, "-f", "rawvideo", "pipe:1"]
        self._process = decoder.taking_frames(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._made: Queue[np.ndarray | None] = Queue()
        threading.Thread(target=self._take, name="interpolation", daemon=True).start()

    def run(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """What it makes of the frames, while they come and after their end."""
        sent, made, last = 0, 0, None
        for last in frames:
            self._write(last)
            sent += 1
            while not self._made.empty() and (frame_YXC := self._made.get()) is not None:
                yield frame_YXC
                made += 1
        if last is None:
            return
        for _ in range(_AHEAD):
            self._write(last)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        while made <= (sent - 1) / self._step and (frame_YXC := self._made.get()) is not None:
            yield frame_YXC
            made += 1

    def last_words(self) -> str:
        assert self._process.stderr is not None
        return ffmpeg.last_line(self._process.stderr.read())

    def end(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()

    def _write(self, frame_YXC: np.ndarray) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended, and fewer frames come than should
            self._process.stdin.write(np.ascontiguousarray(frame_YXC).data)

    def _take(self) -> None:
        height, width = self._size
        assert self._process.stdout is not None
        with self._process.stdout as out:
            while len(piece := out.read(height * width * 3)) == height * width * 3:
                self._made.put(np.frombuffer(piece, np.uint8).reshape(height, width, 3))
        self._made.put(None)
