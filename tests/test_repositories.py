"""``sora models pull ORG/REPO[:FILE]``: any model or LoRA of the hub that is recognised, from a hub on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save
from typer.testing import CliRunner, Result

from conftest import Serve
from local_hub import Fault, LocalHub
from real_files_parts import tiny_wan
from sora import catalog, media
from sora.catalog import hub, repositories
from sora.cli import app
from sora.errors import ModelError

REPO, COMMIT = "someone/Wan-Tiny", "ef" * 20
Run = Callable[..., Result]
LORA = save(
    {
        f"diffusion_model.blocks.0.self_attn.q.lora_{side}.weight": np.full(shape, 0.05, np.float32)
        for side, shape in (("A", (2, 128)), ("B", (128, 2)))
    }
)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    tiny_wan.folder(place / "t2v")
    for noise in ("high", "low"):
        for form in ("Q4_K_M", "Q8_0"):
            name = f"{noise.title()}Noise/Wan2.2-T2V-A14B-{noise.title()}Noise-{form}.safetensors"
            tiny_wan.transformer_file(place / "pair" / name, seed=len(noise))
    return place


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*argv): ``sora models`` and so on, with an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "own"))
    return lambda *argv, stdin=None: CliRunner().invoke(app, [*map(str, argv)], input=stdin)


def pulled(run: Run, name: str) -> Result:
    result = run("models", "pull", name)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return result


def refused(result: Result, *words: str) -> None:
    flat = " ".join(result.stderr.split())
    assert result.exit_code == 4 and result.stdout == "", f"{result.exit_code}: {flat}{result.exception!r}"
    assert not [word for word in words if word not in flat] and "/tmp" not in flat, flat


def sent(server: LocalHub) -> int:
    return sum(server.sent.values())


# --- what is fetched ---------------------------------------------------------------------------------------------


def test_a_folder_in_diffusers_layout(run: Run, serve: Serve, models: Path, tmp_path: Path):
    extra = {"README.md": b"words", "transformer/diffusion_pytorch_model.fp16.safetensors": b"x" * 99, "a.bin": b"x"}
    serve(REPO, COMMIT, files_in(models / "t2v") | extra)
    result = pulled(run, REPO)
    folder = Path(result.stdout.strip())
    assert folder == tmp_path / "cache/models--someone--Wan-Tiny/snapshots" / COMMIT
    assert (
        f"a model of the kind of wan2.1-1.3b; use it with --model {REPO}\n" in result.stderr
        and f"from {REPO}, mit" in result.stderr
    )
    assert files_in(folder).keys() == files_in(models / "t2v").keys(), "all that is read and nothing else"
    assert (folder.parents[1] / "refs/main").read_text() == COMMIT
    spec = catalog.find(REPO)
    assert (spec.repo, spec.revision, spec.folder, spec.licence) == (REPO, COMMIT, folder, "mit")
    assert f"{REPO} is here already" in pulled(run, REPO).stderr
    out = tmp_path / "a.mkv"
    settings = ["--steps", "2", "--size", "64x64", "--frames", "5", "--seed", "3"]
    painted = run("generate", "a red cat", "--model", REPO, *settings, "-o", out)
    assert painted.exit_code == 0, painted.stderr
    again = run("remake", out, "-o", tmp_path / "b.mkv")
    assert again.exit_code == 0, again.stderr
    assert np.array_equal(media.read_clip(out).frames_FYXC, media.read_clip(tmp_path / "b.mkv").frames_FYXC)


def test_one_file_is_recognised_by_its_header_and_checked(run: Run, serve: Serve, tmp_path: Path):
    pytest.importorskip("gguf")
    gguf = tiny_wan.transformer_file(tmp_path / "wan2.1-q4_0.gguf", form="Q4_0").read_bytes()
    server = serve(REPO, COMMIT, {"sub/wan2.1-q4_0.gguf": gguf, "sub/wan2.1-q8_0.gguf": gguf, "x.pth": b"x"})
    name = f"{REPO}:sub/wan2.1-q4_0.gguf"
    server.always["sub/wan2.1-q4_0.gguf"] = Fault(content=gguf[:-1] + b"?")
    refused(run("models", "pull", "-q", name), "sent other bytes")
    server.always.clear()
    result = pulled(run, name)
    assert result.stdout.strip().endswith(f"{COMMIT}/sub/wan2.1-q4_0.gguf")
    assert "its other parts come from wan2.1-1.3b" in result.stderr
    assert catalog.find(name).own_paths == (Path(result.stdout.strip()),)
    assert catalog.find(REPO).own_paths == catalog.find(name).own_paths, "the only one that is here"
    assert catalog.find(f"https://huggingface.co/{REPO}/blob/main/sub/wan2.1-q4_0.gguf").name == name
    assert run("models", "verify", name).stdout == f"{name}  ok  1 files, {hub.gigabytes(len(gguf))}\n"
    listed = run("models", "list").stdout
    assert f"{name}  mit  here\n    a model of the kind of wan2.1-1.3b; use it with --model {name}\n" in listed
    assert json.loads(run("models", "list", "--json").stdout.splitlines()[-1])["name"] == name
    assert f"{REPO} at {COMMIT}" in run("models", "show", name).stdout


def test_both_experts_by_a_word_of_their_names(run: Run, serve: Serve, models: Path):
    serve(REPO, COMMIT, files_in(models / "pair"))
    refused(run("models", "pull", REPO), "holds 4 files of weights", "LowNoise-Q8_0.safetensors", f"pull {REPO}:FILE")
    name = f"{REPO}:Q4_K_M"
    assert "of the kind of wan2.2-t2v-a14b" in pulled(run, name).stderr
    assert [path.name.split("-")[3] for path in catalog.find(name).own_paths] == ["HighNoise", "LowNoise"]
    both = ",".join(
        path.relative_to(catalog.find(name).own_paths[0].parents[1]).as_posix() for path in catalog.find(name).own_paths
    )
    assert catalog.find(f"{REPO}:{both}").own_paths == catalog.find(name).own_paths


def test_one_expert_may_come_first(run: Run, serve: Serve, models: Path):
    serve(REPO, COMMIT, files_in(models / "pair"))
    high, low = (f"{noise}Noise/Wan2.2-T2V-A14B-{noise}Noise-Q8_0.safetensors" for noise in ("High", "Low"))
    assert "the high-noise expert of Wan 2.2" in pulled(run, f"{REPO}:{high}").stderr
    with pytest.raises(ModelError, match="paints with two"):
        catalog.find(f"{REPO}:{high}")
    pulled(run, f"{REPO}:{low}")
    assert len(catalog.find(f"{REPO}:{low},{high}").own_paths) == 2
    assert len(catalog.find(f"{REPO}:{low},{REPO}:{high}").own_paths) == 2


def test_a_lora_says_how_it_is_used(run: Run, serve: Serve, models: Path, tmp_path: Path):
    config = b'{"lora_alpha": 4, "r": 2}'
    serve(REPO, COMMIT, {"loras/a.safetensors": LORA, "adapter_config.json": config, "adapter_model.safetensors": LORA})
    name = f"{REPO}:loras/a.safetensors"
    result = pulled(run, name)
    assert f"a LoRA; add it to a model with --lora {name}" in result.stderr
    with pytest.raises(ModelError, match="is a LoRA; add it to a model with --lora"):
        catalog.find(name)
    argv = ["generate", "a red cat", "--model", models / "t2v", "--dry-run", "--lora"]
    assert run(*argv, name).exit_code == run(*argv, f"{name}:0.5").exit_code == 0
    absent = run(*argv, f"{REPO}:b.safetensors")
    assert absent.exit_code == 3 and f"fetch it with: sora models pull {REPO}:b.safetensors" in absent.stderr
    assert json.loads(run("models", "show", name, "--json").stdout)["kind"] == "lora"
    peft = Path(pulled(run, f"{REPO}:adapter_model.safetensors").stdout.strip())
    assert (peft / "adapter_config.json").read_bytes() == config, "its strength comes along"
    assert run(*argv, f"{REPO}:adapter_model.safetensors").exit_code == 0


def test_shards_and_both_folders_of_the_original_layout(run: Run, serve: Serve, models: Path):
    whole = (models / "t2v/transformer/diffusion_pytorch_model.safetensors").read_bytes()
    folders = {f"{noise}_noise_model/diffusion_pytorch_model.safetensors": whole for noise in ("high", "low")}
    serve(REPO, COMMIT, folders | {"models_t5_umt5-xxl-enc-bf16.pth": b"x" * 50, "README.md": b""})
    folder = Path(pulled(run, REPO).stdout.strip())
    assert files_in(folder).keys() == folders.keys()
    assert catalog.find(REPO).base_model == "wan2.2-t2v-a14b"


# --- what is refused before it is fetched ------------------------------------------------------------------------

BIG = 5_000_000


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        (REPO, {"model.safetensors": save({"a": np.ones(BIG // 4, np.float32)})}, ["holds no transformer"]),
        (REPO, {"pytorch_model.bin": b"x" * 99}, ["is a pickle"]),
        (f"{REPO}:wan.ckpt", {"wan.ckpt": b"x" * 99}, ["is a pickle"]),
        (REPO, {"README.md": b"x"}, ["holds no weights"]),
        (f"{REPO}:b.gguf", {"a.gguf": b"x"}, ["has no file b.gguf", f"did you mean {REPO}:a.gguf?"]),
        (f"{REPO}:README.md", {"README.md": b"x"}, ["no weights file that sora reads"]),
        (REPO, {"a.gguf": b"GGML" * 999}, ["a.gguf is damaged"]),
        (REPO, {"model_index.json": b'{"_class_name": "FluxPipeline"}'}, ["; choose another repository"]),
        (
            REPO,
            {
                "model_index.json": b'{"_class_name": "FluxPipeline"}',
                "transformer/config.json": b'{"_class_name": "FluxTransformer2DModel"}',
                "vae/config.json": b"{}",
            },
            ["holds a FluxTransformer2DModel, which sora cannot drive"],
        ),
    ],
)
def test_what_is_not_recognised_is_refused_before_it_is_fetched(
    run: Run, serve: Serve, tmp_path: Path, name: str, files: dict[str, bytes], words: list[str]
):
    server = serve(REPO, COMMIT, files)
    refused(run("models", "pull", name), *words, REPO)
    assert sent(server) < 1_000_000
    assert not (tmp_path / "cache").exists()


def test_a_repository_that_lacks_a_part(run: Run, serve: Serve, models: Path):
    files = files_in(models / "t2v")
    serve(REPO, COMMIT, {name: content for name, content in files.items() if not name.startswith("text_encoder")})
    refused(run("models", "pull", REPO), f"{REPO} lacks text_encoder on the hub")


def test_names_that_are_nowhere(run: Run, serve: Serve):
    serve(REPO, COMMIT, {})
    refused(run("models", "pull", "nobody/nothing"), "the hub shows no nobody/nothing")
    refused(run("models", "show", "nobody/nothing"), "fetch it with: sora models pull nobody/nothing")
    assert catalog.find("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").name == "wan2.1-1.3b"


def test_offline(run: Run, serve: Serve, models: Path):
    server = serve(REPO, COMMIT, files_in(models / "pair"))
    refused(run("--offline", "models", "pull", f"{REPO}:Q8_0"), "leave out --offline")
    assert not server.requests
    pulled(run, f"{REPO}:Q8_0")
    assert run("--offline", "models", "pull", f"{REPO}:Q8_0").exit_code == 0


# --- going on, checking and removing -----------------------------------------------------------------------------


def test_a_pull_that_broke_off_goes_on(run: Run, serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch):
    files = files_in(models / "t2v")
    server = serve(REPO, COMMIT, files)
    large = "transformer/diffusion_pytorch_model.safetensors"
    half = len(files[large]) // 2
    server.always[large] = Fault(breaks_after=half)
    monkeypatch.setattr("sora.catalog.transfer.ATTEMPTS", 1)
    refused(run("models", "pull", REPO, "-q"), "what has come stays")
    with pytest.raises(ModelError, match="here only in part; go on with: sora models pull"):
        catalog.find(REPO)
    assert "here in part" in run("models", "list").stdout
    server.always.clear()
    assert ", of which " in pulled(run, REPO).stderr
    assert server.starts(large)[-1] == half
    assert catalog.find(REPO).base_model == "wan2.1-1.3b"


def test_remove_leaves_the_other_files(run: Run, serve: Serve, models: Path, tmp_path: Path):
    serve(REPO, COMMIT, files_in(models / "pair") | {"loras/a.safetensors": LORA})
    names = [f"{REPO}:Q4_K_M", f"{REPO}:Q8_0", f"{REPO}:loras/a.safetensors"]
    for name in names:
        pulled(run, name)
    assert [each.name for each in repositories.all_recorded()] == sorted(names)
    assert run("models", "remove", names[0], stdin="n\n").exit_code == 1
    gone = run("models", "remove", names[0], "--yes")
    assert gone.exit_code == 0 and "0 bytes are free again" in gone.stdout, "the bytes are those of Q8_0, too"
    assert len(catalog.find(names[1]).own_paths) == 2
    assert f"{hub.gigabytes(len(LORA))} are free" in run("models", "remove", names[2], "--yes").stdout
    blob = next(path for path in (tmp_path / "cache").rglob("*Q8_0.safetensors") if path.is_symlink()).resolve()
    shutil.copy(models / "t2v/vae/config.json", blob)
    damaged = run("models", "verify", names[1])
    assert damaged.exit_code == 4 and "other bytes than were published" in damaged.stdout
    assert run("models", "remove", names[1], "--yes").exit_code == 0
    assert not (tmp_path / "cache/models--someone--Wan-Tiny").exists()
    assert not repositories.all_recorded()


def test_what_other_programs_fetched_is_found(run: Run, models: Path, tmp_path: Path):
    snapshot = tmp_path / "cache/models--someone--Wan-Tiny/snapshots" / COMMIT
    shutil.copytree(models / "t2v", snapshot)
    spec = catalog.find(REPO)
    assert (spec.folder, spec.repo, spec.base_model) == (snapshot, REPO, "wan2.1-1.3b")
