"""Control clips against diffusers' WanVACEPipeline: alone, in part of the frames, with masks, with a known first frame
and with references, by the plan and by the command. Same folder, same seed, same clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_wan_guides import REFERENCES, SCALES, control_clip, pictures
from test_wan_pipelines import FRAMES, HEIGHT, NEGATIVE, PROMPT, WIDTH, Close, close, folders, ours, picture, theirs
from typer.testing import CliRunner

import sora
from sora import media
from sora.cli import app
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.plan import Control, Format, Plan
from sora.plan.recipe import digest_of

__all__ = ["close", "folders"]  # fixtures

REGION = (slice(None), slice(16, 48), slice(24, 72))
FOLLOWED = range(4, FRAMES)


def controlled(plan: Plan, frames: range = range(FRAMES), scales: tuple[float, ...] = (1.0,), **more: Any) -> Plan:
    return replace(plan, control=Control(control_clip(), frames), guide_scales=scales, **more)


def shown() -> np.ndarray:
    """The control clip as diffusers takes it, in [0, 1]."""
    return control_clip().frames_FYXC / 255


def test_in_a_part_of_the_frames(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")
    video = np.full((FRAMES, HEIGHT, WIDTH, 3), 0.5)
    video[FOLLOWED.start :] = shown()[FOLLOWED.start :]
    plan = lambda form: controlled(operations.generate((PROMPT,), frames=FRAMES, format=form), FOLLOWED)  # noqa: E731
    close(ours(folder, plan), theirs(ready, video=video[None]))


def test_inside_a_mask(folders: Any, close: Close) -> None:
    """What lies outside the region is the clip, and kept; what lies inside follows the control clip."""
    ready, folder = folders("vace")
    clip = Clip(np.stack([picture(i) for i in range(FRAMES)]), 16.0)
    paint_FYX = np.zeros((1, HEIGHT, WIDTH), bool)
    paint_FYX[REGION] = True
    video, mask = clip.frames_FYXC / 255, np.zeros((FRAMES, HEIGHT, WIDTH, 3))
    video[REGION], mask[REGION] = shown()[REGION], 1

    def plan(form: Format) -> Plan:
        edited = operations.edit(clip, PROMPT, format=form, strength=1.0, paint_FYX=paint_FYX)
        return controlled(edited, scales=SCALES["each"])

    wanted = theirs(ready, video=video[None], mask=mask[None], conditioning_scale=list(SCALES["each"]))
    close(ours(folder, plan), wanted)


def test_after_a_known_first_frame(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")
    video, mask = shown().copy(), np.ones((FRAMES, HEIGHT, WIDTH, 3))
    video[0], mask[0] = picture() / 255, 0
    plan = lambda form: controlled(operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form))  # noqa: E731
    close(ours(folder, plan), theirs(ready, video=video[None], mask=mask[None]))


def test_with_references(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")
    references, weights = REFERENCES[:2], SCALES["each"]

    def plan(form: Format) -> Plan:
        painted = operations.generate((PROMPT,), frames=FRAMES, format=form)
        return controlled(painted, scales=weights, references=tuple(references))

    wanted = theirs(
        ready, video=pictures(list(control_clip().frames_FYXC)), reference_images=pictures(references),
        conditioning_scale=list(weights),
    )  # fmt: skip
    close(ours(folder, plan), wanted)


@pytest.mark.parametrize("verb", ["generate", "img2vid"])
def test_the_command_follows_a_clip_as_the_pipeline_does(folders: Any, tmp_path: Path, verb: str) -> None:
    ready, folder = folders("vace")
    clip, out = tmp_path / "control.mkv", tmp_path / "out.mkv"
    with media.writer(str(clip), 16.0, (HEIGHT, WIDTH), "{}", False) as file:
        file.write(control_clip().frames_FYXC)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    argv = [verb, *([str(tmp_path / "a.png")] if verb == "img2vid" else []), PROMPT, "--model", str(folder)]
    argv += ["--seed", "7", "--steps", "5", "--guidance", "3", "--negative-prompt", NEGATIVE, "--size", "96x64"]
    argv += ["--control", str(clip), "--control-strength", "0.4,1.3", "--device", "cpu", "-o", str(out)]
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    video, mask = shown().copy(), np.ones((FRAMES, HEIGHT, WIDTH, 3))
    if verb == "img2vid":
        video[0], mask[0] = picture() / 255, 0
    wanted = theirs(ready, video=video[None], mask=mask[None], conditioning_scale=[0.4, 1.3])
    got, first = media.read_clip(out).frames_FYXC, int(verb == "img2vid")
    assert len(got) == FRAMES  # as long as the control clip
    assert np.abs(got[first:].astype(int) - np.round(wanted[first:] * 255).astype(int)).max() <= 1


def test_a_recipe_knows_the_control_clip(folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same film from flags, from a line of a prompt file, from Python, from its recipe, and after a stop; not from
    another control clip."""
    monkeypatch.chdir(tmp_path)
    frames = np.stack([picture(i) for i in range(9)])
    media.write_clip("c.mkv", Clip(frames, 24.0))
    asked = ["--control", "c.mkv", "--control-kind", "edges", "--control-strength", "0.5,2", "--control-frames", "1:"]
    model = ["--model", str(folders("vace")[1]), "--size", "48x32", "--frames", "5", "--steps", "3", "--guidance", "1"]
    model += ["--seed", "3", "--device", "cpu"]

    def run(*argv: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*argv])
        assert result.exit_code == status, f"{result.stderr}{result.exception!r}"
        return result.stderr

    def film(path: str) -> np.ndarray:
        return media.read_clip(path).frames_FYXC

    run("generate", "a cat", *asked, *model, "-o", "a.mkv")
    recipe = json.loads(media.read_recipe("a.mkv") or "")
    assert dict(recipe["inputs"])["c.mkv"] == digest_of("c.mkv")
    assert recipe["request"]["control_kind"] == "edges" and recipe["request"]["control_strength"] == "0.5,2"
    run("remake", "a.mkv", "-o", "b.mkv")
    Path("films.txt").write_text(f"a cat {' '.join(asked)} {' '.join(model)}")
    run("generate", "-f", "films.txt", "-o", "films/")
    (line,) = Path("films").glob("*.mp4")
    assert json.loads(media.read_recipe(line) or "")["request"] == recipe["request"]
    run("generate", "a cat", *asked, *model, "-o", "stopped.mkv", "--stop-after", "1")
    run("resume")
    in_memory = sora.generate(
        "a cat", control=Clip(frames, 24.0), control_kind="edges", control_strength=(0.5, 2), control_frames=(1, None),
        model=folders("vace")[1], size=(48, 32), frames=5, steps=3, guidance=1, seed=3, device="cpu",
    )  # fmt: skip
    for other in (film("b.mkv"), film("stopped.mkv"), in_memory.frames):
        assert np.array_equal(film("a.mkv"), other)
    run("generate", "a cat", *asked[:-2], *model, "-o", "other.mkv")
    assert not np.array_equal(film("a.mkv"), film("other.mkv"))
    run("generate", "a cat", *asked, *model, "-o", "again.mkv", "--stop-after", "1")
    media.write_clip("c.mkv", Clip(frames[::-1].copy(), 24.0), force=True)
    assert "was made from c.mkv, which has changed since" in run("remake", "a.mkv", "-o", "d.mkv", status=3)
    assert "c.mkv" in run("resume", status=3) and not Path("d.mkv").exists() and not Path("again.mkv").exists()
