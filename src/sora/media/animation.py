"""Moving GIFs, WebPs and PNGs, counted by their blocks: how many frames there are and how long each is shown. No pixel
is decoded, so that a small file cannot ask for much work."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sora.errors import InputError
from sora.storage import regular

MAX_FRAMES = 100_000  # of an animation
MAX_BLOCKS = 4_000_000  # that are stepped over

Found = TypeVar("Found")


def durations(file: Path, format: str) -> list[float] | None:
    """Milliseconds that each frame is shown, 0 where the file does not say. format: Pillow's name for it. None for a
    format that tells them only once frames are decoded. Raises InputError for over MAX_FRAMES, and what reading and
    damage raise."""
    read = _READERS.get(format)
    return None if read is None else in_bytes(file, lambda data: _bounded(file, read(data)))


def in_bytes(file: Path, reader: Callable[[mmap.mmap], Found]) -> Found:
    """What a reader finds in a file, of which no more comes into memory than is looked at."""
    with regular.opened(file) as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return reader(data)


def _bounded(file: Path, times: Iterator[float | None]) -> list[float]:
    """times: of each frame, and None for each other block."""
    found = list[float]()
    for blocks, time in enumerate(times):
        if time is not None:
            found.append(time)
        if len(found) > MAX_FRAMES or blocks > MAX_BLOCKS:
            raise InputError(f"{file} has over {MAX_FRAMES:,} frames or blocks without end; cut it into parts")
    return found


def _gif(data: mmap.mmap) -> Iterator[float | None]:
    """A frame's time stands in the control block before it, in hundredths of a second."""
    at, time = 13 + table_bytes(data[10]), 0.0
    while at + 2 < len(data) and data[at] in b"!,":
        is_frame = data[at] == 0x2C
        if not is_frame and data[at + 1] == 0xF9 and data[at + 2] >= 4:
            time = 10.0 * struct.unpack_from("<H", data, at + 4)[0]
        at = at + 11 + table_bytes(data[at + 9]) if is_frame else at + 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            yield None
        at += 1
        if is_frame:
            yield time
            time = 0.0


def table_bytes(flags: int) -> int:
    """Bytes of a GIF colour table."""
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0


def _webp(data: mmap.mmap) -> Iterator[float | None]:
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        is_frame = data[at : at + 4] == b"ANMF" and at + 24 <= len(data)
        yield float(int.from_bytes(data[at + 20 : at + 23], "little")) if is_frame else None
        at += 8 + size + size % 2


def _png(data: mmap.mmap) -> Iterator[float | None]:
    """Frames follow a control chunk each; a picture before the first of them is one more, of no time."""
    controlled = False
    for name, body, size in png_chunks(data):
        if name == b"fcTL" and size >= 26:
            over, under = struct.unpack_from(">HH", data, body + 20)
            controlled = True
            yield 1000.0 * over / (under or 100)
        elif name == b"IDAT" and not controlled:
            controlled = True  # once for the whole picture
            yield 0.0
        else:
            yield None


def png_chunks(data: mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """(name, the place of its bytes, how many) of every chunk of a PNG."""
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], at + 8, size
        at += 12 + size


_READERS: dict[str, Callable[[mmap.mmap], Iterator[float | None]]] = {"GIF": _gif, "WEBP": _webp, "PNG": _png}
