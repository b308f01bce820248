"""What type checkers know of the Python API: no test runs this, ``pyright`` reads it. An ignored error that pyright
does not find is one, too, so each line with a comment is refused."""
# pyright: reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from typing_extensions import assert_type

import sora


def stop(event: sora.ProgressEvent) -> None:
    raise KeyboardInterrupt(event.phase)


def verbs_return_videos_and_pictures() -> None:
    clip = assert_type(sora.generate("a red ball", seed=3, size=(640, 360), camera="static"), sora.Video)
    assert_type(sora.image("a red ball", refine=0.3, loras=[("style.safetensors", 0.5)]), sora.Picture)
    assert_type(sora.img2vid(Image.new("RGB", (64, 64)), last_image=Path("last.png")), sora.Video)
    assert_type(sora.extend(clip, on_progress=stop, backward=True), sora.Video)
    assert_type(sora.loop(prompt="a red ball", frames=16), sora.Video)
    assert_type(sora.bridge(clip, "b.mp4", start_b=1.5), sora.Video)
    assert_type(
        sora.edit(np.zeros((4, 8, 8, 3), np.uint8), "a blue ball", region=(0, 0, 4, 4), method="flow"), sora.Video
    )
    shown = ["cat.png", Image.new("RGB", (64, 64)), np.zeros((8, 8, 3), np.uint8)]
    assert_type(sora.loop("clip.mp4", references=shown, reference_background="white"), sora.Video)
    assert_type(sora.bridge(clip, "b.mp4", references=Path("cat.png")), sora.Video)
    assert_type(sora.finish(clip, draft_strength=0.5), sora.Video)
    assert_type(sora.remake("clip.mp4", seed=4), sora.Video)
    assert_type(sora.load(model="mini", device="cpu").generate("a red ball"), sora.Video)
    assert_type(clip.save("clip.mp4", force=True), Path)
    assert_type(clip.size, tuple[int, int])


def mistakes_are_found() -> None:
    sora.generate("a red ball", sede=3)  # pyright: ignore[reportCallIssue]
    sora.generate("a red ball", seed="three")  # pyright: ignore[reportArgumentType]
    sora.generate("a red ball", camera="upwards")  # pyright: ignore[reportArgumentType]
    sora.extend(3)  # pyright: ignore[reportArgumentType]
    sora.edit("clip.mp4")  # pyright: ignore[reportCallIssue]
    sora.load(seed=3)  # pyright: ignore[reportCallIssue]
