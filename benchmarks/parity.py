"""How near whole runs come to diffusers' Wan pipelines: ``python benchmarks/parity.py``.

For every kind of checkpoint, tiny and with random weights, saved by diffusers and loaded from that folder: the largest
and the mean distance of frames in [0, 1], from the same prompt, seed and settings. Needs the ``dev`` dependencies.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# What the tests compare is compared here, and measured.
sys.path[:0] = [str(Path(__file__).parent.parent / "tests" / "parity")]

from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from test_wan_pipelines import FRAMES, HEIGHT, PROMPT, WIDTH, ours, picture, theirs  # type: ignore[import-not-found]
from wan_folders import PIPELINES, pipeline  # type: ignore[import-not-found]

from sora.plan import operations
from sora.plan.plan import Format, Plan

WISH = 1e-3


def words(form: Format) -> Plan:
    return operations.generate((PROMPT,), frames=FRAMES, form=form)


def one_picture(form: Format) -> Plan:
    return operations.img2vid(picture(), PROMPT, frames=FRAMES, form=form)


def two_pictures(form: Format) -> Plan:
    return operations.img2vid(picture(), PROMPT, frames=FRAMES, form=form, last_YXC=picture(1))


def asked(kind: str, pictures: int) -> dict[str, Any]:
    """What the pipeline is given beside words."""
    shown = [Image.fromarray(picture(i)) for i in range(pictures)]
    if kind != "vace":
        return dict(zip(("image", "last_image"), shown, strict=False))
    if not pictures:
        return {}
    video, mask = np.full((FRAMES, HEIGHT, WIDTH, 3), 0.5), np.ones((FRAMES, HEIGHT, WIDTH, 3))
    for place, image in zip((0, -1), shown, strict=False):
        video[place], mask[place] = np.asarray(image) / 255, 0
    return {"video": video[None], "mask": mask[None]}


PLANS: tuple[Callable[[Format], Plan], ...] = (words, one_picture, two_pictures)
CASES = {
    "t2v": (0,),
    "t2v-a14b": (0,),
    "ti2v": (0, 1),
    "i2v": (1,),
    "i2v-a14b": (1,),
    "flf2v": (2,),
    "vace": (0, 1, 2),
}


def main() -> None:
    print(f"{'kind':10} {'pictures':>8} {'largest':>9} {'mean':>9} {'wish':>7}  seconds")
    with tempfile.TemporaryDirectory() as place:
        for kind in PIPELINES:
            ready, folder = pipeline(kind), Path(place) / kind
            ready.save_pretrained(folder)
            for pictures in CASES.get(kind, ()):
                started, runs = time.perf_counter(), ready
                if kind == "ti2v" and pictures:
                    runs = WanImageToVideoPipeline(**ready.components, expand_timesteps=True)
                    runs.set_progress_bar_config(disable=True)
                apart = np.abs(ours(folder, PLANS[pictures]) - theirs(runs, **asked(kind, pictures)))
                met = "met" if apart.max() <= WISH else "MISSED"
                took = time.perf_counter() - started
                print(f"{kind:10} {pictures:8} {apart.max():9.1e} {apart.mean():9.1e} {WISH:7.0e}  {took:.1f} {met}")


if __name__ == "__main__":
    main()
