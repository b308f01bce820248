"""What a file says of where it came from: its IPTC digital source type, in an XMP packet (ISO 16684-1) where the kind
of file has a place for one, else in a tag.

Names and namespace: IPTC Photo Metadata Standard, "Digital Source Type", and the NewsCodes vocabulary of that name.
Places: XMP Specification Part 3, "Storage in Files". PNG: an iTXt chunk. JPEG: an APP1 segment. WebP: a chunk. GIF: an
application extension. MP4: a ``uuid`` box. Matroska has no place for XMP that any reader knows; a tag is shown by all.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sora.storage import regular

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = "trainedAlgorithmicMedia"
"""Every pixel was painted by a model that was trained on sampled content."""
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
"""Painted together with other media, as by inpainting and outpainting."""

PNG_KEY = "XML:com.adobe.xmp"
TAG = "DIGITAL_SOURCE_TYPE"  # of a Matroska file
MAX_BYTES = 1 << 20  # of a packet that is looked at; sora's own have 600
MAX_BOXES = 1 << 16  # of a file of fragments, in which a packet is looked for

_JPEG_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
_GIF_APPLICATION = b"XMP DataXMP"
_GIF_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""The packet lies bare in the block. A reader that takes its bytes for lengths lands in here, and finds the end."""
_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""

_SOURCE_TYPE = re.compile(
    rb"DigitalSourceType(?:\s+rdf:resource)?\s{0,9}[=>]\s{0,99}[\"']?\s{0,99}"
    rb"https?://cv\.iptc\.org/newscodes/digitalsourcetype/([A-Za-z]{1,64})"
)


@dataclass(frozen=True)
class Provenance:
    """source_type: a name of the IPTC vocabulary. tool: the program's name and version, in letters, digits, dots and
    spaces."""

    source_type: str
    tool: str = "sora"

    @property
    def uri(self) -> str:
        """The source type in full."""
        return VOCABULARY + self.source_type

    def packet(self) -> bytes:
        """As XMP, in UTF-8."""
        return _PACKET.format(source_type=self.uri, tool=self.tool).encode()


def source_type_in(packet: bytes | None) -> str | None:
    """The name in a packet that any program may have written; no XML is parsed, and letters alone come out of it."""
    found = _SOURCE_TYPE.search(packet[:MAX_BYTES]) if packet else None
    return found[1].decode() if found else None


def source_type_of_tags(tags: Mapping[str, str]) -> str | None:
    """The name in a film's tags."""
    found = re.fullmatch(rf"{re.escape(VOCABULARY)}([A-Za-z]{{1,64}})", tags.get(TAG.lower(), ""))
    return found[1] if found else None


# --- writing -----------------------------------------------------------------------------------------------------


def jpeg_segment(packet: bytes) -> bytes:
    """An APP1 segment."""
    return b"\xff\xe1" + struct.pack(">H", 2 + len(_JPEG_NAMESPACE) + len(packet)) + _JPEG_NAMESPACE + packet


def gif_block(packet: bytes) -> bytes:
    """An application extension."""
    return b"!\xff" + bytes([len(_GIF_APPLICATION)]) + _GIF_APPLICATION + packet + _GIF_TRAILER


def append_box(file: Path, packet: bytes) -> None:
    """Appends the box of an MP4, behind everything whose place its tables give. Raises OSError, and ValueError where
    the last box has no end of its own."""
    with file.open("r+b") as opened:
        for _, _, size in boxes(opened):
            if size == 0:
                raise ValueError("the MP4's last box has no length")
        opened.seek(0, os.SEEK_END)
        opened.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _UUID + packet)


# --- reading -----------------------------------------------------------------------------------------------------


def in_jpeg(data: mmap.mmap) -> bytes | None:
    """The packet before a JPEG's pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (size,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + size] if data[at + 1] == 0xE1 else b""
        if body.startswith(_JPEG_NAMESPACE):
            return body.removeprefix(_JPEG_NAMESPACE)
        at += 2 + size
    return None


def in_gif(data: mmap.mmap) -> bytes | None:
    """The packet of a GIF's last such block."""
    head = b"!\xff" + bytes([len(_GIF_APPLICATION)]) + _GIF_APPLICATION
    at = data.rfind(head)
    return None if at < 0 else data[at + len(head) : at + len(head) + MAX_BYTES]


def in_mp4(file: Path) -> bytes | None:
    """The packet of an MP4, or of another film of boxes; None for what is none. Raises OSError."""
    with regular.opened(file) as opened:
        head = opened.read(8)
        if head[4:8] != b"ftyp":
            return None
        for name, at, size in boxes(opened):
            if name == b"uuid":
                opened.seek(at + 8)
                if opened.read(16) == _UUID:
                    return opened.read(min(size - 24, MAX_BYTES)) if size >= 24 else None
    return None


def boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """(name, where it begins, bytes; 0 for one that goes on to the file's end) of a file's own boxes, the first
    MAX_BOXES."""
    at, end = 0, file.seek(0, os.SEEK_END)
    for _ in range(MAX_BOXES):
        if at + 8 > end:
            return
        file.seek(at)
        head = file.read(16)
        size, name = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        yield name, at, size
        if size < 8:
            return
        at += size
