"""Films of several shots with VACE: later shots are shown a frame of the first one, as diffusers' WanVACEPipeline is
shown a reference, and go on to the same frames after they were stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_wan_pipelines import FRAMES, HEIGHT, NEGATIVE, PROMPT, STEPS, WIDTH, Close, close, folders, ours, theirs
from typer.testing import CliRunner, Result

from sora import catalog, media, models
from sora.cli import app
from sora.engine import engine
from sora.engine.engine import Settings
from sora.engine.model import Model
from sora.plan import operations
from sora.plan.plan import Plan

__all__ = ["close", "folders"]  # fixtures

SHOTS = """\
a red cat walks --frames 5
the sea at night --frames 14 --transition flow
a blue boat sails --frames 5
"""
FIRST, FLOW, SECOND, THIRD = slice(0, 5), slice(5, 13), slice(13, 19), slice(19, 24)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, and an empty state folder."""
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Path("film.txt").write_text(SHOTS, encoding="utf-8")


def painted(model: Model, plan: Plan) -> np.ndarray:
    """uint8 (F, Y, X, 3)."""
    settings = Settings.from_spec(model.spec, 7, steps=STEPS, negative_prompt=NEGATIVE, guidance=3.0)
    return torch.cat(list(engine.paint(model, plan, settings))).permute(0, 2, 3, 1).numpy()


def sharpest(frames_FYXC: np.ndarray) -> np.ndarray:
    """The frame whose Laplacian varies most."""

    def variance(frame_YXC: np.ndarray) -> float:
        y = frame_YXC.astype(float) @ [0.299, 0.587, 0.114]
        return float((y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]).var())

    return max(frames_FYXC, key=variance)


def test_a_second_shot_is_shown_the_first_ones_sharpest_frame(folders: Any, close: Close) -> None:
    ready, folder = folders("vace")
    spec = catalog.find(str(folder))
    model = models.load(spec, torch.device("cpu"), torch.float32)
    form = spec.format((HEIGHT, WIDTH), 16.0)
    film = operations.generate(("a blue boat", PROMPT), frames=2 * FRAMES, format=form)
    frames = painted(model, replace(film, subject_from_first_shot=True))
    shown = sharpest(frames[:FRAMES])

    def alone(form: Any) -> Plan:
        return replace(operations.generate((PROMPT,), frames=FRAMES, format=form), references=(shown,))

    assert np.array_equal(frames[FRAMES:], painted(model, alone(form)))
    close(ours(folder, alone), theirs(ready, reference_images=[Image.fromarray(shown)]))
    assert not np.array_equal(frames[FRAMES:], painted(model, film)[FRAMES:])


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return result


def generate(folder: Path, out: str, *more: str, shots: str = "film.txt") -> Result:
    settings = ("--steps", "2", "--guidance", "1", "--seed", "1", "--size", "64x64")
    return run("generate", "--shots", shots, "--model", str(folder), *settings, "-o", out, *more)


def frames_of(path: str | Path) -> np.ndarray:
    return media.read_clip(path).frames_FYXC


@pytest.fixture(scope="module")
def whole(folders: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film of SHOTS."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "shots.txt").write_text(SHOTS, encoding="utf-8")
    _, model = folders("vace")
    generate(model, str(folder / "whole.mkv"), "--no-journal", shots=str(folder / "shots.txt"))
    (folder / "shots.txt").unlink()  # a recipe needs no file of shots
    return folder / "whole.mkv"


def test_the_reference_reaches_every_window_after_the_first_shot(folders: Any, whole: Path) -> None:
    _, folder = folders("vace")
    generate(folder, "without.mkv", "--no-subject-reference")
    given, plain = frames_of(whole), frames_of("without.mkv")
    assert np.array_equal(given[FIRST], plain[FIRST])
    for place in (FLOW, SECOND, THIRD):
        assert all(not np.array_equal(a, b) for a, b in zip(given[place], plain[place], strict=True))
    run("remake", str(whole), "-o", "again.mkv")
    assert np.array_equal(frames_of("again.mkv"), given)


def test_a_film_that_was_stopped_goes_on_with_the_same_reference(
    folders: Any, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whose first shot only latents were kept."""
    _, folder = folders("vace")
    monkeypatch.setattr("sora.jobs.journal.FRAME_BYTES", 0)
    assert "go on with" in generate(folder, "parts.mkv", "--stop-after", "5").stderr
    generate(folder, "parts.mkv")
    assert np.array_equal(frames_of(whole), frames_of("parts.mkv"))


class Killed(BaseException):
    """As if the process were gone."""


def test_a_film_that_is_killed_in_its_third_shot_goes_on_bit_for_bit(
    folders: Any, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = folders("vace")
    monkeypatch.setenv("SORA_JOURNAL_AFTER", "0")
    windows: list[int] = []
    paint_latents = engine.paint_latents

    def dies(model: Model, canvas: Any, prompt: str, *more: Any, **options: Any) -> Any:
        windows.append(len(canvas.guides.references))
        if prompt == "a blue boat sails":
            raise Killed
        return paint_latents(model, canvas, prompt, *more, **options)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(engine, "paint_latents", dies)
        generate(folder, "killed.mkv")
    assert windows == [0, 1, 1, 1]
    job = json.loads(run("jobs", "--json").stdout)
    assert job["prompt"] == "a red cat walks"
    run("resume", job["id"])
    assert np.array_equal(frames_of(whole), frames_of("killed.mkv"))
