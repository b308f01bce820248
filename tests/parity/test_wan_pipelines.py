"""Whole runs against diffusers' Wan pipelines, from prompt and picture to frames: same folder, same seed, same clip."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.pipelines.wan.pipeline_wan_video2video import WanVideoToVideoPipeline
from PIL import Image
from typer.testing import CliRunner
from wan_folders import PIPELINES, pipeline

from sora import catalog, media, models
from sora.cli import app
from sora.engine import engine
from sora.engine.engine import Settings
from sora.engine.timeline import Timeline
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.plan import Plan

HEIGHT, WIDTH, FRAMES, STEPS = 64, 96, 9, 5
PROMPT, NEGATIVE = "A red cat &amp; a boat,  walks over the sea", "dim, blue"
CLOSE = 1e-3  # of frames in [0, 1]
Close = Callable[[np.ndarray, np.ndarray], None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """folders(kind): the pipeline of that kind, and where diffusers has saved it."""

    @cache
    def made(kind: str) -> tuple[Any, Path]:
        folder = tmp_path_factory.mktemp("models") / kind
        ready = pipeline(kind)
        ready.save_pretrained(folder)
        return ready, folder

    return made


def picture(seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(draw).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def theirs(ready: Any, **more: Any) -> np.ndarray:
    said: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "height": HEIGHT, "width": WIDTH}
    said |= {"num_frames": FRAMES, "num_inference_steps": STEPS, "guidance_scale": 3.0, **more}
    return ready(**said, generator=torch.Generator().manual_seed(7)).frames[0]


def ours(folder: Path, plan: Any, **more: Any) -> np.ndarray:
    """Frames in [0, 1] of the plan's only window, unrounded. plan: of a format."""
    spec = catalog.find(str(folder))
    model = models.load(spec, torch.device("cpu"), torch.float32)
    made: Plan = plan(spec.format((HEIGHT, WIDTH), 16.0))
    (window,) = made.windows
    settings = Settings.from_spec(spec, 7, steps=STEPS, negative_prompt=NEGATIVE, **{"guidance": 3.0, **more})
    latents = engine.paint_latents(model, Timeline(made).canvas_for(window), PROMPT, settings, source=made.source)
    frames = torch.cat(list(model.decode(latents))).permute(0, 2, 3, 1)
    return ((frames + 1) / 2).clamp(0, 1).numpy()


@pytest.fixture
def close(record_property: Callable[[str, object], None]) -> Close:
    """close(a, b): both films show something and are near. The distance is recorded for ``benchmarks/parity.py``."""

    def check(a: np.ndarray, b: np.ndarray) -> None:
        assert a.shape == b.shape
        assert b.std() > 0.05, "a flat film shows nothing"
        apart = np.abs(a - b)
        for name, value in (("largest", apart.max()), ("mean", apart.mean()), ("bound", CLOSE)):
            record_property(name, float(value))
        assert float(apart.max()) <= CLOSE

    return check


@pytest.mark.parametrize("kind", ["t2v", "ti2v", "t2v-a14b", "vace", "vace-a14b"])
def test_from_words(folders: Any, close: Close, kind: str) -> None:
    ready, folder = folders(kind)
    close(ours(folder, lambda form: operations.generate((PROMPT,), frames=FRAMES, format=form)), theirs(ready))


def test_without_guidance(folders: Any, close: Close) -> None:
    ready, folder = folders("t2v")
    plan = lambda form: operations.generate((PROMPT,), frames=FRAMES, format=form)  # noqa: E731
    close(ours(folder, plan, guidance=1.0), theirs(ready, guidance_scale=1.0))


@pytest.mark.parametrize("kind", ["i2v", "i2v-a14b"])
def test_from_a_picture(folders: Any, close: Close, kind: str) -> None:
    ready, folder = folders(kind)
    plan = lambda form: operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form)  # noqa: E731
    close(ours(folder, plan), theirs(ready, image=Image.fromarray(picture())))


def test_between_two_pictures(folders: Any, close: Close) -> None:
    ready, folder = folders("flf2v")
    plan = lambda form: operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form, last_image_YXC=picture(1))  # noqa: E731
    asked = {"image": Image.fromarray(picture()), "last_image": Image.fromarray(picture(1))}
    close(ours(folder, plan), theirs(ready, **asked))


def test_time_by_the_token_from_a_picture(folders: Any, close: Close) -> None:
    ready, folder = folders("ti2v")
    seen = WanImageToVideoPipeline(**ready.components, expand_timesteps=True)
    seen.set_progress_bar_config(disable=True)
    plan = lambda form: operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form)  # noqa: E731
    close(ours(folder, plan), theirs(seen, image=Image.fromarray(picture())))


@pytest.mark.parametrize("kind", ["vace", "vace-a14b"])
@pytest.mark.parametrize("last", [None, picture(1)], ids=["one end", "both ends"])
def test_a_control_branch_with_known_frames(folders: Any, close: Close, last: np.ndarray | None, kind: str) -> None:
    ready, folder = folders(kind)
    video, mask = np.full((FRAMES, HEIGHT, WIDTH, 3), 0.5), np.ones((FRAMES, HEIGHT, WIDTH, 3))
    video[0], mask[0] = picture() / 255, 0
    if last is not None:
        video[-1], mask[-1] = last / 255, 0
    plan = lambda form: operations.img2vid(picture(), PROMPT, frames=FRAMES, format=form, last_image_YXC=last)  # noqa: E731
    close(ours(folder, plan), theirs(ready, video=video[None], mask=mask[None]))


@pytest.mark.parametrize(("strength", "steps"), [(0.6, 5), (0.5, 5), (1.0, 5)])
def test_a_clip_painted_anew(folders: Any, close: Close, strength: float, steps: int) -> None:
    ready, folder = folders("t2v")
    parts = {name: part for name, part in ready.components.items() if name != "transformer_2"}
    again: Any = WanVideoToVideoPipeline(**parts)
    again.set_progress_bar_config(disable=True)
    clip = Clip(np.stack([picture(i) for i in range(FRAMES)]), 16.0)
    plan = lambda form: operations.edit(clip, PROMPT, strength=strength, format=form)  # noqa: E731
    said = {"video": [Image.fromarray(frame) for frame in clip.frames_FYXC], "strength": strength}
    wish = again(
        prompt=PROMPT, negative_prompt=NEGATIVE, height=HEIGHT, width=WIDTH, num_inference_steps=STEPS,
        guidance_scale=3.0, generator=torch.Generator().manual_seed(7), **said,
    ).frames[0]  # fmt: skip
    close(ours(folder, plan), wish)


@pytest.mark.parametrize("kind", ["i2v", "ti2v", "vace"])
def test_the_command_brings_a_picture_to_life_as_the_pipeline_does(folders: Any, tmp_path: Path, kind: str) -> None:
    ready, folder = folders(kind)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    argv = ["img2vid", str(tmp_path / "a.png"), PROMPT, "--model", str(folder), "--seed", "7", "--steps", "5"]
    argv += [
        "--guidance",
        "3",
        "--negative-prompt",
        NEGATIVE,
        "--size",
        "96x64",
        "--frames",
        str(FRAMES),
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(app, [*argv, "-o", str(tmp_path / "out.mkv")])
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    said: dict[str, Any] = {"image": Image.fromarray(picture())}
    if kind == "ti2v":
        ready = WanImageToVideoPipeline(**ready.components, expand_timesteps=True)
        ready.set_progress_bar_config(disable=True)
    if kind == "vace":
        video, mask = np.full((FRAMES, HEIGHT, WIDTH, 3), 0.5), np.ones((FRAMES, HEIGHT, WIDTH, 3))
        video[0], mask[0] = picture() / 255, 0
        said = {"video": video[None], "mask": mask[None]}
    wish = theirs(ready, **said)
    got = media.read_clip(tmp_path / "out.mkv").frames_FYXC
    assert np.array_equal(got[0], picture())  # what is known comes back as it was
    assert np.abs(got[1:].astype(int) - np.round(wish[1:] * 255).astype(int)).max() <= 1


@pytest.mark.parametrize(("kind", "low"), [("t2v-a14b", None), ("t2v-a14b", 1.5), ("vace-a14b", 1.5)])
def test_guidance_of_the_second_expert(folders: Any, tmp_path: Path, kind: str, low: float | None) -> None:
    ready, folder = folders(kind)
    said = [] if low is None else ["--guidance-low", str(low)]
    argv = ["generate", PROMPT, "--model", str(folder), "--seed", "7", "--steps", "6", "--guidance", "3", *said]
    argv += ["--size", "96x64", "--frames", "5", "--device", "cpu", "-o", str(tmp_path / "out.mkv")]
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    wish = theirs(ready, negative_prompt="", num_frames=5, num_inference_steps=6, guidance_scale_2=low)
    got = media.read_clip(tmp_path / "out.mkv").frames_FYXC
    assert np.abs(got.astype(int) - np.round(wish * 255).astype(int)).max() <= 1


def test_every_kind_is_known(folders: Any) -> None:
    """What a folder is, is read from its own files."""
    known = {kind: catalog.find(str(folders(kind)[1])).conditioning for kind in PIPELINES}
    assert known["vace"] == known["vace-a14b"] == "control" and known["ti2v"] == "tokens" and known["t2v"] == "renoise"
    assert known["skyreels"] == "tokens"
    assert {known[kind] for kind in ("i2v", "flf2v", "i2v-a14b")} == {"channels"}


def test_the_command_writes_the_frames_of_the_pipeline(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, folder = folders("t2v")
    monkeypatch.chdir(tmp_path)
    argv = ["generate", PROMPT, "--model", str(folder), "--seed", "7", "--steps", "6", "--guidance", "5"]
    argv += [
        "--negative-prompt",
        NEGATIVE,
        "--size",
        "96x64",
        "--frames",
        "17",
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]
    result = CliRunner().invoke(app, [*argv, "-o", "out.mkv"])
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    wish = theirs(ready, num_frames=17, num_inference_steps=6, guidance_scale=5.0)
    got = media.read_clip(tmp_path / "out.mkv")
    assert isinstance(got, Clip)
    assert np.abs(got.frames_FYXC.astype(int) - np.round(wish * 255).astype(int)).max() <= 1
