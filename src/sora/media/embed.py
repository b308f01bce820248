"""The recipe inside GIF, WebP, PNG and JPEG files, and the WebP container that animations need.

PNG and JPEG: a text chunk and comment segments. GIF: a comment block. WebP: the image description in Exif.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, PngImagePlugin

from sora.media import provenance
from sora.media.animation import table_bytes
from sora.plan.recipe import MAX_CHARACTERS
from sora.storage import regular

PNG_KEY = "comment"
_DESCRIPTION = 0x010E  # Exif's ImageDescription
_SEGMENT = 65_533  # most bytes a JPEG comment segment holds
MAX_BYTES = 4 * MAX_CHARACTERS  # of a comment that can be a recipe, in UTF-8; a longer one is passed over


def save_image(path: Path, frame_YXC: np.ndarray, recipe: str, xmp: bytes = b"") -> None:
    """One frame as PNG or JPEG (quality 95, full chroma), by the path's suffix, with the recipe and an XMP packet
    inside."""
    image = Image.fromarray(frame_YXC)
    if path.suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add(b"sRGB", b"\0")  # "perceptual", as for photographs
        for key, value in ((PNG_KEY, recipe), (provenance.PNG_KEY, xmp.decode())):
            if value:
                text.add_itxt(key, value)
        image.save(path, "PNG", pnginfo=text)
        return
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    body, note = buffer.getvalue(), recipe.encode()
    pieces = [note[i : i + _SEGMENT] for i in range(0, len(note), _SEGMENT)]
    comments = b"".join(b"\xff\xfe" + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)
    begin = 4 + int.from_bytes(body[4:6], "big")  # behind JFIF's own segment, which comes first
    path.write_bytes(body[:begin] + (provenance.jpeg_segment(xmp) if xmp else b"") + comments + body[begin:])


def folder_note(file: Path) -> str | None:
    """The recipe in a folder of pictures; None for what is no regular file, or too long."""
    try:
        return regular.read(file, MAX_BYTES).decode(errors="replace") or None
    except OSError:
        return None


def jpeg_comment(data: mmap.mmap) -> str | None:
    """The comment segments before a JPEG's pixels, joined."""
    at, found, length = 2, list[bytes](), 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (size,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xFE:
            found.append(data[at + 4 : at + 2 + size])
            length += size
        if length > MAX_BYTES:
            return None
        at += 2 + size
    return b"".join(found).decode(errors="replace") if found else None


def add_gif_comment(path: Path, recipe: str) -> None:
    """Writes the recipe as a comment block at the end of a GIF."""
    note = recipe.encode()
    pieces = (note[i : i + 255] for i in range(0, len(note), 255))
    append_to_gif(path, b"!\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0")


def append_to_gif(path: Path, block: bytes) -> None:
    """Writes a block at the end of a GIF, where it costs no copy of the file."""
    with path.open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        if file.read(1) != b";":
            raise ValueError("the GIF has no trailer")
        file.seek(-1, io.SEEK_END)
        file.write(block + b";")


def gif_comment(data: mmap.mmap) -> str | None:
    """The last comment of a GIF, wherever it stands."""
    found, at = None, 13 + table_bytes(data[10])
    while at < len(data) and data[at] in b"!,":
        if data[at] == 0x2C:
            at += 11 + table_bytes(data[at + 9])
            _, at = _gif_blocks(data, at)
        else:
            label = data[at + 1]
            block, at = _gif_blocks(data, at + 2)
            found = block if label == 0xFE else found
    return None if found is None else found.decode(errors="replace")


def _gif_blocks(data: mmap.mmap, at: int) -> tuple[bytes | None, int]:
    """(what a chain of blocks holds, None where that is more than a recipe can be, where it ends)."""
    pieces, length = list[bytes](), 0
    while at < len(data) and data[at]:
        length += data[at]
        if length <= MAX_BYTES:
            pieces.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(pieces) if length <= MAX_BYTES else None, at + 1


class WebPStream:
    """An animated WebP, written frame by frame: each is a whole picture, so memory stays constant.

    (The encoders of Pillow and ffmpeg hold all frames to the end, and merge equal ones, which loses the count.)
    """

    def __init__(self, file: IO[bytes], height: int, width: int, fps: float) -> None:
        self._file, self._size, self._fps, self._count = file, (height, width), fps, 0
        extent = _u24(width - 1) + _u24(height - 1)
        file.write(b"RIFF\0\0\0\0WEBP" + _chunk(b"VP8X", b"\x02\0\0\0" + extent))  # 0x02: animated
        file.write(_chunk(b"ANIM", b"\xff\xff\xff\xff\0\0"))  # white behind, for ever

    def write(self, frame_YXC: np.ndarray) -> None:
        buffer = io.BytesIO()
        Image.fromarray(frame_YXC).save(buffer, "WEBP", quality=90, method=4)
        pixels = b"".join(_chunk(name, body) for name, body in webp_chunks(buffer.getvalue()) if name[:3] == b"VP8")
        # Rounded from the clip's start, so a rate of 24 does not drift by the third of a millisecond a frame.
        start, end = (round(n * 1000 / self._fps) for n in (self._count, self._count + 1))
        height, width = self._size
        header = bytes(6) + _u24(width - 1) + _u24(height - 1) + _u24(end - start) + b"\x02"  # 2: do not blend
        self._file.write(_chunk(b"ANMF", header + pixels))
        self._count += 1

    def close(self, recipe: str, xmp: bytes = b"") -> None:
        """Adds the recipe, an XMP packet and the file's length."""
        if recipe:
            exif = Image.Exif()
            exif[_DESCRIPTION] = recipe.encode()
            self._file.write(_chunk(b"EXIF", exif.tobytes().removeprefix(b"Exif\0\0")))
        if xmp:
            self._file.write(_chunk(b"XMP ", xmp))
        length = self._file.tell() - 8
        self._file.seek(4)
        self._file.write(struct.pack("<I", length))
        self._file.seek(20)  # the flags
        self._file.write(bytes([0x02 | 0x08 * bool(recipe) | 0x04 * bool(xmp)]))


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of every chunk of a WebP file."""
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def exif_description(image: Image.Image) -> str | None:
    """The description in a picture's Exif; Pillow reads its bytes as Latin-1, they are UTF-8."""
    text = image.getexif().get(_DESCRIPTION)
    return text.encode("latin-1", errors="replace").decode(errors="replace") if isinstance(text, str) else None


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _u24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
