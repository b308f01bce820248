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


def interlaced(
    path: Path, frames: int, encode: Sequence[str], *, top_first: bool = True, size: tuple[int, int] = (96, 128)
) -> Path:
    """A light bar that moves right, filmed in fields: lines of two moments alternate in each of ``frames`` frames, 25 a
    second."""
    fields = np.full((2 * frames, *size, 3), 40, np.uint8)
    for number, field_YXC in enumerate(fields):
        field_YXC[:, (left := 10 + number * 5 % (size[1] - 40)) : left + 24] = 210
    source = f"-f rawvideo -pix_fmt rgb24 -s {size[1]}x{size[0]} -r 50 -i pipe:0".split()
    weave = f"format=yuv420p,tinterlace=interleave_{'top' if top_first else 'bottom'}"
    ffmpeg(*source, "-vf", weave, *encode, path, stdin=fields.tobytes())
    return path


def combing(frames_FYXC: np.ndarray) -> float:
    """How much lines differ from those above and below them: about 25 of what ``interlaced`` makes, 0 of whole
    frames."""
    inner_FYX = frames_FYXC[2:-2, 8:-8, :, 1].astype(int)
    return float(np.abs(2 * inner_FYX[:, 1:-1] - inner_FYX[:, :-2] - inner_FYX[:, 2:]).mean())


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Films one after the other in one stream, nothing of them coded anew."""
    listing = path.with_name("parts.txt")
    listing.write_text("".join(f"file '{part}'\n" for part in parts))
    ffmpeg("-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", path)
    return path
