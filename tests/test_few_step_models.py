"""Few-step weights, from the hub to a clip and its recipe: a row of the catalog, and transformers of a person's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result

from conftest import Serve
from real_files_parts import tiny_wan
from sora import catalog, media
from sora.cli import app
from sora.errors import ModelError

COMMIT = "c0ffee" * 6 + "c0ff"
ROW = "fastwan2.1-1.3b"
LIGHTX2V = "wan2.1_t2v_14b_lightx2v_4step.safetensors"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*argv): a command that succeeds, with caches of its own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "own"))

    def ran(*argv: object) -> Result:
        result = CliRunner().invoke(app, [*map(str, argv)])
        assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
        return result

    return ran


@pytest.fixture
def fetched(run: Run, serve: Serve, tmp_path: Path) -> None:
    """The row's folder is here: a tiny one, whose transformer has the projections of sparse attention."""
    place = tiny_wan.folder(tmp_path / "published")
    tiny_wan.set_index(place, _class_name="WanDMDPipeline")
    file = place / "transformer/diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    width = len(tensors["blocks.0.attn1.to_q.bias"])
    gate = {f"blocks.0.to_gate_compress.{k}": np.ones(s) for k, s in (("weight", (width, width)), ("bias", width))}
    save_file(tensors | {name: value.astype(np.float32) for name, value in gate.items()}, file)
    files = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    serve(catalog.MODELS[ROW].repo, COMMIT, files)
    run("models", "pull", ROW)


def paint(run: Run, out: Path, *more: object) -> tuple[np.ndarray, str]:
    """A film's frames, and what was said about it."""
    result = run("generate", "a red cat", "--size", "64x64", "--frames", "5", "--seed", "3", "-o", out, *more)
    return media.read_clip(out).frames_FYXC.astype(int), result.stderr


def recipe(run: Run, path: Path) -> dict[str, object]:
    return json.loads(run("info", path, "--json").stdout)["recipe"]["request"]


def test_a_row_is_fetched_painted_and_painted_again(run: Run, fetched: None, tmp_path: Path) -> None:
    dry = run("generate", "a red cat", "--model", ROW, "--dry-run").stdout
    assert "3 steps" in dry, dry
    frames, _ = paint(run, tmp_path / "a.mkv", "--model", ROW)
    made = recipe(run, tmp_path / "a.mkv")
    assert (made["steps"], made["sampler"], made["shift"], made["guidance"]) == (3, "lcm", 8.0, 1.0)
    run("remake", tmp_path / "a.mkv", "-o", tmp_path / "b.mkv")
    assert np.array_equal(frames, media.read_clip(tmp_path / "b.mkv").frames_FYXC)
    assert "3 steps, guidance 1" in run("models", "show", ROW).stdout
    assert ROW in run("models").stdout


def test_a_transformer_of_ones_own_is_completed_from_a_row(run: Run, fetched: None, tmp_path: Path) -> None:
    tiny_wan.transformer_file(tmp_path / LIGHTX2V)
    frames, said = paint(run, tmp_path / "a.mkv", "--model", tmp_path / LIGHTX2V)
    assert "few-step weights: 4 steps, shift 5, sampler euler and guidance 1 unless" in " ".join(said.split())
    made = recipe(run, tmp_path / "a.mkv")
    assert (made["steps"], made["sampler"], made["shift"], made["guidance"]) == (4, "euler", 5.0, 1.0)
    run("remake", tmp_path / "a.mkv", "-o", tmp_path / "b.mkv")
    assert np.array_equal(frames, media.read_clip(tmp_path / "b.mkv").frames_FYXC)


def test_a_lora_brings_its_makers_schedule(run: Run, fetched: None, tmp_path: Path) -> None:
    name = "diffusion_model.blocks.0.self_attn.q.lora_{}.weight"
    pair = {name.format(k): np.full(s, 0.05, np.float32) for k, s in (("A", (2, 128)), ("B", (128, 2)))}
    save_file(pair, tmp_path / "wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors")
    tiny_wan.transformer_file(tmp_path / "plain.safetensors")
    lora = tmp_path / "wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors"
    _, said = paint(run, tmp_path / "a.mkv", "--model", tmp_path / "plain.safetensors", "--lora", lora)
    assert "4 steps, shift 5, sampler euler and guidance 1 unless you say others" in " ".join(said.split())
    made = recipe(run, tmp_path / "a.mkv")
    assert (made["steps"], made["sampler"], made["shift"]) == (4, "euler", 5.0)


def test_a_transformer_with_a_second_timestep_is_refused_at_once(tmp_path: Path) -> None:
    state = tiny_wan.state("transformer", tiny_wan.TRANSFORMERS["t2v"], 0)
    more = {"condition_embedder.delta_embedder.linear_1.bias": np.zeros(2, np.float32)}
    save_file(state | more, tmp_path / "anyflow.safetensors")
    with pytest.raises(ModelError, match=r"cannot drive: it holds condition_embedder\.delta_embedder\.linear_1\.bias"):
        catalog.find(str(tmp_path / "anyflow.safetensors"))
