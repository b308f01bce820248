"""Films in other colours than those of a screen, and with alpha, made by formulas of their own.

HDR: BT.2100's HLG and PQ, from SDR display light (BT.1886) with its white at 203 cd/m2 (BT.2408).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

COLOURS = ((255, 255, 255), (220, 30, 30), (60, 190, 70), (40, 60, 220), (128, 128, 128), (230, 180, 150), (20, 20, 20))
MUTED = ((255, 255, 255), (190, 70, 60), (80, 170, 90), (70, 80, 190), (128, 128, 128), (230, 180, 150), (20, 20, 20))
"""What lies in every gamut."""

BAR = 32  # pixels

# BT.2087
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
LUMA_2020 = (0.2627, 0.6780, 0.0593)


def bars(colours: tuple[tuple[int, int, int], ...] = COLOURS, height: int = 96) -> np.ndarray:
    """uint8 (Y, X, 3), a bar of each colour, from left to right."""
    return np.repeat(np.repeat(np.array([colours], np.uint8), height, axis=0), BAR, axis=1)


def seen(frame_YXC: np.ndarray, count: int = len(COLOURS)) -> np.ndarray:
    """The colours (count, 3) in the middle of each bar."""
    height, width = frame_YXC.shape[:2]
    return frame_YXC[height // 2, (np.arange(count) * 2 + 1) * width // (2 * count)].astype(int)


def ffmpeg(*arguments: str | Path, stdin: bytes = b"") -> None:
    subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments)], input=stdin, check=True)


def encode(path: Path, frame_YXC: np.ndarray, filters: str, codec: str, frames: int = 3) -> Path:
    """RGB through ffmpeg's filters into a file."""
    height, width = frame_YXC.shape[:2]
    channels = "rgba" if frame_YXC.shape[2] == 4 else "rgb24"
    raw = f"-f rawvideo -pix_fmt {channels} -s {width}x{height} -r 24 -i -".split()
    ffmpeg(*raw, "-vf", filters, *codec.split(), path, stdin=frame_YXC.tobytes() * frames)
    return path


def tagged(matrix: str, primaries: str, transfer: str, range: str = "tv") -> str:
    """A filter that says so of frames, and changes nothing."""
    return f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range={range}"


def converted(matrix: str, primaries: str, transfer: str, pix_fmt: str) -> str:
    """Filters from RGB that a screen shows to other colours of the same curve, tagged so."""
    curve = "iec61966-2-1" if transfer == "iec61966-2-1" else "bt709"
    to = f"m={matrix}:p={primaries}:t={transfer}:r=tv"
    return f"format=gbrp,zscale=agamma=0:min=gbr:pin=bt709:tin={curve}:rin=pc:{to},format={pix_fmt}"


def hdr(path: Path, rgb_YXC: np.ndarray, transfer: str, codec: str, *, alpha: int | None = None) -> Path:
    """An SDR picture as HDR of 10 bits. transfer: "arib-std-b67" for HLG, "smpte2084" for PQ. alpha: of all pixels, 0
    to 1023."""
    light = (rgb_YXC / 255.0) ** 2.4 * 203 @ TO_2020.T
    signal = hlg(light) if transfer == "arib-std-b67" else pq(light)
    luma = signal @ LUMA_2020
    blue, red = (signal[..., 2] - luma) / 1.8814, (signal[..., 0] - luma) / 1.4746
    planes = [luma * 876 + 64, blue * 896 + 512, red * 896 + 512]
    planes += [] if alpha is None else [np.full(luma.shape, alpha)]
    data = (np.stack(planes) + 0.5).astype("<u2").tobytes()
    height, width = luma.shape
    kind = "yuv444p10le" if alpha is None else "yuva444p10le"
    raw = f"-f rawvideo -pix_fmt {kind} -s {width}x{height} -r 24 -i -".split()
    ffmpeg(*raw, "-vf", tagged("bt2020nc", "bt2020", transfer), *codec.split(), path, stdin=data * 3)
    return path


def pq(light: np.ndarray) -> np.ndarray:
    """BT.2100 table 4. light: cd/m2."""
    power = np.clip(light / 10_000, 0, None) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """BT.2100 table 5 on a screen of 1000 cd/m2."""
    shown = np.clip(light / 1000, 0, None)
    luminance = np.maximum(shown @ LUMA_2020, 1e-9)[..., None]
    scene = shown * luminance ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def half_clear(height: int = 48, width: int = 64) -> np.ndarray:
    """RGBA: red, its left half transparent."""
    frame_YXC = np.zeros((height, width, 4), np.uint8)
    frame_YXC[...] = (220, 30, 30, 255)
    frame_YXC[:, : width // 2, 3] = 0
    return frame_YXC


ALPHA_CODECS = {
    "prores.mov": ("format=yuva444p10le", "-c:v prores_ks -profile:v 4444"),
    "animation.mov": ("format=argb", "-c:v qtrle"),
    "png.mov": ("null", "-c:v png"),
    "hevc.mov": ("format=yuva420p", "-c:v libx265 -tag:v hvc1 -x265-params log-level=none"),
    "vp8.webm": ("format=yuva420p", "-c:v libvpx -auto-alt-ref 0"),
    "vp9.webm": ("format=yuva420p", "-c:v libvpx-vp9"),
    "ffv1.mkv": ("null", "-c:v ffv1"),
    "utvideo.avi": ("format=gbrap", "-c:v utvideo"),
}
"""File -> (filters, codec)."""
