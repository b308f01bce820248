"""Pictures with colour profiles, and HEIC files, made byte by byte.

Colorants are those that Apple's Display P3 and Adobe's RGB (1998) publish, adapted to D50.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np

from real_files_parts.colour_video import ffmpeg

DISPLAY_P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
D50 = (0.9642, 1.0, 0.8249)
SRGB_CURVE = (
    b"para"
    + bytes(4)
    + struct.pack(">H2x", 3)
    + struct.pack(">5i", *(round(n * 65536) for n in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
)


def power_curve(exponent: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


def rgb_profile(colorants: tuple[tuple[float, float, float], ...], curve: bytes = SRGB_CURVE) -> bytes:
    tags = {name: xyz(colour) for name, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)}
    return profile(b"mntrRGB XYZ ", tags | {b"wtpt": xyz(D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(exponent: float) -> bytes:
    return profile(b"mntrGRAYXYZ ", {b"wtpt": xyz(D50), b"kTRC": power_curve(exponent)})


def cmyk_profile() -> bytes:
    """One that knows grey alone: lightness is 100 without ink, 73 with full cyan, and 0 with full black."""
    corners = np.stack(np.meshgrid(*[(0.0, 1.0)] * 4, indexing="ij"), -1).reshape(-1, 4)
    lightness = 100 * (1 - np.maximum(corners[:, 3], corners[:, :3].sum(1) * 0.8 / 3))
    lab = np.stack([lightness * 652.8, np.full(16, 32768.0), np.full(16, 32768.0)], -1)
    ramp = struct.pack(">2H", 0, 65535)
    identity = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    table = b"mft2" + bytes(4) + bytes((4, 3, 2, 0)) + identity + struct.pack(">HH", 2, 2)
    table += ramp * 4 + lab.round().astype(">u2").tobytes() + ramp * 3
    return profile(b"scnrCMYKLab ", {b"A2B0": table, b"wtpt": xyz(D50)})


def xyz(colour: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(n * 65536) for n in colour))


def profile(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """ICC.1:2001-04, 6. kind: class, colour space and connection space."""
    at, entries, body = 132 + 12 * len(tags), b"", b""
    for name, tag in tags.items():
        entries += name + struct.pack(">II", at + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    white = struct.pack(">3i", *(round(n * 65536) for n in D50))
    head = struct.pack(">I", at + len(body)) + bytes(4) + bytes.fromhex("02400000") + kind + bytes(12) + b"acsp"
    return (head + bytes(28) + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def in_profile(rgb: np.ndarray, colorants: tuple[tuple[float, float, float], ...], exponent: float = 0) -> np.ndarray:
    """sRGB colours as numbers of another RGB. exponent: of its curve, 0 for that of sRGB."""
    values = rgb / 255.0
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = light @ np.array(SRGB) @ np.linalg.inv(np.array(colorants))
    light = light.clip(0, 1)
    curved = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return ((light ** (1 / exponent) if exponent else curved) * 255 + 0.5).astype(np.uint8)


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of RGB in 8 or 16 bits, with chunks before its pixels."""
    height, width = pixels.shape[:2]
    deep = pixels.dtype == np.uint16
    rows = pixels.astype(">u2").tobytes() if deep else pixels.tobytes()
    step = len(rows) // height
    data = b"".join(b"\0" + rows[at : at + step] for at in range(0, len(rows), step))
    header = struct.pack(">IIBB3x", width, height, 16 if deep else 8, 2)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, every))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, body = chunk
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


# HEIC (ISO/IEC 14496-12 and 23008-12)


def heic(
    rgb_YXC: np.ndarray,
    *,
    tile: int = 4096,
    quarter_turns: int = 0,
    icc: bytes = b"",
    exif: bytes = b"",
    pix_fmt: str = "yuv420p",
    claims: tuple[int, int] | None = None,
) -> bytes:
    """A photograph as telephones write it. tile: pixels a side, of which a larger picture has a grid. quarter_turns: to
    the left, to be shown. claims: (height, width) that it says, if not its own."""
    height, width = rgb_YXC.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    padding = ((0, rows * tile - height), (0, columns * tile - width), (0, 0)) if rows * columns > 1 else ((0, 0),) * 3
    padded, step = np.pad(rgb_YXC, padding, mode="edge"), tile if rows * columns > 1 else max(height, width)
    tiles = [padded[y * step : (y + 1) * step, x * step : (x + 1) * step] for y in range(rows) for x in range(columns)]
    pictures = [_hevc(each, pix_fmt) for each in tiles]
    kinds, bodies = [b"hvc1"] * len(tiles), [picture for _, picture in pictures]
    if len(tiles) > 1:
        kinds.append(b"grid")
        bodies.append(struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height))
    primary = len(kinds)
    if exif:
        kinds.append(b"Exif")
        bodies.append(bytes(4) + exif)
    claimed_height, claimed_width = claims or (height, width)
    colour = _box(b"colr", b"prof" + icc) if icc else _box(b"colr", b"nclx" + struct.pack(">HHHB", 1, 13, 6, 128))
    properties = [
        _box(b"hvcC", pictures[0][0]),
        _full(b"ispe", struct.pack(">II", tiles[0].shape[1], tiles[0].shape[0])),
        _full(b"ispe", struct.pack(">II", claimed_width, claimed_height)),
        colour,
        _box(b"irot", bytes([quarter_turns])),
    ]
    uses = {number: bytes((0x81, 2 if len(tiles) > 1 else 3, 4)) for number in range(1, len(tiles) + 1)}
    uses[primary] = (bytes((3, 4)) if len(tiles) > 1 else uses[primary]) + b"\x85"
    return _file(kinds, bodies, properties, uses, primary, tiles=len(tiles))


def _file(
    kinds: list[bytes], bodies: list[bytes], properties: list[bytes], uses: dict[int, bytes], primary: int, tiles: int
) -> bytes:
    """uses: of the properties, counted from 1, by each item."""
    entries = b"".join(struct.pack(">HB", item, len(use)) + use for item, use in uses.items())
    iprp = _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full(b"ipma", struct.pack(">I", len(uses)) + entries))
    infe = b"".join(_full(b"infe", struct.pack(">HH", n, 0) + kind + b"\0", 2) for n, kind in enumerate(kinds, 1))
    references = b""
    if tiles > 1:
        references += _box(b"dimg", struct.pack(f">HH{tiles}H", primary, tiles, *range(1, tiles + 1)))
    if len(kinds) > primary:
        references += _box(b"cdsc", struct.pack(">HHH", len(kinds), 1, primary))
    handler = _full(b"hdlr", bytes(4) + b"pict" + bytes(13))
    start = handler + _full(b"pitm", struct.pack(">H", primary))
    end = _full(b"iinf", struct.pack(">H", len(kinds)) + infe)
    end += (_full(b"iref", references) if references else b"") + iprp
    ftyp = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")

    def meta(first: int) -> bytes:
        places = np.cumsum([first, *map(len, bodies)]).tolist()
        extents = zip(places, map(len, bodies), strict=False)
        table = b"".join(struct.pack(">HHHII", n, 0, 1, *extent) for n, extent in enumerate(extents, 1))
        iloc = _full(b"iloc", b"\x44\0" + struct.pack(">H", len(bodies)) + table)
        return _full(b"meta", start + iloc + end)

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + _box(b"mdat", b"".join(bodies))


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def _full(name: bytes, body: bytes, version: int = 0) -> bytes:
    return _box(name, bytes([version, 0, 0, 0]) + body)


def _hevc(rgb_YXC: np.ndarray, pix_fmt: str) -> tuple[bytes, bytes]:
    """(the decoder's configuration, one coded picture)."""
    height, width = rgb_YXC.shape[:2]
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -i -".split()
    to_yuv = ["-vf", f"scale=out_color_matrix=smpte170m:out_range=pc,format={pix_fmt}"]
    codec = ["-c:v", "libx265", "-x265-params", "log-level=none:crf=6:info=0", "-tag:v", "hvc1", "-frames:v", "1"]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "a.mp4"
        ffmpeg(*raw, *to_yuv, *codec, made, stdin=rgb_YXC.tobytes())
        data = made.read_bytes()
    at = data.index(b"hvcC")
    configuration = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    at = data.index(b"stsz")
    size = int.from_bytes(data[at + 8 : at + 12], "big") or int.from_bytes(data[at + 16 : at + 20], "big")
    at = data.index(b"mdat")
    end = at - 4 + int.from_bytes(data[at - 4 : at], "big")
    return configuration, data[end - size : end]
