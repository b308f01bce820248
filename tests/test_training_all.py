"""Trainings as one program: the budget is kept, later calls resume, arms are compared, worse weights are refused."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minitrain import ablate, checkpoint, dit, full_training, publish, scores, text_encoder_training
from minitrain import judge as judges
from minitrain.__main__ import main, parser
from minitrain.distil import load_student
from minitrain.dit import RepresentationAlignment
from minitrain.full_training import parse_budget, train_all
from minitrain.latent_buffer import Batch
from minitrain.pipeline import Pipeline, load_frozen_networks
from minitrain.presets import (
    PRESETS,
    DiTTrainingConfig,
    batch_size,
    clip_shapes,
    dit_config,
    dit_config_of,
    text_config_of,
    vae_config_of,
)
from minitrain.stages import STAGES, START_FILE, TrainingJob
from minitrain.worlds import WORLDS
from sora.errors import InputError, ModelError
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import MiniVAE
from sora.networks.wan.dit import WanDiT
from sora.weights.int8 import unpack8

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an autoencoder and a text encoder lie, untrained."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    (folder / "vae").mkdir()
    (folder / "text").mkdir()
    save_file(MiniVAE(TINY.vae).state_dict(), folder / "vae" / "vae.safetensors")
    tokenizer = text_encoder_training.build_tokenizer(WORLDS["small"])
    tokenizer.save(str(folder / "text" / "tokenizer.json"))
    encoder = MiniText(MiniTextConfig(tokenizer.get_vocab_size(), width=32, slots=5))
    save_file(encoder.state_dict(), folder / "text" / "text.safetensors")
    return folder


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("45", 45)])
def test_budgets_are_read(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "3d", "0m", "5m later"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write 90s, 30m, 2h"):
        parse_budget(text)


class Ticking:
    """A clock that stages advance: each takes its training time and some overhead."""

    def __init__(self, overhead: float) -> None:
        self.now, self.overhead, self.ran = 0.0, overhead, []

    def stage(self, name: str):
        def run(_job: TrainingJob, minutes: float) -> None:
            self.now += 60 * minutes + self.overhead
            self.ran.append((name, 60 * minutes))

        return run

    def all(self, job: TrainingJob, seconds: float) -> float:
        stages = {name: self.stage(name) for name in STAGES}
        train_all(job, seconds, stages=stages, clock=lambda: self.now)
        return self.now


@pytest.mark.parametrize("overhead", [0.0, 7.0, 60.0])
def test_all_stages_end_in_time_whatever_their_overhead(tmp_path: Path, overhead: float) -> None:
    clock = Ticking(overhead)
    for _ in range(2):
        began = clock.now
        assert clock.all(TrainingJob(tmp_path, "cpu", "small"), 600) - began <= 600 + overhead
    began = clock.now
    assert clock.all(TrainingJob(tmp_path, "cpu", "small"), 600) - began <= 600  # what they take is known by now


def test_what_the_transformer_stands_on_is_left_alone_once_it_has_begun(tmp_path: Path) -> None:
    checkpoint.save_state(tmp_path / "dit" / "state", {"model/w": torch.zeros(1)}, {})
    clock = Ticking(0.0)
    clock.all(TrainingJob(tmp_path, "cpu", "small"), 600)
    assert [name for name, _ in clock.ran] == ["judge", "dit", "distil", "score"]


def test_a_failed_optional_stage_is_reported_at_the_end(tmp_path: Path) -> None:
    clock = Ticking(0.0)

    def failing(_job: TrainingJob, _minutes: float) -> None:
        raise RuntimeError("no luck")

    stages = {name: clock.stage(name) for name in STAGES} | {"distil": failing}
    with pytest.raises(ModelError, match="distil failed"):
        train_all(TrainingJob(tmp_path, "cpu", "small"), 600, stages=stages, clock=lambda: clock.now)
    assert [name for name, _ in clock.ran] == ["vae", "text", "judge", "dit", "score"]
    with pytest.raises(RuntimeError, match="no luck"):
        train_all(TrainingJob(tmp_path, "cpu", "small"), 600, stages=stages | {"vae": failing}, clock=lambda: clock.now)


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(SystemExit) as left:
        main(["everything"])
    assert left.value.code == 2


def test_the_transformer_trains_and_goes_on_from_its_parts(runs: Path, tmp_path: Path) -> None:
    folder, job = tmp_path / "dit", TrainingJob(runs, "tiny", "small")

    def fit() -> None:
        with job.clip_bank() as bank:
            dit.train_dit(runs, folder, TINY.dit, bank, job.held_out(), 0.02, previews=1)

    fit()
    first = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert checkpoint.exists(folder / "state") and {"held_1", "held_5", "held_t0.5", "samples"} <= first.keys()
    fit()
    second = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert second["step"] > first["step"] and second["seconds"] > first["seconds"]
    assert dit_config_of(load_file(folder / "dit.safetensors")) == dit_config(8, 32, TINY.dit.width, TINY.dit.layers)


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
    with pytest.raises(InputError, match="arms: base"):
        ablate.main(["--arms", "nonsense", "--runs", str(runs)])


def test_every_arm_is_a_recipe() -> None:
    for name in ablate.ARMS:
        changed = dit.with_settings(DiTTrainingConfig(), ablate.ARMS[name])
        assert (changed == DiTTrainingConfig()) == (not ablate.ARMS[name]), name


@pytest.mark.parametrize("setting", ["warmth=3", "width", "width=wide"])
def test_settings_that_are_none_are_refused(setting: str) -> None:
    with pytest.raises(InputError, match="width"):
        dit.with_settings(DiTTrainingConfig(), [setting])


def test_alignment_with_another_network_is_trained() -> None:
    torch.manual_seed(0)
    net = WanDiT(dit_config(8, 32, 96, 2))
    net.init_weights()
    agreement = RepresentationAlignment(net, feature_channels=5)
    net(torch.randn(2, net.config.in_channels, 2, 4, 4), torch.rand(2), torch.randn(2, 3, 32))
    value = agreement(torch.randn(2, 5, 2, 1, 1), (2, 4, 4))
    value.backward()
    assert 0 < value.item() < 2
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in agreement.project.parameters())
    assert not any(name.startswith("align") for name in net.state_dict())


class Held:
    """Stands for a buffer of clips and for what feeds it."""

    multiple, features = 32, None

    def __init__(self) -> None:
        self.buffer, self.asked = self, []

    def encode_new(self, done: float) -> None:
        self.done = done

    def draw_shape(self, lengths: dict[int, float]) -> tuple[tuple[int, int], int]:
        self.asked.append(lengths)
        return (64, 64), 1

    def sample(self, size: tuple[int, int], frames: int, count: int) -> Batch:
        clean = torch.randn(count, 8, 1, 4, 4)
        return Batch(
            clean, clean, torch.zeros(count, 4, 1, 4, 4), torch.ones(count, 1, 1, 4, 4), torch.randn(count, 5, 32)
        )


def test_weights_that_go_on_begin_where_the_curriculum_had_got_to(runs: Path) -> None:
    vae, encoder, tokenizer = load_frozen_networks(runs, "cpu")
    net = WanDiT(dit_config(vae.config.channels, encoder.config.width, 96, 2))
    net.init_weights()
    painter, held = Pipeline(net, encoder, vae, tokenizer, "cpu"), Held()
    trainer = dit.DiTTrainer(painter, held, TINY.dit, curriculum_done=0.5)  # type: ignore[arg-type]
    for done in (0.0, 0.5, 1.0):
        value, figures = trainer.loss(done)
        assert value.requires_grad and set(figures) == {"loss_1"}
    assert held.done == 1.0 and all(lengths == {1: 0.3, 17: 0.7} for lengths in held.asked)
    assert trainer.samples == 3 * 16
    with pytest.raises(InputError, match="alignment needs a trained judge"):
        dit.DiTTrainer(painter, held, dit.with_settings(TINY.dit, ["align=1"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("setting", "compiled"), [("compile=0", 0), ("compile=1", 1)])
def test_blocks_are_compiled_beforehand_where_they_will_be(
    setting: str, compiled: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    monkeypatch.setattr("minitrain.stages.compile_blocks", lambda net, trial: losses.append(trial().item()))
    STAGES["warm"](TrainingJob(tmp_path, "tiny", "small", settings=(setting,)), 0.1)
    assert len(losses) == compiled


def test_shapes_are_on_the_grid_and_batches_hold_as_many_tokens() -> None:
    recipe = PRESETS["h100"].dit
    found = clip_shapes(recipe, 32)
    assert sum(found.values()) == pytest.approx(1)
    assert {(256, 256), (256, 448), (448, 256), (256, 352), (352, 256)} == found.keys()
    for size in found:
        assert size[0] % 32 == size[1] % 32 == 0
        tokens = batch_size(recipe, size, 33, 32) * 9 * (size[0] // 32) * (size[1] // 32)
        assert tokens <= 1.1 * recipe.batch_tokens


@pytest.mark.parametrize("size", list(PRESETS))
def test_sizes_are_read_back_from_weights(size: str) -> None:
    preset = PRESETS[size]
    with torch.device("meta"):
        vae, encoder = MiniVAE(preset.vae), MiniText(MiniTextConfig(300, slots=11, length=60))
        net = WanDiT(dit_config(24, 128, preset.dit.width, preset.dit.layers))
    assert vae_config_of(vae.state_dict()) == preset.vae
    assert text_config_of(encoder.state_dict()) == encoder.config
    assert dit_config_of(net.state_dict()) == net.config
    assert sum(preset.shares.values()) == pytest.approx(1)


# Publishing ---------------------------------------------------------------------------------------------------------

together = publish.PublishFolders.in_one_folder


def score_of(all_right: float, clips: int = 200, command: str = "same") -> dict:
    return {"command": command, "world": "small", "side": 64, publish.ACCURACY_KEY: {"all": all_right, "clips": clips}}


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
    names = publish.publish(trained, together(assets), "cpu", 1, force=False)
    weights = ["mini-vae.safetensors", "mini-text.safetensors", "mini-dit.safetensors"]
    assert names == [*weights, "mini-words.json", "mini.json"]
    publish.unpack(tmp_path / "again", together(assets))
    sent, come = (load_file(r / "dit" / "dit.safetensors") for r in (trained, tmp_path / "again"))
    for name, tensor in sent.items():
        assert (come[name] - tensor).abs().max() <= tensor.abs().max() / 200 + 1e-6
    packed = load_file(assets / "mini-dit.safetensors")
    assert unpack8(packed).keys() == sent.keys()
    assert publish.publish(trained, together(assets), "cpu", 1, force=False) == ["mini.json"]  # nothing else changed


def test_the_judge_is_published_into_the_trainer_and_all_else_into_the_program(trained: Path, tmp_path: Path) -> None:
    (trained / "judge").mkdir()
    judges.save(judges.Judge(judges.options_of([WORLDS["small"]]), width=8), trained / "judge" / judges.FILE)
    places = publish.PublishFolders(tmp_path / "assets", tmp_path / "trainer")
    assert judges.FILE in publish.publish(trained, places, "cpu", 1, force=False)
    assert [f.name for f in places.judge.iterdir()] == [judges.FILE]
    assert {f.name for f in places.assets.iterdir()} == {
        *("mini-vae.safetensors", "mini-text.safetensors", "mini-dit.safetensors"),
        *("mini-tokenizer.json", "mini-words.json", "mini.json"),
    }
    assert publish.publish(trained, places, "cpu", 1, force=False) == ["mini.json"]  # the same judge is no change
    publish.unpack(tmp_path / "again", places)
    assert (tmp_path / "again" / "judge" / judges.FILE).read_bytes() == places.judge_file.read_bytes()


def test_the_packages_hold_what_is_published_where_it_is_looked_for() -> None:
    assert publish.PUBLISHED.judge_file.is_file() and judges.load().options["whole"] == ("whole", "broken")
    assert not (publish.PUBLISHED.assets / judges.FILE).exists()
    assert publish.PUBLISHED.assets == publish.weights.ASSETS


def test_a_worse_model_never_replaces_a_better_one(trained: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    publish.publish(trained, together(assets), "cpu", 1, force=False)
    before = (assets / "mini.json").read_text()
    (trained / scores.CARD).write_text(json.dumps({"name": "mini", "scores": score_of(0.5)}))
    with pytest.raises(InputError, match=r"not published: .*0\.500"):
        publish.publish(trained, together(assets), "cpu", 1, force=False)
    assert (assets / "mini.json").read_text() == before
    publish.publish(trained, together(assets), "cpu", 1, force=True)
    assert json.loads((assets / "mini.json").read_text())["scores"] == score_of(0.5)


def test_a_distilled_transformer_is_published_with_the_guided_one(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    (trained / "distil").mkdir()
    save_file(WanDiT(dit_config(8, 32, 96, 2)).state_dict(), trained / "distil" / "dit.safetensors")
    names = publish.publish(trained, together(tmp_path / "assets"), "cpu", 1, force=False)
    assert "mini-few-dit.safetensors" in names
    publish.unpack(tmp_path / "again", together(tmp_path / "assets"))
    for part in ("dit", "distil"):
        sent, come = (load_file(r / part / "dit.safetensors") for r in (trained, tmp_path / "again"))
        assert (sent["patch_embedding.weight"] - come["patch_embedding.weight"]).abs().max() < 0.01


@pytest.mark.parametrize("made", [{"command": "same"}, score_of(0.9, clips=4)])
def test_what_was_hardly_judged_is_not_published(trained: Path, tmp_path: Path, made: dict) -> None:
    (trained / scores.CARD).write_text(json.dumps({"name": "mini", "scores": made}))
    with pytest.raises(InputError, match="clips were judged"):
        publish.publish(trained, together(tmp_path / "assets"), "cpu", 1, force=False)


def test_nothing_is_published_without_scores(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="score the training first"):
        publish.publish(runs, together(tmp_path), "cpu", 1, force=False)


def test_the_shipped_card_tells_how_its_weights_were_made() -> None:
    """With the command that does it again, as this trainer understands it."""
    card = json.loads(publish.weights.asset(publish.CARD).read_text(encoding="utf-8"))
    program, flags = shlex.split(card["again"])[:3], shlex.split(card["again"])[3:]
    args = parser().parse_args(flags)
    assert program == ["python", "-m", "minitrain"] and args.verb == "all"
    preset = PRESETS[args.size]
    recipe = dit.with_settings(preset.dit, args.set)
    with torch.device("meta"):
        sizes = asdict(WanDiT(dit_config(preset.vae.channels, 128, recipe.width, recipe.layers)).config)
    assert json.loads(json.dumps(sizes)) == card["sizes"]["dit"]
    assert json.loads(json.dumps(asdict(preset.vae))) == card["sizes"]["vae"]
    assert card["data"]["world"] == (args.world or preset.world)
    assert "Open Font License" in card["data"]["glyphs"] and card["licence"] == "Apache-2.0"
    assert card["made"]["seconds"].keys() >= {"vae", "dit", "distil"} and card["made"]["samples"]["dit"] > 0
    assert all(card["scores"][key]["clips"] >= publish.MIN_JUDGED_CLIPS for key in scores.ACCURACY_KEYS.values())


# The whole ----------------------------------------------------------------------------------------------------------


def whole(job: TrainingJob, seconds: float) -> None:
    """All stages, each with its share of the time however slow the machine is; the judge does not learn anything."""

    def judge(job: TrainingJob, _minutes: float) -> None:
        (job.runs / "judge").mkdir(exist_ok=True)
        judges.save(judges.Judge(judges.options_of([WORLDS[job.world]])), job.runs / "judge" / judges.FILE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_training, "MIN_TRAINING_SECONDS", 0.1)
        train_all(job, seconds, stages=STAGES | {"judge": judge}, clock=lambda: 0.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole training from nothing leaves."""
    folder = tmp_path_factory.mktemp("whole")
    whole(TrainingJob(folder, "tiny", "small", command="python -m minitrain all --size tiny"), 8)
    return folder


def test_everything_from_nothing_is_scored_and_can_be_carried_away(finished: Path, tmp_path: Path) -> None:
    card = json.loads((finished / scores.CARD).read_text())
    assert card["again"] == "python -m minitrain all --size tiny"
    assert {"vae", "text", "dit", "distil"} <= card["compute"].keys()
    assert card["compute"]["dit"][-1]["samples"] > 0
    assert (
        card["scores"]["judge on painted clips"]["clips"] == card["scores"]["judge on painted clips, 4 steps"]["clips"]
    )
    assert load_student(finished, "cpu") is not None and (finished / "sheet-few.jpg").is_file()
    files = list((finished / publish.EXPORT_FOLDER).iterdir())
    assert {"manifest.json", "sheet.jpg", "vae-sheet.jpg"} <= {f.name for f in files}
    assert all(f.stat().st_size <= checkpoint.MAX_PART_BYTES for f in files)
    checkpoint.unpack(finished / publish.EXPORT_FOLDER, tmp_path)
    for made in (finished / publish.ASSETS_FOLDER).glob("*.safetensors"):
        sent, come = load_file(made), load_file(tmp_path / made.name)
        assert all(torch.equal(come[name].to(t.dtype), t.half().to(t.dtype)) for name, t in sent.items())
        if made.name.startswith("mini"):
            assert all(come[name].dtype == t.dtype for name, t in sent.items())
    assert {"mini-dit-before-cooldown.safetensors", "mini-few-lora.safetensors"} <= {f.name for f in tmp_path.iterdir()}


def test_training_goes_on_from_what_was_carried_away(finished: Path, tmp_path: Path) -> None:
    """Autoencoder, text encoder and judge stay; the transformer begins before its cooldown."""
    world = WORLDS["small"]
    publish.prepare_start(tmp_path, finished / publish.EXPORT_FOLDER, world)
    before = unpack8(load_file(finished / publish.ASSETS_FOLDER / "mini-dit-before-cooldown.safetensors"))
    assert all(torch.equal(t, before[name]) for name, t in load_file(tmp_path / "dit" / START_FILE).items())
    vae = (tmp_path / "vae" / "vae.safetensors").read_bytes()
    whole(TrainingJob(tmp_path, "tiny", "small"), 7)
    assert (tmp_path / "vae" / "vae.safetensors").read_bytes() == vae
    assert not (tmp_path / "text" / "log.jsonl").exists() and not (tmp_path / "judge" / "log.jsonl").exists()
    assert load_file(tmp_path / "dit" / "dit.safetensors").keys() == before.keys()
    assert json.loads((tmp_path / scores.CARD).read_text())["scores"]["judge on painted clips"]["clips"] > 0
    with pytest.raises(InputError, match="leave --from away"):
        publish.prepare_start(tmp_path, finished / publish.ASSETS_FOLDER, world)


def test_weights_of_another_size_are_not_gone_on_from(runs: Path, tmp_path: Path) -> None:
    publish.prepare_start(tmp_path, publish.weights.ASSETS, WORLDS["rich"])
    assert (tmp_path / "judge" / judges.FILE).read_bytes() == publish.PUBLISHED.judge_file.read_bytes()
    job = TrainingJob(tmp_path, "tiny", "rich")
    with pytest.raises(InputError, match="choose the --size"):
        STAGES["dit"](job, 0.01)
    with pytest.raises(InputError, match=r"holds no mini-dit.safetensors; name a folder of published weights"):
        publish.prepare_start(tmp_path, tmp_path, WORLDS["rich"])


def test_a_judge_of_another_world_stays_behind(finished: Path, tmp_path: Path) -> None:
    publish.prepare_start(tmp_path, finished / publish.ASSETS_FOLDER, WORLDS["large"])
    assert not (tmp_path / "judge").exists()
