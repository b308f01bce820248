"""References and control signals against diffusers' WanVACEPipeline: same folder, same seed, same clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_wan_pipelines import FRAMES, PROMPT, Close, close, folders, ours, picture, theirs

from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.plan import Control, Format, Plan

__all__ = ["close", "folders"]  # fixtures


def sized_picture(seed: int, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture(seed)).resize((width, height), Image.Resampling.BICUBIC))


REFERENCES = [sized_picture(3, 64, 96), sized_picture(4, 131, 77), sized_picture(5, 96, 64)]
SCALES: dict[str, tuple[float, ...]] = {"one": (0.6,), "each": (0.4, 1.3)}


def pictures(frames_YXC: Sequence[np.ndarray]) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in frames_YXC]


def control_clip() -> Clip:
    return Clip(np.stack([picture(10 + i) for i in range(FRAMES)]), 16.0)


@pytest.mark.parametrize(("kind", "count"), [("vace", 1), ("vace", 2), ("vace", 3), ("vace-a14b", 1)])
def test_references(folders: Any, close: Close, kind: str, count: int) -> None:
    ready, folder = folders(kind)

    def plan(form: Format) -> Plan:
        return replace(operations.generate((PROMPT,), frames=FRAMES, format=form), references=tuple(REFERENCES[:count]))

    close(ours(folder, plan), theirs(ready, reference_images=pictures(REFERENCES[:count])))


@pytest.mark.parametrize("scales", SCALES)
def test_a_control_clip(folders: Any, close: Close, scales: str) -> None:
    ready, folder = folders("vace")

    def plan(form: Format) -> Plan:
        plain = operations.generate((PROMPT,), frames=FRAMES, format=form)
        return replace(plain, control=Control(control_clip(), range(FRAMES)), guide_scales=SCALES[scales])

    given = SCALES[scales]
    said = {
        "video": pictures(list(control_clip().frames_FYXC)),
        "conditioning_scale": given[0] if len(given) == 1 else list(given),
    }
    close(ours(folder, plan), theirs(ready, **said))
