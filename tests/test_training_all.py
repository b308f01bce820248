"""Trainings as one program: the budget is kept, later calls go on, arms are compared, a worse model stays out."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file, save_file

from sora.eightbit import unpack8
from sora.errors import InputError
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import MiniVAE
from sora.networks.wan_dit import WanDiT
from sora.training import ablate, checkpoint, dit, publish, reading, scores
from sora.training.__main__ import main
from sora.training.all import seconds_of, train_all
from sora.training.sizes import SIZES, Recipe, dit_config, dit_sizes, text_sizes, vae_sizes
from sora.training.stages import STAGES, Job
from sora.training.worlds import WORLDS

TINY = SIZES["tiny"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an autoencoder and a text encoder lie, untrained."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    (folder / "vae").mkdir()
    (folder / "text").mkdir()
    save_file(MiniVAE(TINY.vae).state_dict(), folder / "vae" / "vae.safetensors")
    tokenizer = reading.build_tokenizer(WORLDS["small"])
    tokenizer.save(str(folder / "text" / "tokenizer.json"))
    encoder = MiniText(MiniTextConfig(tokenizer.get_vocab_size(), width=32, slots=5))
    save_file(encoder.state_dict(), folder / "text" / "text.safetensors")
    return folder


@pytest.mark.parametrize(("said", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("45", 45)])
def test_budgets_are_read(said: str, seconds: float) -> None:
    assert seconds_of(said) == seconds


@pytest.mark.parametrize("said", ["", "soon", "3d", "0m", "5m later"])
def test_what_is_no_budget_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="write 90s, 30m, 2h"):
        seconds_of(said)


class Ticking:
    """A clock that stages turn: each takes its training and something beside it."""

    def __init__(self, beside: float) -> None:
        self.now, self.beside, self.ran = 0.0, beside, []

    def stage(self, name: str):
        def run(_job: Job, minutes: float) -> None:
            self.now += 60 * minutes + self.beside
            self.ran.append((name, 60 * minutes))

        return run

    def all(self, job: Job, seconds: float) -> float:
        stages = {name: self.stage(name) for name in STAGES}
        train_all(job, seconds, stages=stages, clock=lambda: self.now)
        return self.now


@pytest.mark.parametrize("beside", [0.0, 7.0, 60.0])
def test_the_whole_ends_in_time_whatever_stages_take_beside_training(tmp_path: Path, beside: float) -> None:
    clock = Ticking(beside)
    for _ in range(2):
        began = clock.now
        assert clock.all(Job(tmp_path, "cpu", "small"), 600) - began <= 600 + beside
    began = clock.now
    assert clock.all(Job(tmp_path, "cpu", "small"), 600) - began <= 600  # what they take is known by now


def test_what_the_transformer_stands_on_is_left_alone_once_it_has_begun(tmp_path: Path) -> None:
    checkpoint.keep(tmp_path / "dit" / "state", {"model/w": torch.zeros(1)}, {})
    clock = Ticking(0.0)
    clock.all(Job(tmp_path, "cpu", "small"), 600)
    assert [name for name, _ in clock.ran] == ["judge", "dit", "distil", "score"]


def test_stages_are_told_by_name() -> None:
    with pytest.raises(SystemExit) as left:
        main(["everything"])
    assert left.value.code == 2


def test_the_transformer_trains_and_goes_on_from_its_parts(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dit"

    def fit() -> None:
        dit.fit(runs, folder, TINY.dit, WORLDS["small"], "cpu", 0.03, previews=0)

    fit()
    first = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert checkpoint.exists(folder / "state") and {"held_1", "held_3", "held_t0.5"} <= first.keys()
    fit()
    second = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert second["step"] > first["step"] and second["seconds"] > first["seconds"]
    assert dit_sizes(load_file(folder / "dit.safetensors")) == dit_config(8, 32, TINY.dit.width, TINY.dit.layers)


def test_arms_are_compared_after_equal_time_and_run_once(runs: Path, tmp_path: Path) -> None:
    args = ["--arms", "base", "even-times", "--minutes", "0.01", "--size", "tiny", "--runs", str(runs)]
    ablate.main([*args, "--folder", str(tmp_path)])
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"base", "even-times"} and all("held_t0.9" in row for row in found.values())
    before = (tmp_path / "base" / "log.jsonl").read_text()
    ablate.main([*args, "--folder", str(tmp_path)])
    assert (tmp_path / "base" / "log.jsonl").read_text() == before
    assert ablate.table(found).count("\n") == 2


def test_an_arm_that_is_not_there_is_refused(runs: Path) -> None:
    with pytest.raises(InputError, match="there is base"):
        ablate.main(["--arms", "nonsense", "--runs", str(runs)])


@pytest.mark.parametrize("name", list(ablate.ARMS))
def test_every_arm_is_a_recipe(name: str) -> None:
    changed = dit.changed(Recipe(), ablate.ARMS[name])
    assert (changed == Recipe()) == (not ablate.ARMS[name])


@pytest.mark.parametrize("setting", ["warmth=3", "width", "width=wide"])
def test_settings_that_are_none_are_refused(setting: str) -> None:
    with pytest.raises(InputError, match="width"):
        dit.changed(Recipe(), [setting])


@pytest.mark.parametrize("aligned", [True, False])
def test_agreement_with_another_network_is_learnt_beside(runs: Path, aligned: bool) -> None:
    torch.manual_seed(0)
    vae, encoder, tokenizer = dit.load_frozen(runs, "cpu")
    net = WanDiT(dit_config(vae.config.channels, encoder.config.width, 96, 2))
    net.init_weights()
    recipe = dit.changed(TINY.dit, ["align=1"] if aligned else [])
    painter = dit.Painter(net, encoder, vae, tokenizer, "cpu")
    trainer = dit.Trainer(painter, WORLDS["small"], recipe, Random(1), lambda x: x[:, :2].mean((3, 4), keepdim=True))
    value, figures = trainer.loss(0.1)
    value.backward()
    assert ("apart" in figures) == aligned
    assert all(not name.startswith("align") for name in net.state_dict())
    if aligned:
        grads = [p.grad for p in trainer.student["align"].parameters()]
        assert all(g is not None and g.abs().sum() > 0 for g in grads)


def test_shapes_are_on_the_grid_and_batches_hold_as_many_tokens() -> None:
    recipe = SIZES["gpu"].dit
    found = dit.shapes(recipe, 32)
    assert sum(found.values()) == pytest.approx(1)
    assert {(256, 256), (256, 448), (448, 256), (128, 128)} <= found.keys()
    for size in found:
        assert size[0] % 32 == size[1] % 32 == 0
        tokens = dit.clips_of(recipe, size, 33, 32) * 9 * (size[0] // 32) * (size[1] // 32)
        assert tokens <= 1.1 * recipe.tokens


@pytest.mark.parametrize("size", list(SIZES))
def test_sizes_are_read_back_from_weights(size: str) -> None:
    preset = SIZES[size]
    with torch.device("meta"):
        vae, encoder = MiniVAE(preset.vae), MiniText(MiniTextConfig(300, slots=11, length=60))
        net = WanDiT(dit_config(24, 128, preset.dit.width, preset.dit.layers))
    assert vae_sizes(vae.state_dict()) == preset.vae
    assert text_sizes(encoder.state_dict()) == encoder.config
    assert dit_sizes(net.state_dict()) == net.config
    assert sum(preset.shares.values()) == pytest.approx(1)


# Publishing ---------------------------------------------------------------------------------------------------------


def score_of(all_right: float, clips: int = 200, command: str = "same") -> dict:
    return {"command": command, "world": "small", "side": 64, publish.PAINTED: {"all": all_right, "clips": clips}}


@pytest.fixture
def trained(runs: Path, tmp_path: Path) -> Path:
    """A folder as a whole training leaves it."""
    there = tmp_path / "trained"
    checkpoint.pack(runs, tmp_path / "packed", ("vae", "text"))
    checkpoint.unpack(tmp_path / "packed", there)
    torch.manual_seed(1)
    (there / "dit").mkdir()
    save_file(WanDiT(dit_config(8, 32, 96, 2)).state_dict(), there / "dit" / "dit.safetensors")
    (there / scores.CARD).write_text(json.dumps({"name": "mini", "scores": score_of(0.6)}))
    return there


def test_published_weights_come_back_nearly_the_same(trained: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    names = publish.publish(trained, assets, "cpu", 1, force=False)
    assert names == ["mini-vae.safetensors", "mini-text.safetensors", "mini-dit.safetensors", "mini.json"]
    publish.unpack(tmp_path / "again", assets)
    sent, come = (load_file(r / "dit" / "dit.safetensors") for r in (trained, tmp_path / "again"))
    for name, tensor in sent.items():
        assert (come[name] - tensor).abs().max() <= tensor.abs().max() / 200 + 1e-6
    packed = load_file(assets / "mini-dit.safetensors")
    assert unpack8(packed).keys() == sent.keys()
    assert publish.publish(trained, assets, "cpu", 1, force=False) == ["mini.json"]  # nothing else changed


def test_a_worse_model_never_replaces_a_better_one(trained: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    publish.publish(trained, assets, "cpu", 1, force=False)
    before = (assets / "mini.json").read_text()
    (trained / scores.CARD).write_text(json.dumps({"name": "mini", "scores": score_of(0.5)}))
    with pytest.raises(InputError, match=r"not published: .*0\.500"):
        publish.publish(trained, assets, "cpu", 1, force=False)
    assert (assets / "mini.json").read_text() == before
    publish.publish(trained, assets, "cpu", 1, force=True)
    assert json.loads((assets / "mini.json").read_text())["scores"] == score_of(0.5)


def test_a_distilled_transformer_is_shipped_beside_the_guided_one(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    (trained / "distil").mkdir()
    save_file(WanDiT(dit_config(8, 32, 96, 2)).state_dict(), trained / "distil" / "dit.safetensors")
    names = publish.publish(trained, tmp_path / "assets", "cpu", 1, force=False)
    assert "mini-few-dit.safetensors" in names
    publish.unpack(tmp_path / "again", tmp_path / "assets")
    for part in ("dit", "distil"):
        sent, come = (load_file(r / part / "dit.safetensors") for r in (trained, tmp_path / "again"))
        assert (sent["patch_embedding.weight"] - come["patch_embedding.weight"]).abs().max() < 0.01


@pytest.mark.parametrize("made", [{"command": "same"}, score_of(0.9, clips=4)])
def test_what_was_hardly_judged_is_not_published(trained: Path, tmp_path: Path, made: dict) -> None:
    (trained / scores.CARD).write_text(json.dumps({"name": "mini", "scores": made}))
    with pytest.raises(InputError, match="clips were judged"):
        publish.publish(trained, tmp_path / "assets", "cpu", 1, force=False)


def test_nothing_is_published_without_scores(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="score the training first"):
        publish.publish(runs, tmp_path, "cpu", 1, force=False)
