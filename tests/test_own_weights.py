"""Weights that a person brings: folders without a part, two experts as two files, and what stands in a file's place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from real_files_parts import tiny_wan
from sora import catalog, media
from sora.catalog import wan_experts
from sora.cli import app
from sora.errors import ModelError

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder of each kind."""
    place = tmp_path_factory.mktemp("models")
    for kind in tiny_wan.TRANSFORMERS:
        tiny_wan.folder(place / kind, kind)
    return place


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    """copied(kind): a whole folder to take something away from."""
    return lambda kind: Path(shutil.copytree(models / kind, tmp_path / "own"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*argv): a command, with no model in the hub's cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return lambda *argv: CliRunner().invoke(app, [*map(str, argv)])


def generate(run: Run, model: str | Path, out: Path, *more: str) -> Result:
    settings = ["--seed", "7", "--steps", "4", "--size", "64x64", "--frames", "5", "--guidance", "2", "--shift", "3"]
    return run("generate", "a red cat", "--model", model, *settings, "-o", out, *more)


def film(run: Run, model: str | Path, out: Path) -> np.ndarray:
    result = generate(run, model, out)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return media.read_clip(out).frames_FYXC.astype(int)


def refused(result: Result, *words: str) -> None:
    """One line that says all these words, and exit status 4."""
    flat = " ".join(result.stderr.split())
    assert result.exit_code == 4 and "Traceback" not in flat, f"{result.exit_code}: {flat}{result.exception!r}"
    assert not [word for word in words if word not in flat], flat


# --- a missing part ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "gone"),
    [
        ("t2v-a14b", "transformer_2"),
        ("t2v-a14b", "transformer"),
        ("i2v", "image_encoder"),
        ("i2v", "image_processor"),
        *(("t2v", name) for name in ("tokenizer", "text_encoder", "vae", "scheduler", "transformer/config.json")),
        ("t2v", "tokenizer/tokenizer.json"),
        ("t2v", "model_index.json"),
        ("t2v", "text_encoder/config.json"),
        ("i2v-a14b", "transformer_2/diffusion_pytorch_model.safetensors"),
    ],
)
def test_a_missing_part_is_named_before_anything_is_loaded(
    copied: Callable[[str], Path], run: Run, tmp_path: Path, kind: str, gone: str
):
    folder = copied(kind)
    shutil.rmtree(folder / gone) if (folder / gone).is_dir() else (folder / gone).unlink()
    named = gone if "safetensors" not in gone else gone.split("/")[0] + "/*.safetensors"
    out = tmp_path / "a.mkv"
    refused(generate(run, folder, out), f"{folder} lacks {named}; put it back")
    refused(generate(run, folder, out, "--dry-run"), f"lacks {named};")
    refused(run("models", "show", folder), f"lacks {named};")
    verified = run("models", "verify", folder)
    assert verified.exit_code == 4 and named in verified.output, verified.output
    assert not out.exists()


def test_every_missing_part_is_named_at_once(copied: Callable[[str], Path], run: Run, tmp_path: Path):
    folder = copied("t2v-a14b")
    for name in ("vae", "tokenizer", "transformer_2"):
        shutil.rmtree(folder / name)
    refused(generate(run, folder, tmp_path / "a.mkv"), "lacks vae, tokenizer, transformer_2; put them back")


def test_a_part_in_pickles_alone_is_refused_as_such(copied: Callable[[str], Path], run: Run, tmp_path: Path):
    folder = copied("t2v")
    (folder / "text_encoder/model.safetensors").rename(folder / "text_encoder/pytorch_model.bin")
    refused(generate(run, folder, tmp_path / "a.mkv"), "text_encoder/pytorch_model.bin is a pickle")


def test_a_transformer_with_more_than_those_of_the_rows_is_refused_at_once(tmp_path: Path):
    state = tiny_wan.original(tiny_wan.state("transformer", tiny_wan.TRANSFORMERS["i2v"], 0))
    more = state | {"motion_encoder.enc.weight": np.zeros((2, 2), np.float32)}
    save_file(more, tmp_path / "wan2.2_animate_14B.safetensors")
    with pytest.raises(ModelError, match=r"cannot drive: it holds motion_encoder\.enc\.weight"):
        catalog.find(str(tmp_path / "wan2.2_animate_14B.safetensors"))


def test_what_is_null_in_the_index_is_no_missing_part(copied: Callable[[str], Path], run: Run, tmp_path: Path):
    folder = copied("i2v-a14b")
    assert json.loads((folder / "model_index.json").read_text())["image_encoder"] == [None, None]
    assert generate(run, folder, tmp_path / "a.mkv", "--dry-run").exit_code == 0


def test_parts_that_the_index_forgets_are_missed_all_the_same(copied: Callable[[str], Path], run: Run, tmp_path: Path):
    """A transformer that looks at pictures needs the encoder, and a boundary the second transformer."""
    folder = copied("i2v")
    tiny_wan.set_index(folder, image_encoder=[None, None], vae=None)
    assert generate(run, folder, tmp_path / "a.mkv", "--dry-run").exit_code == 0, "the folders are there"
    shutil.rmtree(folder / "image_encoder")
    refused(generate(run, folder, tmp_path / "a.mkv"), "lacks image_encoder")
    tiny_wan.set_index(folder, boundary_ratio=0.9)
    refused(generate(run, folder, tmp_path / "a.mkv"), "lacks image_encoder, transformer_2")


@pytest.mark.parametrize("ratio", [None, "0.875", 7, True])
def test_two_experts_need_a_boundary(copied: Callable[[str], Path], run: Run, tmp_path: Path, ratio: object):
    folder = copied("t2v-a14b")
    tiny_wan.set_index(folder, boundary_ratio=ratio)
    refused(generate(run, folder, tmp_path / "a.mkv"), "boundary_ratio", "0.875 as in wan2.2-t2v-a14b")


def test_extra_parts_change_nothing(models: Path, copied: Callable[[str], Path], run: Run, tmp_path: Path):
    folder = copied("t2v")
    shutil.copytree(models / "i2v/image_encoder", folder / "image_encoder")
    shutil.copytree(models / "t2v-a14b/transformer_2", folder / "transformer_2")
    (folder / "transformer/other.safetensors").write_bytes(b"")
    whole = film(run, models / "t2v", tmp_path / "whole.mkv")
    assert np.array_equal(film(run, folder, tmp_path / "more.mkv"), whole)


def test_missing_shards_are_named(copied: Callable[[str], Path], run: Run, tmp_path: Path):
    folder = copied("t2v")
    names = [f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    whole = folder / "transformer/diffusion_pytorch_model.safetensors"
    index = {"weight_map": {f"tensor.{i}": name for i, name in enumerate(names)}}
    (folder / "transformer/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    whole.rename(whole.with_name(names[1]))
    lacking = f"lacks transformer/{names[0]}, transformer/{names[2]}; put them back"
    refused(generate(run, folder, tmp_path / "a.mkv"), lacking)
    refused(run("models", "show", folder), lacking)


# --- what stands in a file's place -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "git-lfs pointer); run `git lfs pull` in its folder, or `sora models pull`"),
        (b"", "it is empty, as a failed download leaves it"),
        (b"<!DOCTYPE html>\n<html>", "it is a web page"),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        *("transformer/diffusion_pytorch_model.safetensors", "vae/config.json", "tokenizer/tokenizer.json"),
        *("model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json"),
    ],
)
def test_what_stands_in_a_files_place_is_named(
    copied: Callable[[str], Path], run: Run, tmp_path: Path, name: str, content: bytes, words: str
):
    folder = copied("t2v")
    (folder / name).write_bytes(content)
    refused(generate(run, folder, tmp_path / "a.mkv", "--dry-run"), str(folder / name), words)


def test_a_servers_refusal_in_place_of_weights(run: Run, tmp_path: Path):
    for name in ("a.safetensors", "a.gguf"):
        (tmp_path / name).write_bytes(b"Invalid username or password.")
        refused(run("models", "show", tmp_path / name), "it is a text, 'Invalid username or password.'")


# --- two experts as two files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "high"),
        ("wan2.2_i2v_low_noise_14B_Q4_K_M.gguf", "low"),
        ("Wan2.2-T2V-A14B-HighNoise-Q4_K_M.gguf", "high"),
        ("Wan2.2-I2V-A14B-LowNoise-Q8_0.gguf", "low"),
        ("Wan2_2-T2V-A14B_HIGH_fp8_e4m3fn_scaled_KJ.safetensors", "high"),
        ("Wan2_2-T2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors", "low"),
        ("high_noise_model", "high"),
        ("wan22LowNoise.gguf", "low"),
        ("wan2.1_t2v_14B_low_vram.gguf", None),
        ("wan2.2_high_low_merge.safetensors", None),
        ("highway-flow.gguf", None),
        ("wan2.1_t2v_14B_high_quality.gguf", None),
    ],
)
def test_which_expert_a_file_is(name: str, expert: str | None):
    assert wan_experts.expert_of(name) == expert


@pytest.fixture
def experts(models: Path, tmp_path: Path, run: Run) -> Path:
    """A folder with an A14B's experts as two files, and the other parts of its kind in the hub's cache."""
    row = catalog.MODELS["wan2.1-vace-1.3b"]
    snapshot = tmp_path / f"cache/models--{row.repo.replace('/', '--')}/snapshots/{row.revision}"
    shutil.copytree(models / "t2v-a14b", snapshot, ignore=shutil.ignore_patterns("transformer*"))
    for number, expert in enumerate(("transformer", "transformer_2")):
        noise = ("high", "low")[number]
        source = models / "t2v-a14b" / expert / "diffusion_pytorch_model.safetensors"
        (tmp_path / "pair").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "pair" / f"wan2.2_t2v_{noise}_noise_14B.safetensors")
    return tmp_path / "pair"


def test_two_files_paint_what_their_folder_paints(models: Path, experts: Path, run: Run, tmp_path: Path):
    high, low = sorted(experts.iterdir())
    whole = film(run, models / "t2v-a14b", tmp_path / "whole.mkv")
    assert np.array_equal(film(run, f"{low},{high}", tmp_path / "pair.mkv"), whole)
    for named in (f"{high},{low}", f"{low},{high}", experts):
        assert catalog.find(str(named)).own_paths == (high, low)
    one = film(run, f"{high},{high}", tmp_path / "one.mkv")
    assert np.abs(one - whole).max() > 1, "what the second expert paints is to be seen"
    result = run("remake", tmp_path / "pair.mkv", "-o", tmp_path / "again.mkv", "--inputs", experts)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(media.read_clip(tmp_path / "again.mkv").frames_FYXC, whole)


def test_two_files_in_quantstacks_folders(experts: Path, tmp_path: Path):
    for noise in ("High", "Low"):
        file = next(experts.glob(f"*{noise.lower()}*"))
        (tmp_path / f"repo/{noise}Noise").mkdir(parents=True)
        file.rename(tmp_path / f"repo/{noise}Noise/Q4_0.safetensors")
    spec = catalog.find(str(tmp_path / "repo"))
    assert [path.parent.name for path in spec.own_paths] == ["HighNoise", "LowNoise"]
    assert (spec.base_model, spec.boundary) == ("wan2.2-t2v-a14b", 0.875)
    with pytest.raises(ModelError, match=r"the low-noise expert of Wan 2\.2, which paints with two; name both"):
        catalog.find(str(tmp_path / "repo/LowNoise/Q4_0.safetensors"))


def test_files_without_such_words_are_taken_in_their_order(experts: Path, tmp_path: Path):
    high, low = sorted(experts.iterdir())
    first, second = high.rename(tmp_path / "my,a.safetensors"), low.rename(tmp_path / "b.safetensors")
    assert catalog.find(f"{first},{second}").own_paths == (first, second)
    assert catalog.find(f"{second}, {first}").own_paths == (second, first)


def test_one_expert_alone_is_refused(models: Path, experts: Path, run: Run, tmp_path: Path):
    high, low = sorted(experts.iterdir())
    advice = "which paints with two; name both, as --model HIGH,LOW, or a folder that holds both"
    refused(generate(run, high, tmp_path / "a.mkv"), "is the high-noise expert of Wan 2.2", advice)
    for expert in ("transformer", "transformer_2"):
        refused(generate(run, models / "t2v-a14b" / expert, tmp_path / "a.mkv"), "is one expert", advice)
    low.unlink()
    refused(generate(run, experts, tmp_path / "a.mkv"), "the high-noise expert", advice)
    refused(generate(run, f"{high},{low}", tmp_path / "a.mkv"), f"nothing at '{low}'; expected two files")
    refused(generate(run, f"{high},{shutil.copy(high, tmp_path)}", tmp_path / "a.mkv"), "both high-noise experts")
    seeing = shutil.copy(
        models / "i2v-a14b/transformer/diffusion_pytorch_model.safetensors", tmp_path / "i2v.safetensors"
    )
    refused(generate(run, seeing, tmp_path / "a.mkv"), "is one expert of Wan 2.2", advice)
    refused(generate(run, f"{high},{seeing}", tmp_path / "a.mkv"), "not the two experts of one model", "differ in")


def test_such_words_in_names_of_whole_models_mean_nothing(tmp_path: Path):
    whole = tiny_wan.transformer_file(tmp_path / "Wan2_1-T2V-14B_low.safetensors")
    seeing = tiny_wan.transformer_file(tmp_path / "skyreels-i2v-high.safetensors", "i2v")
    assert [catalog.find(str(path)).boundary for path in (whole, seeing)] == [None, None]


def test_an_expert_that_cannot_be_read_is_named_and_not_taken_for_missing(experts: Path, run: Run, tmp_path: Path):
    low = next(experts.glob("*low*"))
    low.write_bytes(POINTER)
    for model in (experts, f"{next(experts.glob('*high*'))},{low}"):
        refused(generate(run, model, tmp_path / "a.mkv"), str(low), "git lfs pull")
    half = low.rename(low.with_suffix(".safetensors.crdownload"))
    refused(generate(run, half, tmp_path / "a.mkv"), "is a download that is not complete")
    refused(generate(run, f"{next(experts.glob('*high*'))},", tmp_path / "a.mkv"), "there is nothing at")


def test_an_original_folder_with_one_expert(tmp_path: Path):
    tiny_wan.transformer_file(tmp_path / "low_noise_model/diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelError, match="lacks high_noise_model"):
        catalog.find(str(tmp_path))


def test_a_folder_with_one_gguf_is_a_model(experts: Path, tmp_path: Path, run: Run):
    pytest.importorskip("gguf")
    file = tiny_wan.transformer_file(tmp_path / "alone/wan-q4.gguf", form="Q4_0")
    shutil.copy(
        next(tmp_path.glob("cache/*/snapshots/*/vae/*.safetensors")), tmp_path / "alone/wan_2.1_vae.safetensors"
    )
    assert catalog.find(str(file.parent)).own_paths == (file,)
    assert np.array_equal(film(run, file.parent, tmp_path / "a.mkv"), film(run, file, tmp_path / "b.mkv"))
    other = shutil.copy(file, tmp_path / "alone/wan-q5.gguf")
    with pytest.raises(ModelError, match=r"wan-q4\.gguf, wan-q5\.gguf; name the one to load"):
        catalog.find(str(Path(other).parent))
