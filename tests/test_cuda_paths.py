"""What only a CUDA device runs, on one whose numbers the CPU computes (``fake_cuda``): the same films as on the CPU,
whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.cuda._sanitizer import CUDASanitizerErrors

import sora
from fake_cuda import Card, fake_cuda
from sora.runtime.offload import offload_blocks

CUDA = torch.device("cuda")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Card]:
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch) as made:
        yield made
        sora.unload()


# -- the device itself is as strict as a real one -------------------------------------------------------------------


def test_tensors_of_two_devices_do_not_mix(card: Card) -> None:
    x = torch.ones(3, device=CUDA)
    assert x.is_cuda and x.device.type == "cuda" and float((x + torch.tensor(1.0)).sum()) == 6
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)


def test_page_locked_memory_is_copied_late(card: Card) -> None:
    pinned, place = torch.empty(4, pin_memory=True), torch.zeros(4, device=CUDA)
    pinned.fill_(1)
    place.copy_(pinned, non_blocking=True)
    pinned.fill_(2)  # too early
    assert place.tolist() == [2] * 4
    place.copy_(pinned, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    copied.synchronize()
    pinned.fill_(3)
    assert place.tolist() == [2] * 4


def test_streams_that_do_not_wait_are_found(card: Card) -> None:
    """From the second stream on, since before it there is nothing to wait for."""
    other = torch.cuda.Stream()
    x = torch.ones(3, device=CUDA).mul_(2)
    with torch.cuda.stream(other), pytest.raises(CUDASanitizerErrors):
        x.add_(1)
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        x.add_(1)


def test_memory_runs_out_and_other_threads_have_the_device(card: Card) -> None:
    card.total = card.allocated + 1000
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(torch.zeros(200, device=CUDA)))
    thread.start()
    thread.join()
    assert found[0].is_cuda and torch.cuda.memory_allocated() == card.allocated
    with pytest.raises(torch.OutOfMemoryError):
        torch.zeros(100, device=CUDA)
    found.clear()
    torch.zeros(100, device=CUDA)


# -- streamed blocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resident", [0, 2, 5])
@torch.inference_mode()
def test_streamed_blocks_compute_the_same(card: Card, resident: int) -> None:
    """Copies happen as late as their events allow, and no stream touches what another is at work with."""
    torch.manual_seed(0)
    blocks = [nn.Linear(8, 8).requires_grad_(False) for _ in range(5)]
    x = torch.randn(2, 8)
    wanted = nn.Sequential(*blocks)(x)
    with offload_blocks(blocks, CUDA, resident):
        for _ in range(3):
            assert torch.equal(nn.Sequential(*blocks)(x.to(CUDA)).cpu(), wanted)
    assert not card.pinned_ranges


@torch.inference_mode()
def test_blocks_that_are_dropped_wait_for_the_copy_under_way(card: Card) -> None:
    """After a pass the first block is on its way once more. ``fake_cuda`` objects to memory that is given back then."""
    blocks = [nn.Linear(8, 8).requires_grad_(False) for _ in range(5)]
    offload = offload_blocks(blocks, CUDA)
    nn.Sequential(*blocks)(torch.randn(2, 8, device=CUDA))
    del offload, blocks
    assert not card.pinned_ranges and not card.allocated
