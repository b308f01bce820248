"""Which models there are, how a person's own weights are recognised, and the commands of ``sora models``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from conftest import Serve
from local_hub import Fault
from sora import catalog, memory
from sora.catalog import download, hub
from sora.catalog.spec import MEMORY
from sora.cli import app, models
from sora.engine.sampler import SAMPLERS
from sora.errors import ModelError
from sora.plan.request import fields
from test_hub import COMMIT, FILES, FIRST, NEEDED, SECOND, SPEC, laid

WAN = [spec for spec in catalog.MODELS.values() if spec.family == "wan"]
Save = Callable[..., Path]
Run = Callable[..., Result]


# --- rows --------------------------------------------------------------------------------------------------------


def test_a_row_says_where_its_files_are():
    for spec in WAN:
        assert spec.repo.count("/") == 1 and spec.repo.lower().endswith("-diffusers"), spec.name
        assert re.fullmatch(r"[0-9a-f]{40}|main", spec.revision), spec.name
        assert 15e9 < spec.bytes < 130e9, spec.name
        parts = {pattern.split("/")[0] for pattern in spec.files}
        assert {"model_index.json", "transformer", "vae", "text_encoder", "tokenizer", "scheduler"} <= parts, spec.name
        assert all(pattern.endswith((".json", ".safetensors")) for pattern in spec.files), f"{spec.name} runs code"
        assert ("transformer_2" in parts) == (spec.boundary is not None), spec.name


def test_a_rows_defaults_can_be_painted():
    for spec in WAN:
        grid, d = spec.grid, spec.defaults
        size = grid.nearest_size(d.aspect, d.area)
        assert grid.fits(d.window, *size) and grid.fits(d.frames, *size) and grid.fits(d.context, *size), spec.name
        assert size[0] * size[1] == d.area, f"{spec.name} was not trained on {size}"
        assert d.context_after % grid.time == d.loop_frames % grid.time == 0, spec.name
        assert d.context + d.context_after < d.window and d.frames <= d.window, spec.name
        assert d.sampler in SAMPLERS, spec.name
        assert d.draft_area < d.area, spec.name
        assert d.draft_steps == d.steps == len(d.timesteps) if spec.is_few_step else d.draft_steps < d.steps, spec.name
        assert list(spec.memory) == list(MEMORY), spec.name
        assert sorted(spec.memory.values(), reverse=True) == list(spec.memory.values()), spec.name


def test_a_row_knows_every_move():
    for spec in WAN:
        assert set(spec.camera) == set(fields()["camera"].choices), spec.name
        assert set(spec.motion) == set(fields()["motion"].choices), spec.name
        assert spec.conditioning in models.CONDITIONING, spec.name


def test_memory_is_told_by_plans_that_there_are():
    assert set(MEMORY) <= set(memory.PLAN_NAMES)


def test_films_are_painted_at_their_own_size_where_that_can_be():
    wan, mini = catalog.MODELS["wan2.1-1.3b"], catalog.MODELS["mini"]
    assert wan.model_size((64, 96)) == (64, 96)
    assert wan.model_size((720, 1280)) == (720, 1280)
    height, width = wan.model_size((2160, 3840))
    assert abs(height * width / (720 * 1280) - 1) < 0.1
    assert wan.model_size((480, 832), draft=True) < (480, 832)
    assert wan.format((64, 96), 16.0).model_size == (64, 96)
    assert mini.model_size((64, 96)) == mini.grid.nearest_size(1.5, mini.defaults.area)


# --- names and paths ---------------------------------------------------------------------------------------------

DIT: dict[str, Any] = {"_class_name": "WanTransformer3DModel", "in_channels": 16, "out_channels": 16}
DIT |= {"num_attention_heads": 2, "num_layers": 1, "patch_size": [1, 2, 2]}
SEES = {"in_channels": 36, "image_dim": 20}
VACE = {"vace_layers": [0], "_class_name": "WanVACETransformer3DModel"}
VAE2 = {"z_dim": 48, "scale_factor_spatial": 16, "scale_factor_temporal": 4}
TIMES = {"expand_timesteps": True}
DMD = {"_class_name": "WanDMDPipeline"}
TWO = {"transformer_2": ["diffusers", "WanTransformer3DModel"]}
LARGE = {"num_attention_heads": 40, "num_layers": 40}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save(index, dit, vae, scheduler): a folder in diffusers' layout, of configurations alone."""

    def saved(
        index: dict[str, Any] | None = None,
        dit: dict[str, Any] | None = None,
        vae: dict[str, Any] | None = None,
        scheduler: dict[str, Any] | None = None,
    ) -> Path:
        parts = {name: ["library", "Class"] for name in ("transformer", "vae", "text_encoder", "tokenizer")}
        files = {
            "model_index.json": {"_class_name": "WanPipeline", "transformer_2": [None, None]} | parts | (index or {}),
            "transformer/config.json": DIT | (dit or {}),
            "vae/config.json": {"z_dim": 16} if vae is None else vae,
        }
        if scheduler is not None:
            files["scheduler/scheduler_config.json"] = scheduler
        for name, said in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(json.dumps(said))
        return tmp_path

    return saved


@pytest.mark.parametrize(
    ("index", "dit", "vae", "like", "known"),
    [
        ({}, {}, None, "wan2.1-1.3b", "renoise"),
        ({}, LARGE, None, "wan2.1-14b", "renoise"),
        ({}, VACE, None, "wan2.1-vace-1.3b", "control"),
        ({}, VACE | LARGE, None, "wan2.1-vace-14b", "control"),
        ({}, SEES, None, "wan2.1-fun-1.3b-inp", "channels"),
        ({}, SEES | LARGE, None, "wan2.1-i2v-14b-480p", "channels"),
        ({}, SEES | {"pos_embed_seq_len": 34}, None, "wan2.1-flf2v-14b", "channels"),
        ({}, {"in_channels": 36, "image_dim": None}, None, "wan2.2-i2v-a14b", "channels"),
        (TWO | {"boundary_ratio": 0.9}, {"in_channels": 36}, None, "wan2.2-i2v-a14b", "channels"),
        (TWO | {"boundary_ratio": 0.875}, {}, None, "wan2.2-t2v-a14b", "renoise"),
        (TWO | {"boundary_ratio": 0.875}, VACE | LARGE, None, "wan2.2-vace-fun-a14b", "control"),
        (DMD, {}, None, "fastwan2.1-1.3b", "renoise"),
        (DMD, LARGE, None, "fastwan2.1-14b", "renoise"),
        (DMD, {"in_channels": 48, "out_channels": 48}, VAE2, "fastwan2.2-ti2v-5b", "tokens"),
        (TIMES, {"in_channels": 48, "out_channels": 48}, VAE2, "wan2.2-ti2v-5b", "tokens"),
        (TIMES, {"in_channels": 8, "out_channels": 8}, VAE2 | {"z_dim": 8}, "wan2.2-ti2v-5b", "tokens"),
        (
            {"_class_name": "SkyReelsV2DiffusionForcingPipeline"},
            {"_class_name": "SkyReelsV2Transformer3DModel"}, None, "skyreels-v2-df-1.3b", "tokens",
        ),
    ],
)  # fmt: skip
def test_a_folder_is_known_by_its_configurations(
    save: Save, index: dict[str, Any], dit: dict[str, Any], vae: dict[str, Any] | None, like: str, known: str
):
    folder = save(index, dit, vae)
    spec = catalog.find(str(folder))
    assert (spec.name, spec.folder, spec.family) == (str(folder), folder, "wan")
    assert (spec.base_model, spec.conditioning, spec.boundary) == (like, known, index.get("boundary_ratio"))
    assert spec.grid.channels == (vae or {"z_dim": 16})["z_dim"]
    assert spec.grid.space == catalog.MODELS[like].grid.space
    assert spec.defaults == catalog.MODELS[like].defaults, "no scheduler says otherwise"
    assert (spec.repo, spec.bytes) == ("", 0)


@pytest.mark.parametrize(
    ("scheduler", "shift", "step"),
    [
        ({"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.5}, 3.5, "unipc"),
        ({"_class_name": "UniPCMultistepScheduler"}, 1.0, "unipc"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7}, 7.0, "euler"),
    ],
)
def test_the_folders_own_scheduler_holds(save: Save, scheduler: dict[str, Any], shift: float, step: str):
    d = catalog.find(str(save(scheduler=scheduler))).defaults
    assert (d.shift, d.sampler) == (shift, step)


def test_480p_and_720p_differ_in_their_shift(save: Save):
    scheduler = {"_class_name": "UniPCMultistepScheduler", "flow_shift": 5.0}
    assert catalog.find(str(save(dit=SEES | LARGE, scheduler=scheduler))).base_model == "wan2.1-i2v-14b-720p"


def test_memory_is_told_of_what_has_a_rows_own_size(save: Save):
    assert catalog.find(str(save(dit=LARGE))).memory == catalog.MODELS["wan2.1-14b"].memory
    assert not catalog.find(str(save())).memory


def test_only_the_parts_that_a_folder_names_are_wanted(save: Save):
    spec = catalog.find(str(save(TWO | {"boundary_ratio": 0.9})))
    parts = {pattern.split("/")[0] for pattern in spec.files}
    assert parts == {"model_index.json", "transformer", "transformer_2", "vae", "text_encoder", "tokenizer"}


@pytest.mark.parametrize(
    ("broken", "fragment"),
    [
        ({"dit": {"_class_name": "WanAnimateTransformer3DModel"}}, "WanAnimateTransformer3DModel, which sora cannot"),
        ({"dit": {"_class_name": "AnyFlowTransformer3DModel"}}, "AnyFlowTransformer3DModel, which sora cannot"),
        ({"dit": {"in_channels": 52}}, "takes 52 channels and makes 16"),
        ({"vae": {"z_dim": 12}}, "makes 16, its autoencoder has 12"),
        ({"vae": {"z_dim": "many"}}, "z_dim = 'many'; expected a count"),
        ({"scheduler": {"flow_shift": "steep"}}, "a shift of 'steep'"),
    ],
)
def test_a_folder_that_cannot_be_driven(save: Save, broken: dict[str, Any], fragment: str):
    with pytest.raises(ModelError, match=re.escape(fragment)):
        catalog.find(str(save(**broken)))


def test_a_folder_that_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match="holds no model; expected model_index"):
        catalog.find(str(tmp_path))
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(ModelError, match="no configuration"):
        catalog.find(str(tmp_path))
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ModelError, match="lacks transformer, vae, text_encoder, tokenizer; put them back"):
        catalog.find(str(tmp_path))


@pytest.mark.parametrize(
    ("shapes", "like", "known"),
    [
        ({"patch_embedding.weight": (256, 16, 1, 2, 2), "head.head.weight": (64, 256)}, "wan2.1-1.3b", "renoise"),
        ({"patch_embedding.weight": (256, 48, 1, 2, 2), "head.head.weight": (192, 256)}, "wan2.2-ti2v-5b", "tokens"),
        (
            {"patch_embedding.weight": (256, 16, 1, 2, 2), "head.head.weight": (64, 256)}
            | {"vace_blocks.0.before_proj.bias": (2,)},
            "wan2.1-vace-1.3b", "control",
        ),
        (
            {"patch_embedding.weight": (256, 36, 1, 2, 2), "head.head.weight": (64, 256)}
            | {"img_emb.proj.0.bias": (2,), "img_emb.emb_pos": (1, 34, 2)},
            "wan2.1-flf2v-14b", "channels",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_file_is_known_by_its_shapes(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], like: str, known: str, prefix: str
):
    tensors = {prefix + name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    tensors[f"{prefix}blocks.0.self_attn.q.weight"] = np.zeros((2, 2), np.float16)
    save_file(tensors, tmp_path / "dit.safetensors")
    spec = catalog.find(str(tmp_path / "dit.safetensors"))
    assert (spec.base_model, spec.conditioning, spec.folder) == (like, known, tmp_path / "dit.safetensors")


def test_two_experts_in_wans_own_layout(tmp_path: Path):
    for expert in ("high_noise_model", "low_noise_model"):
        (tmp_path / expert).mkdir()
        tensors = {"patch_embedding.weight": np.zeros((256, 16, 1, 2, 2)), "head.head.weight": np.zeros((64, 256))}
        tensors["blocks.0.self_attn.q.weight"] = np.zeros((2, 2))
        save_file(tensors, tmp_path / expert / "diffusion_pytorch_model.safetensors")
    spec = catalog.find(str(tmp_path))
    assert (spec.base_model, spec.boundary) == ("wan2.2-t2v-a14b", 0.875)


def test_a_file_that_is_no_transformer(tmp_path: Path):
    save_file({"shared.weight": np.zeros((2, 2))}, tmp_path / "text.safetensors")
    with pytest.raises(ModelError, match="holds no transformer of Wan's"):
        catalog.find(str(tmp_path / "text.safetensors"))


@pytest.mark.parametrize(
    ("typed", "fragment"),
    [
        ("wan2.1-13b", "the nearest is wan2.1-1.3b "),
        ("wan-2.2-ti2v-5b", "the nearest is wan2.2-ti2v-5b "),
        ("Wan-AI/Wan2.1-VACE-14B-difusers", "the nearest model is wan2.1-vace-14b "),
        ("minni", "the nearest is mini "),
        ("horse", "there is mini, wan2.1-1.3b"),
        ("./no/such/folder", "there is nothing at './no/such/folder'"),
        ("a\0b", "there is mini"),
        ("x" * 5000, "there is mini"),
    ],
)
def test_a_name_that_is_none(typed: str, fragment: str):
    with pytest.raises(ModelError, match=re.escape(fragment)) as caught:
        catalog.find(typed)
    assert "sora models" in str(caught.value)


# --- the commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, and a small model that is on it."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setitem(catalog.MODELS, "tiny", SPEC)
    return folder


@pytest.fixture
def run(cache: Path) -> Run:
    """run(*argv, stdin): ``sora models`` and so on, in this process."""
    return lambda *argv, stdin=None: CliRunner().invoke(app, ["models", *map(str, argv)], input=stdin)


def test_bare_models_is_list(run: Run):
    assert run().stdout == run("list").stdout
    assert run("--json").stdout == run("list", "--json").stdout
    first, second, third, *_ = run().stdout.splitlines()
    assert first.split() == ["mini", "Apache-2.0", "here"]
    assert second.startswith("    small cartoon world")
    assert third.startswith("    by default ")


def test_the_list_says_what_is_here(run: Run, cache: Path):
    def state() -> tuple[str, str, bool]:
        line = next(line for line in run("list").stdout.splitlines() if line.startswith("tiny "))
        told = json.loads(run("list", "--json").stdout.splitlines()[-1])
        return line.split("  ")[-1], told["state"], told["here"]

    assert state() == ("not here, 3.0 kB to fetch", "absent", False)
    laid(cache, "model_index.json", "net/config.json")
    assert state() == ("here in part, 32 bytes of 3.0 kB", "partial", False)
    laid(cache, *FILES)
    assert state() == ("here", "complete", True)


def test_show(run: Run, cache: Path):
    laid(cache, *FILES)
    said = dict(re.split(r"  +", line, maxsplit=1) for line in run("show", "tiny").stdout.splitlines())
    assert said["hub"] == f"someone/tiny at {COMMIT}"
    assert said["state"] == "here" and said["folder"].endswith(COMMIT)
    assert said["known"] == models.CONDITIONING["renoise"] and said["trained on"] == "words"
    assert said["by default"] == run("list").stdout.splitlines()[-1].split("by default ")[1]
    told = json.loads(run("show", "tiny", "--json").stdout)
    assert told["memory"] == dict(SPEC.memory) and set(told["fits"]) <= set(MEMORY)
    assert told["device_memory"] > 1e8
    assert told["verbs"] == ["generate", "image", "img2vid", "extend", "loop", "bridge", "edit"]


@pytest.mark.parametrize(
    ("gigabytes", "fits"), [(8, []), (12, ["streamed-tiled"]), (16, ["one-expert", "streamed-tiled"]), (48, [*MEMORY])]
)
def test_what_fits_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch, gigabytes: int, fits: list[str]):
    monkeypatch.setattr(models, "_device_memory", lambda device: gigabytes * 10**9)
    assert json.loads(run("show", "wan2.2-ti2v-5b", "--json").stdout)["fits"] == fits
    line = run("show", "wan2.2-ti2v-5b").stdout.splitlines()[-1]
    assert line.split("  ", 1)[1].strip().startswith(", ".join(fits) or "none of these (8.0 GB of ")


def test_the_embedded_model_says_nothing_of_a_hub(run: Run):
    said = run("show", "mini").stdout
    assert "state" in said and "hub" not in said and "memory" not in said and "fits" not in said


def test_pull_fetches_and_says_where(run: Run, cache: Path, serve: Serve):
    serve(SPEC.repo, COMMIT, FILES)
    result = run("pull", "tiny")
    folder = str(cache / "models--someone--tiny" / "snapshots" / COMMIT)
    assert (result.exit_code, result.stdout) == (0, f"{folder}\n")
    assert result.stderr == "tiny: 3.0 kB, from someone/tiny, Apache-2.0\n"
    assert run("pull", "tiny").stderr == "tiny is here already\n"
    assert run("pull", "tiny", "-q").stderr == ""
    told = json.loads(run("pull", "tiny", "--json").stdout)
    assert told == {"name": "tiny", "state": "complete", "path": folder, "bytes_here": NEEDED}
    assert run("path", "tiny").stdout == f"{folder}\n"
    assert json.loads(run("path", "tiny", "--json").stdout) == told


def test_show_says_what_was_checked(run: Run, cache: Path, serve: Serve):
    """While it was fetched, or by verify, and not what was changed since."""
    server = serve(SPEC.repo, COMMIT, FILES)
    folder = laid(cache, "model_index.json", SECOND)
    assert json.loads(run("show", "tiny", "--json").stdout)["checked"] == [0, 2]
    run("pull", "tiny")
    assert {name for _, name, _ in server.requests if name} == {FIRST, "net/config.json"}
    assert json.loads(run("show", "tiny", "--json").stdout)["checked"] == [4, 4]
    (folder / SECOND).write_bytes(b"other")
    assert "  3 of 4 files have the hub's digest\n" in run("show", "tiny").stdout


def test_wrong_bytes_are_refused_at_pull(run: Run, cache: Path, serve: Serve):
    server = serve(SPEC.repo, COMMIT, FILES)
    server.always["net/config.json"] = Fault(content=b"[]")
    result = run("pull", "tiny", "-q")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "sora: tiny could not be fetched: the hub sent other bytes of net/config.json than were published, and they "
        "are deleted; try again without a mirror or a proxy: sora models pull tiny\n"
    )


def test_pull_goes_on(run: Run, cache: Path, serve: Serve):
    serve(SPEC.repo, COMMIT, FILES)
    laid(cache, "model_index.json", "net/config.json")
    assert ", of which 32 bytes are here, from " in run("pull", "tiny").stderr


def test_a_stopped_pull_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "pull", stop)
    result = run("pull", "tiny")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.endswith("stopped; what has come stays, go on with: sora models pull tiny\n")


def test_a_bar_on_a_terminal_alone(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with models._download_bar("fetching", quiet=False) as hear:
        assert hear is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with models._download_bar("fetching", quiet=True) as hear:
        assert hear is None
    with models._download_bar("fetching", quiet=False) as hear:
        assert hear is not None
        hear(5, 10)
    assert capsys.readouterr().out == ""


def test_verify(run: Run, cache: Path):
    folder = laid(cache, *FILES)
    result = run("verify", "tiny")
    assert (result.exit_code, result.stdout) == (0, "tiny  ok  4 files, 2.2 kB\n")
    blob = (folder / "net/config.json").resolve()
    blob.write_text("[]")
    (folder / "model_index.json").unlink()
    result = run("verify", "tiny")
    assert result.exit_code == 4
    assert result.stdout.splitlines() == [
        f"net/config.json  damaged: other bytes than were published; delete {blob}",
        "model_index.json  missing",
    ]
    assert result.stderr.startswith(
        "sora: tiny is not well (net/config.json, model_index.json); delete what is damaged"
    )
    assert result.stderr.endswith(", then: sora models pull tiny\n")
    result = run("verify", "tiny", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 4 and not told["ok"]
    assert [file["file"] for file in told["files"] if file["problem"]] == ["net/config.json", "model_index.json"]
    assert json.loads(run("verify", "mini", "--json").stdout)["ok"]


def test_remove_asks(run: Run, cache: Path):
    laid(cache, *FILES)
    result = run("remove", "tiny", stdin="n\n")
    assert result.exit_code == 1 and "Delete tiny, 2.2 kB in " in result.stderr
    assert run("remove", "tiny").exit_code == 1, "nobody answers"
    assert hub.local_copy(SPEC).state == hub.COMPLETE
    assert run("remove", "tiny", stdin="y\n").stdout.endswith("tiny is gone, 2.2 kB are free again\n")
    assert hub.local_copy(SPEC).state == hub.ABSENT
    laid(cache, *FILES)
    result = run("remove", "tiny", "--yes", "--json")
    assert (json.loads(result.stdout), result.stderr) == ({"name": "tiny", "freed": NEEDED + 5}, "")


@pytest.mark.parametrize(
    ("argv", "status", "fragment"),
    [
        (["show", "tinny"], 4, "the nearest is tiny"),
        (["path", "tiny"], 4, "sora models pull tiny (3.0 kB)"),
        (["verify", "tiny"], 4, "tiny is not here"),
        (["remove", "tiny"], 4, "nothing to remove"),
        (["remove", "mini", "--yes"], 4, "part of sora"),
        (["show"], 2, "NAME"),
        (["paint"], 2, "paint"),
        (["--json", "show", "tiny"], 2, "sora models show --json"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, argv: list[str], status: int, fragment: str):
    result = run(*argv)
    assert (result.exit_code, result.stdout) == (status, "")
    assert fragment in result.stderr
    assert "Usage" in result.stderr or len(result.stderr.splitlines()) == 1


def test_own_folders_have_a_place_too(run: Run, save: Save):
    folder = save()
    said = run("show", folder).stdout
    assert "your own weights, of the kind of wan2.1-1.3b" in said
    assert "here but for transformer/*.safetensors" in said
    assert run("path", folder).exit_code == 4
    assert "put them back" in run("pull", folder).stderr


def test_listing_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nimport sora.cli\n"
        "print(sorted({'torch', 'numpy', 'huggingface_hub', 'rich'} & set(sys.modules)))\n"
        "for argv in (['models'], ['models', '--help'], ['models', 'path', 'mini'], ['models', 'show', 'minni']):\n"
        "    CliRunner().invoke(sora.cli.app, argv)\n"
        "print(sorted({'torch', 'numpy', 'rich', 'httpx', 'httpx2', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize("command", ["show", "verify", "path", "remove", "pull"])
def test_a_name_that_is_empty_is_no_folder(run: Run, command: str):
    result = run(command, "")
    assert result.exit_code == 4 and "the model's name is empty" in result.stderr
