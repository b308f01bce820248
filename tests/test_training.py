"""The machinery of training: it descends, resumes where it stopped, and shows the networks what the verbs will ask."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from minitrain import checkpoint, hole_masks, publish
from minitrain.optim import MuonAdamW, orthogonalise
from minitrain.pipeline import load_frozen_networks
from minitrain.presets import dit_config_of
from minitrain.training_loop import Budget, train
from sora.errors import ModelError
from sora.models.conditioning import known_latent_mask
from sora.models.mini.model import conditioning_channel_count, conditioning_channels


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 99))
@settings(max_examples=30)
def test_orthogonalised_flattens_the_spectrum(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values = torch.linalg.svdvals(orthogonalise(matrix, steps=10))
    assert values.max() < 1.3
    assert values[0] / values.median() < 2


def fit_line(folder: Path, minutes: float, size: int = 8) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    model, seen = nn.Sequential(nn.Linear(4, size), nn.Tanh(), nn.Linear(size, 1)), []
    x = torch.randn(64, 4)
    y = x.sum(dim=1, keepdim=True).tanh()

    def loss(done: float) -> tuple[Tensor, dict[str, float]]:
        seen.append(done)
        value = (model(x) - y).square().mean()
        return value, {"loss": value.item()}

    train(
        model,
        MuonAdamW(model, muon_lr=0.02, adamw_lr=0.01),
        Budget(minutes, cooldown=0.2),
        folder,
        loss,
        report_every=0.2,
    )
    return model, seen


def lines_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_descends_and_a_second_run_adds_to_the_first(tmp_path: Path) -> None:
    _, first = fit_line(tmp_path, 0.01)
    lines = lines_of(tmp_path)
    assert lines[-1]["loss"] < lines[0]["loss"]
    _, second = fit_line(tmp_path, 0.01)
    assert first[0] == 0
    assert 0.2 < second[0] < 0.6  # about half of both runs together, less the first one's cooldown
    assert lines_of(tmp_path)[-1]["step"] > lines[-1]["step"]
    assert lines_of(tmp_path)[-1]["seconds"] > 1.7 * lines[-1]["seconds"]


def test_a_later_run_goes_on_from_before_the_cooldown(tmp_path: Path) -> None:
    finished, _ = fit_line(tmp_path, 0.01)
    tensors, counts = checkpoint.load_state(tmp_path / "state")
    assert 0 < counts["step"] < lines_of(tmp_path)[-1]["step"]
    assert not torch.equal(tensors["model/0.weight"], finished.state_dict()["0.weight"])


def test_no_budget_trains_nothing_and_loses_nothing(tmp_path: Path) -> None:
    fit_line(tmp_path, 0.005)
    tensors, _ = checkpoint.load_state(tmp_path / "state")
    after, seen = fit_line(tmp_path, 0.0)
    assert not seen
    for name, value in after.named_parameters():
        assert torch.equal(value, tensors[f"average/{name}"])


def test_another_network_does_not_take_up_the_state(tmp_path: Path) -> None:
    fit_line(tmp_path, 0.002)
    with pytest.raises(ModelError, match="another network"):
        fit_line(tmp_path, 0.002, size=9)


def test_on_sigterm_it_saves_its_state_and_exits(tmp_path: Path) -> None:
    model = nn.Linear(4, 1)

    def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
        os.kill(os.getpid(), signal.SIGTERM)
        return model(torch.ones(1, 4)).square().mean(), {}

    with pytest.raises(SystemExit) as left:
        train(model, MuonAdamW(model, muon_lr=0.1, adamw_lr=0.1), Budget(1), tmp_path, loss)
    assert left.value.code == 143
    tensors, counts = checkpoint.load_state(tmp_path / "state")
    assert counts["step"] == 1 and torch.equal(tensors["model/weight"], model.state_dict()["weight"])


def test_a_loss_that_is_not_finite_leaves_the_state_alone(tmp_path: Path) -> None:
    fit_line(tmp_path, 0.005)
    before, _ = checkpoint.load_state(tmp_path / "state")
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
        return (model(torch.ones(1, 4)) * float("nan")).mean(), {}

    with pytest.raises(ModelError, match="not finite"):
        train(model, MuonAdamW(model, muon_lr=0.1, adamw_lr=0.1), Budget(0.003, cooldown=0.01), tmp_path, loss)
    after, _ = checkpoint.load_state(tmp_path / "state")
    assert torch.equal(before["model/0.weight"], after["model/0.weight"])


def test_the_learning_rate_rises_stands_and_falls() -> None:
    budget = Budget(minutes=10, warmup=0.1, cooldown=0.5)
    at = [budget.factor(60 * m) for m in (0, 0.5, 2, 5, 7.5, 10)]
    assert at[0] < 0.02 < at[1] < at[2] == at[3] == 1 > at[4] > at[5] == 0


@given(st.integers(0, 999), st.sampled_from([1, 9, 17, 33]))
@settings(max_examples=60)
def test_entangled_patterns_leave_something_to_paint_and_something_known(seed: int, frames: int) -> None:
    holes = hole_masks.hole_tensor([hole_masks.inpainting_hole(frames, 64, 96, Random(seed))])
    known = hole_masks.known_pixels(holes, frames, 64, 96)
    assert known.shape == (1, 1, frames, 64, 96)
    assert known.any() and not known.all()


@given(st.integers(0, 999), st.sampled_from([1, 9, 17]), st.sampled_from([8, 16]))
@settings(max_examples=60)
def test_cells_of_a_hole_are_those_of_its_pixels(seed: int, frames: int, space: int) -> None:
    """The table of boxes tells the network what the canvas of the same pixels tells it when it paints."""
    rng = Random(seed)
    holes = hole_masks.hole_tensor(
        [hole_masks.inpainting_hole(frames, 64, 96, rng), hole_masks.all_unknown(frames, 64, 96)]
    )
    expected = known_latent_mask(hole_masks.known_pixels(holes, frames, 64, 96), space)
    assert torch.equal(hole_masks.known_cells(holes, frames, 64, 96, space).float(), expected)


def test_a_cell_is_known_only_where_every_pixel_is() -> None:
    known = torch.ones(1, 1, 9, 16, 16, dtype=torch.bool)
    known[:, :, 6, 3, 3] = False
    cells = known_latent_mask(known, 8)
    assert cells.shape == (1, 4, 3, 2, 2)
    assert cells[0, 1, 2, 0, 0] == 0  # frame 6 is the second of its group of four
    assert cells.sum() == cells.numel() - 1


def test_nothing_shows_through_unknown_cells() -> None:
    clean, known = torch.randn(1, 4, 2, 2, 2), torch.zeros(1, 4, 2, 2, 2)
    known[:, :, 0] = 1
    conditioning = conditioning_channels(clean, known)
    assert conditioning.shape[1] == conditioning_channel_count(4)
    assert torch.equal(conditioning[:, 4:8, 0], clean[:, :, 0])
    assert not conditioning[:, 4:8, 1].any()


def test_shipped_weights_unpack_into_what_the_trainings_read(tmp_path: Path) -> None:
    publish.unpack(tmp_path)
    vae, encoder, tokenizer = load_frozen_networks(tmp_path, "cpu")
    assert encoder.config.vocabulary == tokenizer.get_vocab_size()
    assert vae.deviation.min() > 0
    assert dit_config_of(load_file(tmp_path / "dit" / "dit.safetensors")).out_channels == vae.config.channels
