"""Pictures and films that unfold to more than they are: counted before anything is decoded, and refused in a line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sora import media
from sora.errors import InputError
from sora.media import animation, decoder, picture, timing

TIMES = [40, 120, 0, 500, 80]  # milliseconds
GREY = [Image.new("L", (16, 12), 40 * n) for n in range(len(TIMES))]


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of many frames of one pixel each."""
    block = (
        b"\x21\xf9\x04\x04\x05\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    )
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + block * frames + b";"


def png(width: int, height: int, depth: int = 1) -> bytes:
    """A grey PNG of zeros."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = zlib.compress(bytes((width * depth + 7) // 8 + 1) * min(height, 100))
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def y4m(width: int, height: int, frames: int) -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F24:1 Ip A1:1 C420\n".encode() + b"FRAME\n" * frames


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_frames_and_times_are_counted_as_a_decoder_sees_them(tmp_path: Path, suffix: str):
    made = tmp_path / f"a.{suffix}"
    GREY[0].save(made, save_all=True, append_images=GREY[1:], duration=TIMES)
    decoded = []
    with Image.open(made) as image:
        name = image.format or ""
        for frame in ImageSequence.Iterator(image):
            frame.load()
            decoded.append(float(frame.info.get("duration", 0)))
    assert animation.durations(made, name) == decoded and len(decoded) == len(TIMES)


def test_a_still_picture_has_one_frame(tmp_path: Path):
    GREY[0].save(tmp_path / "a.png")
    assert animation.durations(tmp_path / "a.png", "PNG") == [0.0]
    assert animation.durations(tmp_path / "a.png", "TIFF") is None


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a canvas without end.gif": (gif(60000, 60000, 3), "over 100 megapixels"),
    "a large canvas of nothing.gif": (gif(9000, 9000, 300), "unfolds to"),
    "frames without end.gif": (gif(8, 8, animation.MAX_FRAMES + 1), "over 100,000 frames"),
    "60000x60000.png": (png(60000, 60000), "over 100 megapixels"),
    "9000x9000 of nothing.png": (png(9000, 9000), "unfolds to"),
}


READERS = (media.probe, media.read_clip, media.read_image, lambda path: media.read_mask(path, 2, (8, 8)))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "read", [media.probe, media.read_clip, media.read_image, lambda p: media.read_mask(p, 2, (8, 8))]
)
def test_what_unfolds_to_too_much_is_refused_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, read: Callable[[Path], object]
):
    (tmp_path / name).write_bytes(HOSTILE[name][0])
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    if read is media.read_image and name.startswith("frames"):
        return  # its first frame is a picture
    with pytest.raises(InputError, match=HOSTILE[name][1]) as refused:
        read(tmp_path / name)
    assert len(str(refused.value).splitlines()) == 1


def test_many_frames_are_counted_and_a_clip_of_them_is_refused_by_its_size(tmp_path: Path):
    (tmp_path / "a.gif").write_bytes(gif(3000, 3000, 1000))
    assert media.probe(tmp_path / "a.gif").frames == 1000
    with pytest.raises(InputError, match="can be read at once"):
        media.read_clip(tmp_path / "a.gif")
    with pytest.raises(InputError, match="can be read at once"):
        media.read_mask(tmp_path / "a.gif", 1000, (8, 8))


def test_a_picture_on_its_side_is_measured_without_being_turned(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png", "a.webp"):
        GREY[0].convert("RGB").save(tmp_path / name, exif=exif)
        found = media.probe(tmp_path / name)
        assert (found.width, found.height) == (12, 16) and media.read_image(tmp_path / name).shape == (16, 12, 3)


def test_pages_of_a_tiff_are_no_film(tmp_path: Path):
    GREY[0].save(tmp_path / "a.tif", save_all=True, append_images=GREY[1:])
    assert media.probe(tmp_path / "a.tif").kind == "image"


def test_a_video_of_too_large_frames_is_refused_before_one_is_decoded(tmp_path: Path):
    (tmp_path / "a.y4m").write_bytes(y4m(20000, 20000, 1) + bytes(1000))
    with pytest.raises(InputError):
        media.probe(tmp_path / "a.y4m")


def test_a_film_of_too_many_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = tmp_path / "a.y4m"
    made.write_bytes(b"YUV4MPEG2 W16 H16 F24:1 Ip A1:1 C420\n" + (b"FRAME\n" + bytes(384)) * 40)
    assert media.probe(made).frames == 40
    monkeypatch.setattr(timing, "MAX_FRAMES", 20)
    with pytest.raises(InputError, match="over 20 frames"):
        media.probe(made)


def test_a_decoder_that_gives_nothing_is_stopped(monkeypatch: pytest.MonkeyPatch):
    never = ["-re", "-f", "lavfi", "-i", "color=rate=0.01", "-f", "rawvideo", "pipe:1"]
    done = decoder.run(never, seconds=0.5)
    assert done.returncode and b"nothing comes of it" in done.stderr
    with decoder.running(never) as output:
        assert len(output.read(1 << 30, 0.5)) < 1 << 30 and output.stalled


def test_a_decoder_has_so_much_memory_and_writes_no_file(tmp_path: Path):
    held = ["-f", "lavfi", "-i", "color=s=8000x8000:r=1:d=2", "-f", "rawvideo"]
    assert decoder.run([*held, str(tmp_path / "a.raw")]).returncode and not (tmp_path / "a.raw").stat().st_size
    with decoder.running([*held, "pipe:1"], memory=64 << 20) as output:
        assert output.read(1 << 20) == b""


PLAYLISTS = {
    "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nSECRET\n#EXT-X-ENDLIST\n",
    "b.mp4": "ffconcat version 1.0\nfile 'SECRET'\n",
    "c.mkv": "<?xml version='1.0'?><MPD><BaseURL>SECRET</BaseURL></MPD>",
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("secret", ["http://127.0.0.1:9/a.ts", "a/b.mkv"])
def test_a_playlist_opens_nothing(tmp_path: Path, name: str, secret: str):
    (tmp_path / name).write_text(PLAYLISTS[name].replace("SECRET", secret))
    for read in (media.probe, media.read_clip, media.sound_tracks):
        with pytest.raises(InputError, match="is a playlist"):
            read(tmp_path / name)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "LA", "P", "I;16", "I", "F", "CMYK"])
def test_a_picture_in_strips_is_the_picture(monkeypatch: pytest.MonkeyPatch, mode: str):
    noise = np.random.default_rng(0).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    whole = Image.fromarray(noise)
    image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257) if mode == "I;16" else whole.convert("RGB")
    image = whole.convert(mode) if mode in ("RGBA", "LA") else image if mode == "I;16" else image.convert(mode)
    expected = media.rgb(image), media.marked(image)
    monkeypatch.setattr(picture, "_STRIP_PIXELS", 17 * 5)
    found = media.rgb(image), media.marked(image)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
