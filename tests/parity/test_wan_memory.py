"""Open weights in little memory: every exact plan paints the same film, and running out of memory costs time alone."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result
from wan_folders import pipeline

from sora import catalog, media, models
from sora import memory as placement
from sora.cli import app
from sora.engine import engine
from sora.networks.wan.vae import WanVAE
from sora.plan import operations
from sora.weights import lora_file

KINDS = ("t2v-a14b", "i2v", "vace")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {kind: tmp_path_factory.mktemp("models") / kind for kind in KINDS}
    for kind, folder in found.items():
        pipeline(kind).save_pretrained(folder)
    return found


def painted(folder: Path, out: Path, *more: str) -> Result:
    argv = ["generate", "a red cat walks", "--model", str(folder), "--seed", "7", "--steps", "4", "--size", "96x64"]
    return CliRunner().invoke(app, [*argv, "--frames", "9", "--device", "cpu", "-o", str(out), *more])


class Films:
    """Films of the checkpoints, each of which is painted once."""

    def __init__(self, folders: dict[str, Path], place: Path) -> None:
        self.folders, self.lora = folders, _write_lora(place / "lora.safetensors")
        self.frames_of = cache(partial(self._frames_of, place))

    def _frames_of(self, place: Path, kind: str, plan: str, *more: str) -> np.ndarray:
        """(F, Y, X, 3), from 0 to 255."""
        path = place / f"{kind}-{plan}-{len(more)}.mkv"
        result = painted(self.folders[kind], path, "--memory", plan, *more)
        assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
        assert "memory: " in result.stderr
        return media.read_clip(path).frames_FYXC.astype(int)


@pytest.fixture(scope="module")
def films(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films(folders, tmp_path_factory.mktemp("films"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plan", [plan.name for plan in placement.PLANS_BY_SPEED[1:] if plan.is_exact])
def test_every_exact_plan_paints_the_same(films: Films, kind: str, plan: str) -> None:
    apart = np.abs(films.frames_of(kind, "resident") - films.frames_of(kind, plan))
    assert apart.max() <= (1 if "tiled" in plan else 0)


def test_weights_in_float8_paint_nearly_the_same(films: Films) -> None:
    assert 0 < np.abs(films.frames_of("vace", "resident") - films.frames_of("vace", "fp8")).mean() < 8


def _write_lora(file: Path) -> Path:
    draw = torch.Generator().manual_seed(0)
    names = [f"blocks.{i}.attn1.to_{part}" for i in range(2) for part in "qkv"]
    pairs = {f"{name}.lora_A.weight": torch.randn(4, 24, generator=draw) for name in names}
    pairs |= {f"{name}.lora_B.weight": torch.randn(24, 4, generator=draw) for name in names}
    lora_file.write(file, pairs, {})
    return file


@pytest.mark.parametrize("plan", ["streamed", "one-expert", "fp8"])
def test_a_lora_counts_under_every_plan(films: Films, plan: str) -> None:
    plain, resident, planned = (
        films.frames_of("t2v-a14b", name, *more)
        for name, more in (
            ("resident", ()),
            ("resident", ("--lora", str(films.lora))),
            (plan, ("--lora", str(films.lora))),
        )
    )
    assert np.abs(plain - resident).mean() > 8
    assert np.abs(planned - resident).mean() <= (8 if plan == "fp8" else 0)


def test_of_two_experts_a_lora_is_for_the_one_its_name_tells(folders: dict[str, Path], tmp_path: Path) -> None:
    pair = {
        "blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 24),
        "blocks.0.attn1.to_q.lora_B.weight": torch.ones(24, 2),
    }
    model: Any = models.load(catalog.find(str(folders["t2v-a14b"])), torch.device("cpu"), torch.float32)
    weight = lambda number: model.components.expert(number).blocks[0].attn1.to_q.weight.clone()  # noqa: E731
    before = [weight(0), weight(1)]
    for called, moved in (("a_high_noise", [2, 0]), ("style-low", [0, 2]), ("highway", [2, 2])):
        model.add_lora(pair, 1.0, f"{tmp_path}/{called}.safetensors")
        after = [weight(0), weight(1)]
        assert [round(float((a - b).mean())) for a, b in zip(after, before, strict=True)] == moved
        before = after


def test_an_unknown_plan_is_refused_before_anything_is_painted(folders: dict[str, Path], tmp_path: Path) -> None:
    result = painted(folders["vace"], tmp_path / "a.mkv", "--memory", "tiny")
    assert result.exit_code == 2 and "resident" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_embedded_model_has_no_plans(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["generate", "a red car", "--memory", "resident", "-o", str(tmp_path / "a.mkv")])
    assert result.exit_code == 2 and "mini is small" in result.stderr


def test_a_file_with_both_experts_parts_is_two_loras(folders: dict[str, Path], tmp_path: Path) -> None:
    draw, both, films = torch.Generator().manual_seed(0), {}, {}
    for component, name in (("transformer.", "high"), ("transformer_2.", "low")):
        module = "blocks.0.attn1.to_q"
        pair = {
            f"{module}.lora_{x}.weight": torch.randn(*s, generator=draw) for x, s in (("A", (4, 24)), ("B", (24, 4)))
        }
        lora_file.write(tmp_path / f"{name}.safetensors", pair, {})
        both |= {f"{component}{key}": tensor for key, tensor in pair.items()}
    # Half of rank 4, as the metadata of each component says.
    alphas = {
        f"{component}.{key}": n
        for component in ("transformer", "transformer_2")
        for key, n in (("r", 4), ("lora_alpha", 2))
    }
    save_file(both, tmp_path / "both.safetensors", {"lora_adapter_metadata": json.dumps(alphas)})
    loras = {"plain": [], "one": ["both.safetensors"], "two": ["high.safetensors:0.5", "low.safetensors:0.5"]}
    for name, files in loras.items():
        flags = [word for file in files for word in ("--lora", str(tmp_path / file))]
        result = painted(folders["t2v-a14b"], tmp_path / f"{name}.mkv", *flags)
        assert result.exit_code == 0 and "left out" not in result.stderr, f"{result.stderr}{result.exception!r}"
        films[name] = media.read_clip(tmp_path / f"{name}.mkv").frames_FYXC.astype(int)
    assert np.array_equal(films["one"], films["two"]) and np.abs(films["plain"] - films["one"]).mean() > 1
    result = painted(folders["vace"], tmp_path / "a.mkv", "--lora", str(tmp_path / "both.safetensors"))
    assert result.exit_code == 0 and "holds a second expert's part" in result.stderr


def frames(model: Any) -> torch.Tensor:
    form = model.spec.format((64, 96), 16.0)
    plan = operations.generate(("a red cat",), frames=13, format=form)
    settings = engine.Settings.from_spec(model.spec, 1, steps=3, guidance=1.0, shift=3.0, sampler="unipc")
    return torch.cat(list(engine.paint(model, plan, settings)))


@pytest.mark.parametrize("fails", [1, 3])
def test_running_out_while_decoding_goes_on_with_the_next_plan(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    spec = catalog.find(str(folders["vace"]))
    whole = frames(models.load(spec, torch.device("cpu"), torch.float32))
    real, calls = WanVAE._decode_chunk, 0

    def failing(self: WanVAE, *args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == fails:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *args)

    monkeypatch.setattr(WanVAE, "_decode_chunk", failing)
    model: Any = models.load(spec, torch.device("cpu"), torch.float32)
    model.plan_memory((13, 64, 96), encodes=False, forced="resident")
    again = frames(model)
    assert calls > fails and model.components.plan.name != "resident"
    assert (whole.int() - again.int()).abs().max() <= 1


def test_a_dry_run_tells_and_paints_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    result = painted(folders["vace"], tmp_path / "a.mkv", "--dry-run")
    assert result.exit_code == 0 and not list(tmp_path.iterdir())
    told = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert told["tokens"].strip() == str(3 * 4 * 6)
    assert "GB" in told["memory"] and told["to fetch"].strip() == "nothing"


@pytest.mark.parametrize("row", [name for name, row in catalog.MODELS.items() if row.repo])
def test_a_dry_run_of_weights_that_are_not_here(tmp_path: Path, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    result = CliRunner().invoke(app, ["generate", "a cat", "--model", row, "--dry-run", "--device", "cpu"])
    assert result.exit_code == 0, result.stderr
    assert "to fetch" in result.stdout and " GB" in result.stdout
