"""Trainings that fail and restart: slower after NaN, smaller when memory runs out; compiled blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from minitrain import checkpoint
from minitrain.compilation import compile_blocks
from minitrain.optim import MuonAdamW
from minitrain.retry import Attempt, train_with_retries
from minitrain.training_loop import Budget, NotFiniteError
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT


def run(folder: Path, trouble, minutes: float = 0.02) -> tuple[Attempt, nn.Linear, list[Attempt]]:
    """A training of one map; trouble: what an attempt's step meets."""
    torch.manual_seed(0)
    model, tried = nn.Linear(4, 1), []
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def setup(attempt: Attempt):
        tried.append(attempt)

        def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
            return model(torch.ones(1, 4)).square().mean() * trouble(attempt), {}

        return MuonAdamW(model, muon_lr=0.01 * attempt.lr_factor, adamw_lr=0.01), loss

    def begin() -> None:
        model.load_state_dict(first)

    lasted = train_with_retries(model, setup, Budget(minutes), folder, begin, clock=lambda: 0.0)
    return lasted, model, tried


def test_numbers_that_are_none_lower_the_rate(tmp_path: Path) -> None:
    lasted, model, tried = run(tmp_path, lambda a: float("nan") if a.lr_factor == 1 else 1.0)
    assert [a.lr_factor for a in tried] == [1, 0.4] and lasted == tried[-1] and lasted.batch_factor == 1
    assert all(p.isfinite().all() for p in model.parameters())
    assert checkpoint.exists(tmp_path / "state")


def test_without_memory_the_batch_is_halved(tmp_path: Path) -> None:
    def trouble(attempt: Attempt) -> float:
        if attempt.batch_factor > 0.3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    lasted, _, tried = run(tmp_path, trouble)
    assert [a.batch_factor for a in tried] == [1, 0.5, 0.25] and lasted.lr_factor == 1
    assert lasted.batch_size(96) == 24 and lasted.batch_size(1) == 1


def test_what_lasts_is_raised_and_other_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match="not finite"):
        run(tmp_path / "a", lambda _: float("nan"))

    def fault(_: Attempt) -> float:
        raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        run(tmp_path / "b", fault)


@pytest.mark.parametrize("backend", ["eager", "no such compiler"])
def test_blocks_that_do_not_compile_run_as_they_are(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    dit = WanDiT(WanConfig(2, 2, 12, 6, 4, 8, 16, 48))
    dit.init_weights()
    nn.init.normal_(dit.proj_out.weight)
    given = torch.randn(3, 6, 2, 4, 4), torch.tensor([1.0, 500.0, 900.0]), torch.randn(3, 5, 8)
    before = dit(*given)
    compiled = compile_blocks(dit, lambda: dit(*given).square().mean(), backend=backend)
    assert compiled is (backend == "eager")
    assert ("run uncompiled, which is slower: " in capsys.readouterr().out) is not compiled
    assert torch.allclose(dit(*given), before, atol=1e-5)
    assert all(p.grad is None for p in dit.parameters())
