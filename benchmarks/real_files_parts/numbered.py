"""Films whose frames say their own number, in black and white bars that survive scaling and every codec."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

BITS = 8
H264 = ("-c:v", "libx264", "-g", "12", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-crf", "10")


def frame_of(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """uint8 (Y, X, 3): BITS bars of the number, the highest bit first. size: (height, width)."""
    bits = [(number >> bit) & 1 for bit in reversed(range(BITS))]
    columns_X = np.array([bits[x * BITS // size[1]] for x in range(size[1])], np.uint8)
    return np.broadcast_to((columns_X * 215 + 20)[None, :, None], (*size, 3)).astype(np.uint8)


def number_of(frame_YXC: np.ndarray) -> int:
    """What ``frame_of`` was given, of a frame of any size."""
    height, width = frame_YXC.shape[:2]
    middles = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    bits = [int(frame_YXC[height // 2, x].mean() > 128) for x in middles]
    return int("".join(map(str, bits)), 2)


def ffmpeg(*arguments: str | Path, stdin: bytes = b"") -> None:
    """Runs the bundled program. Raises CalledProcessError."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, input=stdin, check=True, capture_output=True)


def film(
    path: Path,
    numbers: Sequence[int],
    *,
    rate: str = "24",
    size: tuple[int, int] = (48, 64),
    dropped: Collection[int] = (),
    filters: str = "",
    encode: Sequence[str] = H264,
) -> Path:
    """A film of frames with these numbers. dropped: places in it whose frames the stream lacks; the others keep their
    times. filters, encode: further ones of ffmpeg."""
    raw = b"".join(frame_of(number, size).tobytes() for number in numbers)
    source = f"-f rawvideo -pix_fmt rgb24 -s {size[1]}x{size[0]} -r {rate} -i pipe:0".split()
    gone = "+".join(f"eq(n\\,{place})" for place in dropped)
    steps = [f"select=not({gone})"] if gone else []
    steps += [filters] if filters else []
    chain = ["-vf", ",".join(steps)] if steps else []
    ffmpeg(*source, *chain, "-fps_mode", "passthrough", *encode, path, stdin=raw)
    return path


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Films one after the other in one stream, nothing of them coded anew."""
    listing = path.with_name("parts.txt")
    listing.write_text("".join(f"file '{part}'\n" for part in parts))
    ffmpeg("-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", path)
    return path
