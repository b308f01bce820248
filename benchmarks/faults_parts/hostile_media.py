"""Films and pictures that were made to harm: damaged, endless, unfolding to far more than they are, or posing as what
they are not."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from sora import media
from sora.plan.clip import Clip

FLIPS = 3  # damaged copies of each sound file
PICTURES = ("png", "jpg", "webp", "gif", "tiff", "bmp", "ppm", "avif")
FILMS = ("mkv", "mp4", "gif", "webp")
CONTAINERS = ("avi", "ts", "flv", "mov", "nut", "y4m")
BOMB = 40 << 20  # bytes that a compressed text unfolds to

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nTARGET\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile 'TARGET'\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>TARGET</BaseURL></Period></MPD>',
    "pls": "[playlist]\nFile1=TARGET\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=TARGET\n",
    "edl": "# mpv EDL v0\nTARGET\n",
}
TARGETS = ("http://127.0.0.1:9/a.ts", "/etc/passwd")


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A black and white PNG, of which only some rows are there."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(min(((width + 7) // 8 + 1) * height, 1 << 20))))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


def gif(width: int, height: int, frames: int, comment: bytes = b"") -> bytes:
    """A GIF of many frames of one pixel each."""
    pixel = struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    note = b"!\xfe" + b"".join(bytes([len(comment)]) + comment for _ in range(3)) + b"\0" if comment else b""
    block = b"\x21\xf9\x04\x04\x05\x00\x00\x00" + b"," + pixel
    canvas = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + canvas + note + block * frames + b";"


def webp(width: int, height: int, frames: int, folder: Path) -> bytes:
    """An animated WebP whose frames are small pictures on a canvas of any size."""
    Image.new("RGB", (16, 16)).save(folder / "one.webp", lossless=True)
    inside = (folder / "one.webp").read_bytes()[12:]
    (folder / "one.webp").unlink()

    def u24(number: int) -> bytes:
        return struct.pack("<I", number)[:3]

    body = bytes(6) + u24(15) + u24(15) + u24(40) + b"\0" + inside
    frame = b"ANMF" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + u24(width - 1) + u24(height - 1)
    whole = b"WEBP" + extended + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame * frames
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def y4m(width: int, height: int, frames: int, rate: str = "24:1") -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420\n".encode() + b"FRAME\n" * frames


def apng(count: int) -> bytes:
    """A PNG that claims so many frames."""
    control = struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 25, 0, 0)
    return png(64, 64, png_chunk(b"acTL", struct.pack(">II", count, 0)), png_chunk(b"fcTL", control))


def unfolding(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of small files that ask for much."""
    many = zlib.compress(bytes(BOMB))
    yield "60000x60000.png", png(60000, 60000)
    yield "16000x16000.png", png(16000, 16000)
    yield "9000x9000.png", png(9000, 9000)
    yield "2g.png", png((1 << 31) - 1, (1 << 31) - 1)
    yield "itxt-bomb.png", png(16, 16, png_chunk(b"iTXt", b"comment\0\1\0\0\0" + many))
    yield "ztxt-bomb.png", png(16, 16, *[png_chunk(b"zTXt", b"comment\0\0" + many)] * 30)
    yield "iccp-bomb.png", png(16, 16, png_chunk(b"iCCP", b"a\0\0" + many))
    yield "private.png", png(16, 16, *[png_chunk(b"prIv", bytes(1 << 20))] * 40)
    yield "apng-claims.png", apng((1 << 31) - 1)
    yield "apng-none.png", apng(0)
    for width, height, frames in ((60000, 60000, 3), (9000, 9000, 400), (3000, 3000, 5000), (8, 8, 150_000)):
        yield f"{width}x{height}x{frames}.gif", gif(width, height, frames)
    yield "comment.gif", gif(16, 16, 2, b"{" * 255)
    for width, height, frames in ((16383, 16383, 2), (8000, 8000, 400), (3000, 3000, 3000), (16, 16, 110_000)):
        yield f"{width}x{height}x{frames}.webp", webp(width, height, frames, folder)
    for width, height, frames in ((8192, 8192, 100_000), (60000, 60000, 2), (2, 2, 300_000), (0, 0, 5)):
        yield f"{width}x{height}x{frames}.y4m", y4m(width, height, frames)
    yield "fast.y4m", y4m(16, 16, 10, "2000000000:1")
    yield "slow.y4m", y4m(16, 16, 10, "1:2000000000")
    yield "endless-comment.jpg", b"\xff\xd8" + (b"\xff\xfe\xff\xff" + b"{" * 65533) * 300 + b"\xff\xd9"
    yield "60000x60000.ppm", b"P6 60000 60000 255\n" + bytes(100)
    yield "60000x60000.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6)
    tag = struct.pack("<HHII", 0x10E, 2, 0xFFFFFFF0, 8)
    yield "ifd.tiff", b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 60000) + tag * 2000
    yield "pages.tiff", b"II*\0" + struct.pack("<I", 8) + (struct.pack("<HI", 0, 8))


def sound_files(folder: Path) -> Iterator[Path]:
    """Small files that are what they say."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
    for suffix in PICTURES:
        Image.fromarray(noise[0]).save(folder / f"whole.{suffix}")
        yield folder / f"whole.{suffix}"
    for suffix in FILMS:
        yield media.write_clip(folder / f"film.{suffix}", Clip(noise, 8.0), "{}")
    for suffix in CONTAINERS:
        _ffmpeg("-i", folder / "film.mkv", "-pix_fmt", "yuv420p", folder / f"film.{suffix}")
        yield folder / f"film.{suffix}"


def _ffmpeg(*arguments: object) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """With some bytes changed, most of them where headers are, and now and then cut short."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 4, 30))):
        changed[rng.randrange(min(len(changed), rng.choice((64, 512, 1 << 30))))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(8, len(changed))] if rng.random() < 0.4 else changed)


def posing() -> Iterator[tuple[str, bytes]]:
    """Playlists and scripts under the names of films."""
    for kind, text in PLAYLISTS.items():
        for number, target in enumerate(TARGETS):
            for suffix in ("mp4", "png") if number else ("mp4", "mkv"):
                yield f"{kind}-{number}.{suffix}", text.replace("TARGET", target).encode()
    yield "program.mp4", b"#!/bin/sh\ntouch /tmp/evil\n"
    yield "elf.mkv", b"\x7fELF" + bytes(200)
    yield "%03d.png", png(16, 16)
    yield "eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    yield "zip.mp4", b"PK\x03\x04" + bytes(100)
    yield "sound.wav", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"


def make(folder: Path, seed: int) -> list[Path]:
    """All of them, as files in a folder."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    made = [_written(folder, name, data) for name, data in (*unfolding(folder), *posing())]
    for whole in list(sound_files(folder)):
        data = whole.read_bytes()
        made += [_written(folder, f"{number}-{whole.name}", damaged(data, rng)) for number in range(FLIPS)]
    return made


def _written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name
