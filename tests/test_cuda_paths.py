"""What only a CUDA device runs, on one whose numbers the CPU computes (``fake_cuda``): the same films as on the CPU,
whatever happens on the way."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.cuda._sanitizer import CUDASanitizerErrors
from typer.testing import CliRunner, Result

import gpu
import sora
from fake_cuda import Card, fake_cuda
from gpu_parts.result import Machine
from real_files_parts import tiny_wan
from sora import memory
from sora.cli import app
from sora.errors import UsageError
from sora.jobs import device_check
from sora.models import attention as attention_choice
from sora.models.device_tests import DeviceTest
from sora.models.wan import probes
from sora.networks import layers
from sora.runtime import float8
from sora.runtime.offload import offload_blocks

CUDA = torch.device("cuda")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="stands in for a device that is not there, on Linux"
)


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
        x.add(torch.ones(3))


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


# -- films ----------------------------------------------------------------------------------------------------------

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def painted(folder: Path, kind: str, device: str, **more: Any) -> np.ndarray:
    """A small film of random weights, as numbers."""
    options: dict[str, Any] = {"model": str(folder), "frames": 5, "size": "64x64", "steps": 2, "seed": 7}
    options |= {"guidance": 3.0, "device": device, "dtype": "float32", **more}
    if kind in ("i2v", "vace"):
        return sora.img2vid(PICTURE, "a red cat", **options).frames.astype(int)
    return sora.generate("a red cat", **options).frames.astype(int)


def apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a - b).max())


@pytest.mark.parametrize(
    ("kind", "plan"), [("t2v-a14b", "resident"), ("t2v-a14b", "streamed"), ("i2v", "text-dropped"), ("vace", "tiled")]
)
def test_films_are_the_cpus(kind: str, plan: str, card: Card, tmp_path: Path) -> None:
    """Loaded through page-locked buffers and ahead, attended by ranked kernels, streamed, in every conditioning."""
    folder = tiny_wan.folder(tmp_path / kind, kind)
    expected = painted(folder, kind, "cpu")
    assert apart(painted(folder, kind, "cuda", memory=plan), expected) <= 1
    assert card.copied_late > 100 and card.calls["attention"]
    sora.unload()
    gc.collect()
    assert card.allocated <= 2**17  # tables of rotations are kept


def test_a_film_in_half_precision_and_float8_is_near(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float8, "MIN_CHANNELS_OUT", 16)
    folder = tiny_wan.folder(tmp_path / "t2v", "t2v")
    expected = painted(folder, "t2v", "cpu", steps=1)
    fast = painted(folder, "t2v", "cuda", steps=1, dtype="bfloat16", speed="fast")
    assert card.calls["_scaled_mm"] and 0 < np.abs(fast - expected).mean() <= 8
    card.calls.clear()
    streamed = painted(folder, "t2v", "cuda", steps=1, dtype="bfloat16", speed="fast", memory="streamed")
    assert card.calls["_scaled_mm"] and apart(streamed, fast) == 0


@pytest.mark.parametrize("nth", [200, 1500])
def test_memory_that_runs_out_on_the_way_changes_no_frame(nth: int, card: Card, tmp_path: Path) -> None:
    """Whatever is allocated when it does: the film goes on by a smaller plan."""
    folder, count = tiny_wan.folder(tmp_path / "t2v", "t2v"), 0
    expected = painted(folder, "t2v", "cpu")

    def fails_once(_: int) -> None:
        nonlocal count
        count += 1
        if count == nth:
            raise torch.OutOfMemoryError("CUDA out of memory")

    card.before_allocation = fails_once
    assert apart(painted(folder, "t2v", "cuda"), expected) <= 1 and count > nth


def test_windows_are_painted_at_once_as_one_by_one(card: Card, tmp_path: Path) -> None:
    folder = tiny_wan.folder(tmp_path / "t2v", "t2v")
    more: dict[str, Any] = {"frames": 10, "then": ["a cat"], "guidance": 1.0}
    alone = painted(folder, "t2v", "cuda", disable=["batched-windows"], **more)
    passes = card.calls["attention"]
    assert apart(painted(folder, "t2v", "cuda", **more), alone) <= 1
    assert card.calls["attention"] < 2 * passes


# -- what a GPU is measured with --

PARTS = ("attention", "loading", "float8", "text", "guides", "passes")


@pytest.mark.parametrize("name", PARTS)
def test_each_part_of_the_benchmark_runs_on_the_device(name: str, card: Card) -> None:
    """At sizes of a CPU, by the branches of a card."""
    results = list(gpu.PARTS[name].measure(Machine(CUDA, small=True)))
    assert results and all(np.isfinite(result.value) for result in results)


# -- sora doctor ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    small = DeviceTest("sample", (5,), (torch.float32,), partial(probes._velocity, probes.TRANSFORMER, (32, 48)))
    monkeypatch.setattr(device_check, "device_tests", lambda *_: [small])
    monkeypatch.setattr(attention_choice, "TYPICAL", (2, 16, 300))


def doctor(*words: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *words])


def test_the_doctor_compares_the_device_and_says_how_it_attends(card: Card, small_probes: None) -> None:
    found = doctor("--deep")
    assert found.exit_code == 0 and "cuda computes what the CPU does" in found.output
    assert "cuda by torch's" in found.output and memory.choose_device(None).type == "cuda"


def test_the_doctor_refuses_an_mps_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_probes: None
) -> None:
    monkeypatch.setenv("SORA_STATE", str(tmp_path))
    monkeypatch.setenv("SORA_CACHE", str(tmp_path))
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch, type="mps") as device:
        assert memory.choose_device(None).type == "mps"
        device.spoils = "scaled_dot_product_attention"
        found = doctor("--deep")
        assert found.exit_code != 0 and "mps" in found.output and memory.choose_device(None).type == "cpu"
        with pytest.raises(UsageError, match="mps differed from the CPU"):
            memory.choose_device("mps")


def test_mps_pads_nothing_in_time_and_attends_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``fake_cuda`` objects to both, and to float64."""
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    folder = tiny_wan.folder(tmp_path / "vace", "vace")
    expected = painted(folder, "vace", "cpu")
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch, type="mps"):
        patch.setattr(layers, "MPS_ATTENTION_LIMIT", 2000)
        assert apart(painted(folder, "vace", "mps"), expected) <= 1
        sora.unload()
