"""The machinery of training: it descends, resumes where it stopped, and shows the networks what the verbs will ask."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sora.families.mini import beside_noise, extra_channels, known_channels
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import MiniVAE
from sora.training import patterns, publish, text
from sora.training.dit import load_frozen
from sora.training.loop import Budget, train
from sora.training.optim import Both, orthogonalised
from sora.training.pool import Pool
from sora.training.sprites import SHAPES
from sora.training.world import World

SHAPES_ONLY = World(subjects=tuple(SHAPES))


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_orthogonalised_flattens_the_spectrum(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values = torch.linalg.svdvals(orthogonalised(matrix, steps=10))
    assert values.max() < 1.3
    assert values[0] / values.median() < 2


def fit_line(folder: Path, minutes: float) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    model, seen = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), []
    x = torch.randn(64, 4)
    y = x.sum(dim=1, keepdim=True).tanh()

    def loss(done: float) -> tuple[Tensor, dict[str, float]]:
        seen.append(done)
        value = (model(x) - y).square().mean()
        return value, {"loss": value.item()}

    train(model, Both(model, matrix_lr=0.02, other_lr=0.01), Budget(minutes), folder, loss, every=0.2)
    return model, seen


def test_training_descends_and_resumes_where_it_stopped(tmp_path: Path) -> None:
    _, first = fit_line(tmp_path, 0.01)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    _, second = fit_line(tmp_path, 0.02)
    assert first[0] == 0
    assert 0.45 < second[0] < 0.65  # half of the doubled budget was spent already
    resumed = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert resumed["step"] > lines[-1]["step"]


def test_a_spent_budget_trains_no_more(tmp_path: Path) -> None:
    before = fit_line(tmp_path, 0.005)[0]
    after, seen = fit_line(tmp_path, 0.005)
    assert not seen
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_learning_rate_rises_stands_and_falls() -> None:
    budget = Budget(minutes=10, warmup=0.1, cooldown=0.5)
    at = [budget.factor(60 * m) for m in (0, 0.5, 2, 5, 7.5, 10)]
    assert at[0] < 0.02 < at[1] < at[2] == at[3] == 1 > at[4] > at[5] == 0


@given(st.integers(0, 999), st.sampled_from([1, 9, 17]))
@settings(max_examples=60, deadline=None)
def test_entangled_patterns_leave_something_to_paint_and_something_known(seed: int, frames: int) -> None:
    known = patterns.entangled(frames, 64, 96, Random(seed))
    assert known.shape == (1, frames, 64, 96)
    assert known.any() and not known.all()


@given(st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_prefixes_are_whole_frames_at_the_start(seed: int) -> None:
    per_frame = patterns.prefix(17, 16, 16, Random(seed))[0].flatten(1)
    assert per_frame.all(dim=1).tolist() == per_frame.any(dim=1).tolist()
    assert per_frame[:, 0].int().diff().max() <= 0
    assert per_frame[0].all() and not per_frame[-1].any()


def test_a_cell_is_known_only_where_every_pixel_is() -> None:
    known = torch.ones(1, 1, 9, 16, 16, dtype=torch.bool)
    known[:, :, 6, 3, 3] = False
    cells = known_channels(known, 8)
    assert cells.shape == (1, 4, 3, 2, 2)
    assert cells[0, 1, 2, 0, 0] == 0  # frame 6 is the second of its group of four
    assert cells.sum() == cells.numel() - 1


def test_nothing_shows_through_unknown_cells() -> None:
    clean, known = torch.randn(1, 4, 2, 2, 2), torch.zeros(1, 4, 2, 2, 2)
    known[:, :, 0] = 1
    beside = beside_noise(clean, known)
    assert beside.shape[1] == extra_channels(4)
    assert torch.equal(beside[:, 4:8, 0], clean[:, :, 0])
    assert not beside[:, 4:8, 1].any()


def test_captions_become_ids_and_slots() -> None:
    tokenizer = text.build_tokenizer(SHAPES_ONLY)
    ids, truth = text.batch(SHAPES_ONLY, tokenizer, 6, Random(1), held=False)
    reader = text.Reader(MiniText(MiniTextConfig(tokenizer.get_vocab_size(), width=16, heads=2)), SHAPES_ONLY)
    assert ids.shape[1] <= 32
    assert [g.shape for g in reader(ids)] == [(6, len(a)) for a in text.answers(SHAPES_ONLY).values()]
    assert truth.shape == (6, 5)


def test_padding_does_not_change_what_a_caption_says() -> None:
    torch.manual_seed(0)
    model = MiniText(MiniTextConfig(20, width=16, heads=2)).eval()
    short = torch.tensor([[3, 4, 5]])
    assert torch.allclose(model(short), model(torch.tensor([[3, 4, 5, 0, 0]])), atol=1e-5)


@pytest.mark.parametrize("words", ["", "A Red BALL!", "red, ball"])
def test_case_and_punctuation_do_not_matter(words: str) -> None:
    tokenizer = text.build_tokenizer(SHAPES_ONLY)
    expected = tokenizer.encode("red ball").ids if words else []
    assert [i for i in tokenizer.encode(words).ids if i != tokenizer.token_to_id("a")] == expected


def test_shipped_weights_unpack_into_what_the_trainings_read(tmp_path: Path) -> None:
    publish.unpack(tmp_path)
    vae, encoder, tokenizer = load_frozen(tmp_path, "cpu")
    assert encoder.config.vocabulary == tokenizer.get_vocab_size()
    assert vae.deviation.min() > 0
    assert publish.sizes_of(publish.load_file(tmp_path / "dit" / "dit.safetensors")).out_channels == vae.config.channels


def test_the_pool_shows_every_way_a_film_goes_on() -> None:
    """Clips that begin midway always come with something known, and what melts between two ends is known at both."""
    torch.manual_seed(0)
    world = World(subjects=tuple(SHAPES), lattice=True)
    pool = Pool(MiniVAE().eval(), world, Random(4), entangled=0.8, midway=0.5)
    pool.add((64, 64), 17, 48)
    items = list(pool.items[(64, 64), 17])
    assert {item.midway for item in items} == {True, False}
    assert any(item.scene is None for item in items)
    for item in items:
        known, seen = pool._condition(item, (64, 64), 17)
        assert known.shape[1:] == item.clean.shape[1:] and seen.shape == item.clean.shape
        assert known.any() or not item.midway
        if item.scene is None:
            assert known[:, 0].all() and known[-1, -1].all() and not known.all()
    batch = pool.batch((64, 64), 17, 6)
    assert batch.weight.mean() == pytest.approx(1, abs=1e-3)
