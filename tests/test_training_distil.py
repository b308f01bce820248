"""Distillation into few steps: the student's targets."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minitrain import publish, scores, text_encoder_training
from minitrain.distil import DistillationConfig, Teacher, load_student, rollout_losses, train_student
from minitrain.latent_buffer import Batch
from minitrain.presets import PRESETS, dit_config
from minitrain.stages import TrainingJob
from minitrain.worlds import WORLDS
from sora import catalog, weights
from sora.errors import ModelError
from sora.models.mini import model
from sora.models.mini.model import conditioning_channel_count
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import MiniVAE
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT

C, SHAPE = 4, (3, 4, 4)


def transformer() -> WanDiT:
    torch.manual_seed(5)
    dit = WanDiT(WanConfig(1, 2, 12, C + conditioning_channel_count(C), C, 8, 16, 48))
    dit.init_weights()
    for p in dit.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return dit


def batch(known: Tensor | None = None) -> Batch:
    torch.manual_seed(6)
    clean = torch.randn(2, C, *SHAPE)
    known = torch.zeros(2, 4, *SHAPE) if known is None else known
    return Batch(clean, clean, known, torch.ones(2, 1, *SHAPE), torch.zeros(2, 3, 8))


def losses(lesson: DistillationConfig, *, noised: bool) -> list[float]:
    student = transformer()
    slots, null_slots = torch.randn(2, 3, 8), torch.zeros(2, 3, 8)
    source = rollout_losses(student, Teacher(copy.deepcopy(student), lesson), batch(), slots, null_slots, noised=noised)
    found = []
    while (value := source()) is not None:
        assert value.requires_grad
        found.append(value.item())
    return found


@pytest.mark.parametrize("noised", [False, True])
def test_a_copy_has_nothing_to_learn_from_a_teacher_with_its_own_steps_and_no_guidance(noised: bool) -> None:
    assert losses(DistillationConfig(steps=3, teacher_steps_per_step=1, guidance=1.0), noised=noised) == pytest.approx(
        [0, 0, 0], abs=1e-8
    )


@pytest.mark.parametrize(
    "lesson",
    [
        DistillationConfig(steps=3, teacher_steps_per_step=1, guidance=3.0),
        DistillationConfig(steps=3, teacher_steps_per_step=3, guidance=1.0),
    ],
)
def test_guidance_and_finer_steps_are_what_is_taught(lesson: DistillationConfig) -> None:
    assert min(losses(lesson, noised=False)) > 1e-6


def test_the_teacher_is_guided_less_where_frames_are_known() -> None:
    known = torch.zeros(3, 4, *SHAPE)
    known[1, :, 0] = 1  # goes on
    known[2, :, [0, -1]] = 1  # arrives
    scales = DistillationConfig(guidance=4.0, extend_guidance=0.5, bridge_guidance=0.0).guidance_scales(known).flatten()
    assert scales.tolist() == [4.0, 2.5, 1.0]


def test_the_teacher_ends_where_fine_steps_from_the_start_would() -> None:
    """Two walks of a window each are one walk of both."""
    lesson, given = DistillationConfig(steps=2, teacher_steps_per_step=2, guidance=2.0), batch()
    teacher, x = Teacher(transformer(), lesson), torch.randn(2, C, *SHAPE)
    slots, null_slots = torch.randn(2, 3, 8), torch.zeros(2, 3, 8)
    a, b, c = lesson.timesteps()
    halves = teacher.integrate(teacher.integrate(x, given, slots, null_slots, a, b), given, slots, null_slots, b, c)
    assert torch.allclose(halves, teacher.integrate(x, given, slots, null_slots, a, c), atol=1e-6)


# Students of low rank -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained networks whose transformer has something to say, as their trainings would leave them."""
    folder, preset = tmp_path_factory.mktemp("runs"), PRESETS["tiny"]
    torch.manual_seed(0)
    tokenizer = text_encoder_training.build_tokenizer(WORLDS["small"])
    encoder = MiniText(
        MiniTextConfig(tokenizer.get_vocab_size(), width=32, slots=5, length=text_encoder_training.MAX_TOKENS)
    )
    dit = WanDiT(dit_config(preset.vae.channels, 32, preset.dit.width, preset.dit.layers))
    dit.init_weights()
    torch.nn.init.normal_(dit.proj_out.weight, std=0.1)
    for part, module in {"vae": MiniVAE(preset.vae), "text": encoder, "dit": dit}.items():
        (folder / part).mkdir()
        save_file(module.state_dict(), folder / part / f"{part}.safetensors")
    tokenizer.save(str(folder / "text" / "tokenizer.json"))
    return folder


def taught(runs: Path, folder: Path, *settings: str) -> Path:
    """A copy of ``runs`` whose student was taught for a moment."""
    shutil.copytree(runs, folder)
    job = TrainingJob(folder, "tiny", "small", settings=settings)
    with job.clip_bank() as bank:
        train_student(folder, folder / "distil", job.dit_training, bank, 0.05, batch=2)
    return folder


def test_a_student_is_its_teacher_and_a_small_difference(runs: Path, tmp_path: Path) -> None:
    there = taught(runs, tmp_path / "low", "student_rate=0.05")
    assert [f.name for f in (there / "distil").glob("*.safetensors")] == ["lora.safetensors"]
    difference = load_file(there / "distil" / "lora.safetensors")
    assert all(min(t.shape) == 4 and t.dtype == torch.float16 for t in difference.values())
    student, teacher = load_student(there, "cpu"), load_file(there / "dit" / "dit.safetensors")
    assert student is not None
    apart = {name: t - teacher[name] for name, t in student.state_dict().items() if not torch.equal(t, teacher[name])}
    assert {name.removesuffix(".weight") for name in apart} == {name.rsplit(".lora_", 1)[0] for name in difference}
    assert all(torch.linalg.matrix_rank(change, rtol=1e-3) <= 4 for change in apart.values())


def test_with_rank_nothing_a_student_has_weights_of_its_own(runs: Path, tmp_path: Path) -> None:
    there = taught(runs, tmp_path / "whole", "rank=0")
    assert [f.name for f in (there / "distil").glob("*.safetensors")] == ["dit.safetensors"]
    student, own = load_student(there, "cpu"), load_file(there / "distil" / "dit.safetensors")
    assert student is not None and all(torch.equal(t, own[name]) for name, t in student.state_dict().items())
    assert load_student(runs, "cpu") is None


def test_the_model_paints_with_teacher_and_difference(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the package would hold them: the student that was scored is the one that paints."""
    there, assets = taught(runs, tmp_path / "low", "student_rate=0.05"), tmp_path / "assets"
    publish.write_assets(there, publish.PublishFolders.in_one_folder(assets))
    scores.write_card(there, scores.build_card(there, "small", "cpu", ""))
    shutil.copy(there / scores.CARD, assets / publish.CARD)
    monkeypatch.setattr(weights, "asset", lambda name: assets / name)
    names = ("mini-few-lora.safetensors", "mini-dit.safetensors", "mini-vae.safetensors", "mini-text.safetensors")
    spec = replace(catalog.find("mini"), files=(*names, "mini.json", "mini-tokenizer.json"))
    guided, student = (model.load(s, torch.device("cpu"), torch.float32) for s in (spec.with_guidance(), spec))
    expected, teacher = load_student(there, "cpu"), load_file(there / "dit" / "dit.safetensors")
    assert expected is not None
    name = "proj_out.weight"
    step = teacher[name].abs().max().item() / 100  # eight bits
    assert torch.allclose(guided.dit.state_dict()[name], teacher[name], atol=step)
    learnt = student.dit.state_dict()[name] - guided.dit.state_dict()[name]
    assert learnt.abs().max() > 0 and torch.allclose(learnt, expected.state_dict()[name] - teacher[name], atol=1e-3)
    save_file(
        {"proj_out.lora_A.weight": torch.zeros(4, 7), "proj_out.lora_B.weight": torch.zeros(3, 4)}, assets / names[0]
    )
    with pytest.raises(ModelError, match=r"mini-few-lora.safetensors does not fit"):
        model.load(spec, torch.device("cpu"), torch.float32)
