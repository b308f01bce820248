"""Films of references on a tiny VACE checkpoint: painted again, taken up again, streamed, in a circle, from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner, Result
from wan_folders import pipeline

import sora
from live_tensors import live_peak
from sora import catalog, media, models
from sora.cli import app
from sora.engine import sampler
from sora.engine.canvas import Canvas, Guides
from sora.jobs import job as jobs
from sora.models.wan import memory_needs

Sora = Callable[..., Result]
SMALL = ("--size", "64x64", "--seed", "1", "--steps", "2", "--guidance", "1", "--device", "cpu")
GENERATE = ("generate", "a red cat", "--frames", "9")
REFERENCES = ("--reference", "cat.png", "--reference", "boat.png")


@pytest.fixture(scope="module")
def vace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "vace"
    pipeline("vace").save_pretrained(folder)
    return folder


def blobs(seed: int, width: int = 60, height: int = 40) -> Image.Image:
    draw = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(draw).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def run(vace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sora:
    """run(*words): the command in a folder with two pictures."""
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    (tmp_path / "films").mkdir()
    monkeypatch.chdir(tmp_path / "films")
    blobs(3).save("cat.png")
    blobs(4, 40, 60).save("boat.png")

    def command(*words: str) -> Result:
        own = ("--model", str(vace)) if words[0] not in ("remake", "finish", "resume", "jobs", "info") else ()
        return CliRunner().invoke(app, [*words, *own])

    return command


def frames(path: str | Path) -> np.ndarray:
    return media.read_clip(path).frames_FYXC


def done(result: Result) -> None:
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"


def test_no_film_pads_five_axes(run: Sora, monkeypatch: pytest.MonkeyPatch) -> None:
    """MPS computes that wrong."""
    real, tensors = F.pad, list[int]()

    def pad(x: torch.Tensor, by: tuple[int, ...], *more: Any, **options: Any) -> torch.Tensor:
        tensors.append(x.ndim)
        assert x.ndim < 5 or len(by) < 5
        return real(x, by, *more, **options)

    monkeypatch.setattr(F, "pad", pad)
    done(run(*GENERATE, *REFERENCES, *SMALL, "-o", "a.mkv"))
    assert tensors


def test_a_film_is_painted_again_from_its_recipe(run: Sora, tmp_path: Path) -> None:
    done(run(*GENERATE, *REFERENCES, *SMALL, "-o", "a.mkv"))
    recipe = json.loads(media.read_recipe("a.mkv") or "")
    assert recipe["request"]["references"] == ["cat.png", "boat.png"]
    assert {name for name, _ in recipe["inputs"]} == {"cat.png", "boat.png", "vace"}
    done(run("remake", "a.mkv", "-o", "b.mkv"))
    assert np.array_equal(frames("a.mkv"), frames("b.mkv"))
    done(run("remake", "a.mkv", "--reference", "boat.png", "-o", "c.mkv"))
    assert np.abs(frames("a.mkv").astype(int) - frames("c.mkv")).mean() > 1
    assert "cat.png" in run("info", "a.mkv").stdout
    cat = Path("cat.png").read_bytes()
    blobs(5).save("cat.png")
    other = run("remake", "a.mkv", "-o", "e.mkv")
    assert other.exit_code == 3 and "changed since" in other.stderr and not Path("e.mkv").exists()
    Path("cat.png").write_bytes(cat)
    (tmp_path / "away").mkdir()
    for name in ("cat.png", "boat.png"):
        Path(name).rename(tmp_path / "away" / name)
    gone = run("remake", "a.mkv", "-o", "d.mkv")
    assert gone.exit_code == 3 and "cat.png" in gone.stderr and "--inputs" in gone.stderr
    done(run("remake", "a.mkv", "--inputs", str(tmp_path / "away"), "-o", "d.mkv"))
    assert np.array_equal(frames("a.mkv"), frames("d.mkv"))


def test_a_draft_is_finished_with_its_references(run: Sora) -> None:
    done(run(*GENERATE, *REFERENCES, *SMALL, "--draft", "-o", "draft.mkv"))
    done(run("finish", "draft.mkv", "--steps", "2", "-o", "film.mkv"))
    assert json.loads(media.read_recipe("film.mkv") or "")["request"]["references"] == ["cat.png", "boat.png"]


def test_a_paused_film_goes_on_and_shows_what_it_will_be(run: Sora) -> None:
    command = (*GENERATE, *REFERENCES, *SMALL, "--steps", "4")
    done(run(*command, "-o", "whole.mkv"))
    done(run(*command, "-o", "a.mkv", "--stop-after", "2"))
    done(run("jobs", "show", "--preview", "-o", "preview.mkv"))
    assert frames("preview.mkv").shape == frames("whole.mkv").shape
    cat = Path("cat.png").read_bytes()
    blobs(5).save("cat.png")
    changed = run("resume")
    assert changed.exit_code == 3 and "has changed since" in changed.stderr
    Path("cat.png").write_bytes(cat)
    done(run("resume"))
    assert np.array_equal(frames("a.mkv"), frames("whole.mkv"))
    (job,) = jobs.every()
    assert {Path(path).name for path, _ in job.record.inputs} >= {"cat.png", "boat.png"}


def test_every_memory_plan_paints_the_same(run: Sora) -> None:
    command = (*GENERATE, *REFERENCES, *SMALL, "--guidance", "3")
    done(run(*command, "-o", "whole.mkv"))
    for plan in ("one-prompt", "streamed-tiled"):
        done(run(*command, "--memory", plan, "-o", f"{plan}.mkv"))
        assert np.abs(frames("whole.mkv").astype(int) - frames(f"{plan}.mkv")).max() <= 1


def test_the_fast_way_stays_near(run: Sora) -> None:
    command = (*GENERATE, *REFERENCES, *SMALL, "--steps", "12", "--guidance", "3")
    done(run(*command, "-o", "exact.mkv"))
    done(run(*command, "--speed", "fast", "-o", "fast.mkv"))
    exact, fast = (frames(f"{name}.mkv").astype(int) for name in ("exact", "fast"))
    assert 0 < np.abs(exact - fast).mean() < 0.5 * np.abs(exact - exact.mean()).mean()


def test_a_reference_takes_the_memory_of_a_latent_of_the_film(vace: Path) -> None:
    """Live tensors of sampling, and their estimate."""
    spec = catalog.find(str(vace))
    model: Any = models.load(spec, torch.device("cpu"), torch.float32)

    def sizes(frames: int, references: int) -> tuple[int, int]:
        pictures = tuple(torch.zeros(3, 40, 60, dtype=torch.uint8) for _ in range(references))
        canvas = replace(Canvas.blank(frames, 64, 64, 16.0), guides=Guides(pictures))
        with torch.inference_mode():
            latents = model.encode(canvas)
            velocity = model.bind(canvas, latents, "a red cat", "", 3.0)
            noise = torch.zeros_like(latents.clean_BCTHW)
            euler = sampler.SAMPLERS["euler"]
            taken = live_peak(
                lambda: sampler.sample(velocity, latents, noise, torch.tensor([1, 0.5, 0]), sampler=euler)
            )
        needs = memory_needs(spec, (frames, 64, 64), model.device, torch.float32, encodes=False, references=references)
        estimate = needs.sampling_bytes(sequential_guidance=False, quantized=False, caches_text=False)
        return taken, estimate

    sizes(9, 0)  # what is computed once is there from now on
    (plain, plain_estimate), with_two, longer = sizes(9, 0), sizes(9, 2), sizes(17, 0)
    assert with_two == longer
    assert with_two[0] > plain and with_two[1] > plain_estimate


def test_a_circle_of_time_has_references(run: Sora) -> None:
    loop = ("loop", "--prompt", "the sea", "--frames", "8", *SMALL)
    done(run(*loop, "-o", "plain.mkv"))
    done(run(*loop, *REFERENCES, "-o", "shown.mkv"))
    assert frames("shown.mkv").shape == (8, 64, 64, 3)
    assert np.abs(frames("plain.mkv").astype(int) - frames("shown.mkv")).mean() > 1


def test_every_window_is_shown_them(run: Sora) -> None:
    """Of a film of two shots, which share no frame."""
    shots = (*GENERATE, "--then", "a boat", "--frames", "10", *SMALL)
    done(run(*shots, "-o", "plain.mkv"))
    done(run(*shots, *REFERENCES, "-o", "shown.mkv"))
    apart = np.abs(frames("plain.mkv").astype(int) - frames("shown.mkv"))
    assert apart[:5].mean() > 1 and apart[5:].mean() > 1


def test_pictures_in_memory_are_references(run: Sora, vace: Path) -> None:
    done(run(*GENERATE, *REFERENCES, *SMALL, "-o", "a.mkv"))
    options = {"model": vace, "frames": 9, "size": (64, 64), "seed": 1, "steps": 2, "guidance": 1.0, "device": "cpu"}
    boat = blobs(4, 40, 60)
    given = [["cat.png", "boat.png"], [Path("cat.png"), boat], (blobs(3), np.asarray(boat))]
    videos = [sora.generate("a red cat", references=each, **options) for each in given]
    assert all(np.array_equal(video.frames, frames("a.mkv")) for video in videos)
    assert np.array_equal(sora.remake(videos[-1]).frames, frames("a.mkv"))
    alone = sora.generate("a red cat", references=np.asarray(boat), **options)
    assert len(alone.request.references) == 1
    with pytest.raises(sora.InputError, match="clip of 9 frames"):
        sora.generate("a red cat", references=alone, **options)
