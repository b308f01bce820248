"""How notebooks show a video and a picture: as HTML that holds all of it, bounded in size."""

from __future__ import annotations

import base64
import io
import tempfile
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from sora import media
from sora.plan.clip import Clip, fit
from sora.storage import staging

MAX_SIDE = 768  # pixels; larger frames are shown smaller
MAX_FRAMES = 600  # of a video that are shown
MAX_BYTES = 12 << 20  # of encoded video in one cell; a notebook's file holds all of it, a third larger in base64


def video_html(frames_FYXC: np.ndarray, fps: float, caption: str) -> str:
    """A player that starts by itself, repeats and is silent. frames_FYXC: uint8 RGB. caption: any text, of which
    nothing is read as HTML. A video that is too large is shown as its first frame. Raises InputError where no file can
    be written."""
    height, width = (max(2, side // 2 * 2) for side in shown_size(frames_FYXC.shape[1:3]))  # an .mp4's sides are even
    shown = frames_FYXC[:MAX_FRAMES]
    with staging.folder(Path(tempfile.gettempdir(), "shown")) as folder:
        clip = Clip(np.stack([fit(frame_YXC, height, width) for frame_YXC in shown]), fps)
        data = media.write_clip(folder / "shown.mp4", clip).read_bytes()
    if len(data) > MAX_BYTES:
        return picture_html(frames_FYXC[0], f"{caption} (too large to play here; save it)")
    if len(shown) < len(frames_FYXC):
        caption += f" (the first {len(shown)} frames are shown)"
    sides = f'width="{width}" height="{height}"'
    source = f'src="data:video/mp4;base64,{base64.b64encode(data).decode()}"'
    return _figure(f"<video autoplay loop muted controls playsinline {sides} {source}></video>", caption)


def picture_html(frame_YXC: np.ndarray, caption: str) -> str:
    """A picture as PNG. frame_YXC: uint8 RGB. caption: as in ``video_html``."""
    height, width = shown_size(frame_YXC.shape[:2])
    data = io.BytesIO()
    Image.fromarray(fit(frame_YXC, height, width)).save(data, "PNG")
    source = f'src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"'
    return _figure(f'<img alt="{escape(caption)}" width="{width}" height="{height}" {source}>', caption)


def shown_size(size: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of at most MAX_SIDE a side, in the same shape."""
    height, width = size
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _figure(media_html: str, caption: str) -> str:
    return f'<figure style="margin:0">{media_html}<figcaption>{escape(caption)}</figcaption></figure>'
