"""References and control signals against diffusers' WanVACEPipeline: same folder, same seed, same clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_wan_pipelines import (
    FRAMES,
    HEIGHT,
    NEGATIVE,
    PROMPT,
    STEPS,
    WIDTH,
    Close,
    close,
    folders,
    ours,
    picture,
    theirs,
)
from typer.testing import CliRunner

from sora import media
from sora.cli import app
from sora.engine import blend
from sora.engine.canvas import Canvas, to_FCYX
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


def with_mask(frames: Sequence[int], region: tuple[slice, slice] | None = None) -> dict[str, Any]:
    """What the pipeline is given for a clip of which these frames are known, or all but a region."""
    video, mask = np.full((FRAMES, HEIGHT, WIDTH, 3), 0.5), np.ones((FRAMES, HEIGHT, WIDTH, 3))
    for i in frames:
        video[i], mask[i] = picture(i) / 255, 0
        if region is not None:
            video[i][region], mask[i][region] = 0.5, 1
    return {"video": video[None], "mask": mask[None]}


def clip() -> Clip:
    return Clip(np.stack([picture(i) for i in range(FRAMES)]), 16.0)


def test_references_with_known_frames(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")

    def plan(form: Format) -> Plan:
        between = operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form, last_image_YXC=picture(FRAMES - 1))
        return replace(between, references=tuple(REFERENCES[:2]))

    close(ours(folder, plan), theirs(ready, **with_mask([0, FRAMES - 1]), reference_images=pictures(REFERENCES[:2])))


REGION = slice(16, 48), slice(32, 80)  # rows, columns


def test_references_with_a_region(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")
    paint_FYX = np.zeros((1, HEIGHT, WIDTH), bool)
    paint_FYX[0][REGION] = True

    def plan(form: Format) -> Plan:
        edited = operations.edit(clip(), PROMPT, strength=1.0, paint_FYX=paint_FYX, format=form)
        return replace(edited, references=tuple(REFERENCES))

    close(ours(folder, plan), theirs(ready, **with_mask(range(FRAMES), REGION), reference_images=pictures(REFERENCES)))


def command(folder: Path, out: Path, *words: str, references: int = 0) -> np.ndarray:
    """The frames that ``sora`` writes when it is asked for the same as the pipeline."""
    argv = [*words, "--model", str(folder), "--seed", "7", "--steps", str(STEPS), "--guidance", "3"]
    argv += ["--negative-prompt", NEGATIVE, "--device", "cpu", "-o", str(out)]
    for number, reference in enumerate(REFERENCES[:references]):
        file = out.with_name(f"reference-{number}.png")
        Image.fromarray(reference).save(file)
        argv += ["--reference", str(file)]
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return media.read_clip(out).frames_FYXC.astype(int)


def levels(frames: np.ndarray) -> np.ndarray:
    """Frames in [0, 1] as grey levels."""
    return np.round(frames * 255).astype(int)


SIZED = ("--size", f"{WIDTH}x{HEIGHT}", "--frames", str(FRAMES))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_command_shows_references_as_the_pipeline_does(folders: Any, tmp_path: Path, count: int) -> None:
    ready, folder = folders("vace")
    got = command(folder, tmp_path / "out.mkv", "generate", PROMPT, *SIZED, references=count)
    assert np.abs(got - levels(theirs(ready, reference_images=pictures(REFERENCES[:count])))).max() <= 1


def test_the_command_shows_references_next_to_a_first_picture(folders: Any, tmp_path: Path) -> None:
    ready, folder = folders("vace")
    Image.fromarray(picture()).save(tmp_path / "a.png")
    got = command(folder, tmp_path / "out.mkv", "img2vid", str(tmp_path / "a.png"), PROMPT, *SIZED, references=2)
    wish = levels(theirs(ready, **with_mask([0]), reference_images=pictures(REFERENCES[:2])))
    assert np.array_equal(got[0], picture())
    assert np.abs(got[1:] - wish[1:]).max() <= 1


def test_the_command_shows_references_in_a_region(folders: Any, tmp_path: Path) -> None:
    ready, folder = folders("vace")
    media.write_clip(tmp_path / "a.mkv", clip())
    rows, columns = REGION
    region = f"{columns.start},{rows.start},{columns.stop - columns.start},{rows.stop - rows.start}"
    words = ("edit", str(tmp_path / "a.mkv"), PROMPT, "--region", region)
    got = command(folder, tmp_path / "out.mkv", *words, references=2)
    shown = theirs(ready, **with_mask(range(FRAMES), REGION), reference_images=pictures(REFERENCES[:2]))
    known = torch.ones(FRAMES, 1, HEIGHT, WIDTH, dtype=torch.bool)
    known[:, 0, rows, columns] = False
    painted = torch.from_numpy(levels(shown)).to(torch.uint8).permute(0, 3, 1, 2)
    wish = blend.blend_known(Canvas(to_FCYX(clip()), known, 16.0), painted).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(got[:, : rows.start], clip().frames_FYXC[:, : rows.start])
    assert np.abs(got - wish.astype(int)).max() <= 1


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


def test_references_with_a_control_clip_and_a_first_picture(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")

    def plan(form: Format) -> Plan:
        begun = operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form)
        control = Control(control_clip(), range(1, FRAMES))
        return replace(begun, references=tuple(REFERENCES[:2]), control=control, guide_scales=SCALES["each"])

    shown = with_mask([0])
    shown["video"][0, 1:] = control_clip().frames_FYXC[1:] / 255
    scales = list(SCALES["each"])
    close(
        ours(folder, plan), theirs(ready, **shown, conditioning_scale=scales, reference_images=pictures(REFERENCES[:2]))
    )
