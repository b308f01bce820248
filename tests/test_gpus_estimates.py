"""What several devices take of memory and of time, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from memory import live_peak, workload_of
from sora import catalog, memory, models
from sora.cli import dry_run
from sora.errors import OutOfMemory, UsageError
from sora.jobs import forecast
from sora.jobs.resolve import resolve
from sora.memory import FreeMemory
from sora.memory.estimate import PROCESS_BYTES
from sora.models import parallel_work
from sora.models.wan import transformer_memory
from sora.models.wan.needs import memory_needs
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vace import build_transformer
from sora.plan.request import Request
from sora.runtime import device as devices
from sora.runtime.parallel.ulysses import UlyssesSequence
from sora.runtime.rates import of_card

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ROW = catalog.find("wan2.1-14b")
CANVAS = (81, 480, 832)
CONFIG = WanConfig(num_layers=2, heads=12, head_dim=32, text_dim=64, ffn_dim=1536)
LATENTS, WORDS = (5, 32, 48), 16


@pytest.fixture(params=[2, 4])
def sequence(request: pytest.FixtureRequest) -> Iterator[UlyssesSequence]:
    """The first of several processes, whose others do not exist."""
    dist.init_process_group("fake", rank=0, world_size=request.param, store=FakeStore())
    divided = UlyssesSequence()
    divided.use(dist.group.WORLD)
    yield divided
    dist.destroy_process_group()


@pytest.mark.parametrize("fused", [False, True])
def test_an_estimate_is_what_one_process_has_in_memory(sequence: UlyssesSequence, fused: bool) -> None:
    alone = workload_of(CONFIG, LATENTS, 1, 4)
    alone = replace(alone, transformer=replace(alone.transformer, text=(WORDS, CONFIG.text_dim)))
    network = build_transformer(CONFIG).eval().requires_grad_(False)
    network.parallelize(sequence)
    if fused:
        network.fuse_qkv()
    x, text = torch.zeros(1, CONFIG.in_channels, *LATENTS), torch.zeros(1, WORDS, CONFIG.text_dim)
    live = live_peak(lambda: network(x, torch.tensor([5.0]), text))
    divided = replace(alone, ulysses_degree=dist.get_world_size())
    estimate = transformer_memory.transformer(divided, quantized=False, fused=fused)
    assert 0.97 * live < estimate < 1.15 * live
    assert estimate < transformer_memory.transformer(alone, quantized=False, fused=fused) / 1.2


def needs_of(device: torch.device, processes: int, **more: Any) -> memory.Needs:
    return memory_needs(ROW, None, CANVAS, device, torch.bfloat16, encodes=True, processes=processes, **more)


def test_a_card_of_several_needs_less_to_sample() -> None:
    one, two, four = (needs_of(CUDA, n) for n in (1, 2, 4))
    how = {"sequential_guidance": True, "quantized": False, "caches_text": True}
    work = [each.sampling_bytes(**how) for each in (one, two, four)]
    assert work[0] == work[1] > work[2], "of two each has a prompt, of four half of the tokens of one"
    unguided, how = needs_of(CUDA, 2, guided=False), {**how, "caches_text": False}  # which is of one prompt there
    assert unguided.sampling_bytes(**how) == four.sampling_bytes(**how), "two without guidance have half each"
    free = one.transformer.weights.bytes + round(1.2 * work[2]) + 2**28
    plans = [memory.plan_memory(each, FreeMemory(free, 2**38)) for each in (one, four)]
    assert [plan.name for plan, _ in plans] == ["streamed", "decode-alone"]
    assert plans[1][1].endswith(" GB, on each of 4 cards") and "cards" not in plans[0][1]


def test_offloaded_weights_take_memory_for_every_process() -> None:
    plan = memory.choose_plan(needs_of(CUDA, 1), 2**33, "streamed")[0]
    one, two = (memory.estimate(needs_of(CUDA, n), plan).host for n in (1, 2))
    text = 2 * needs_of(CUDA, 1).text.block_parameters  # which the first process alone reads
    assert two - one == one - text > 0


def test_processes_in_one_memory_are_counted_together() -> None:
    plan = memory.choose_plan(needs_of(CPU, 1), 2**37, "decode-alone")[0]
    both = needs_of(CPU, 2, guided=False)
    one, two = memory.estimate(replace(both, processes=1), plan), memory.estimate(both, plan)
    network, each = one.sample.weights, one.sample.work
    assert (two.sample.weights, two.sample.work) == (2 * network + PROCESS_BYTES, 2 * each)
    assert two.text.weights == one.text.weights + network + PROCESS_BYTES
    assert two.decode.weights == 2 * one.decode.weights + PROCESS_BYTES
    lacks = r"GB are needed at least \(.*, all 2 processes\), .* fewer processes \(--gpus\)"
    with pytest.raises(OutOfMemory, match=lacks):
        memory.plan_memory(both, FreeMemory(round(1.5 * network)))
    memory.plan_memory(replace(both, processes=1), FreeMemory(round(1.5 * network)))


def test_the_fullest_card_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sora.memory.free.free_memory", lambda device: 2**30 * (80 - 50 * (device.index or 0)))
    assert memory.measure_least_free(CUDA, 2).device == 30 * 2**30
    monkeypatch.setattr(memory, "measure_least_free", lambda device, processes: FreeMemory(2**30 * processes, 2**40))
    with pytest.raises(OutOfMemory, match=r"on each of 2 cards\), and 2\.0 GB are free"):
        models.preview_memory_plan(ROW, CANVAS, CUDA, torch.bfloat16, encodes=False, processes=2)


def test_a_dry_run_says_whose_memory_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [2**37]
    monkeypatch.setattr(memory, "measure_least_free", lambda device, processes: FreeMemory(free[0]))
    asked = Request(verb="generate", prompt="a red cat", model="wan2.1-1.3b", device="cpu", gpus=2)
    assert str(dry_run.facts(resolve(asked))["memory"]).endswith(" of 128.0 GB, all 2 processes")
    free[0] = 2**33
    assert "fewer processes (--gpus)" in dry_run.facts(resolve(asked))["memory"]
    with pytest.raises(UsageError, match=r"cannot divide the 12 attention heads"):
        dry_run.facts(resolve(msgspec.structs.replace(asked, gpus=5)))


def test_time_is_divided_and_what_is_sent_is_added() -> None:
    work = models.canvas_work(ROW, CANVAS, encodes=False)
    assert work is not None

    def seconds(devices: int, steps: float, guided: float) -> float:
        how: dict[str, Any] = {"steps": steps, "guided": guided, "itemsize": 2, "rate": 20.0}
        divided = parallel_work.division(devices, 40, guided=True)
        return sum(divided.sampling(lambda each: {"products": each.one_pass / 500}, work, **how).values())

    alone = work.one_pass / 500
    assert seconds(1, steps=10, guided=6) == pytest.approx(16 * alone)
    assert seconds(2, steps=10, guided=10) == pytest.approx(10 * alone), "nothing is sent where each has a prompt"
    # By hand: in each of 40 blocks one of eight sends seven eighths of 4 tensors of 4,095 tokens, one of four as here.
    sent = [40 * (n - 1) / n * 4 * 32760 / n * 5120 * 2 / 1e9 for n in (4, 8)]
    assert [parallel_work.gigabytes_sent(work, n, 2) for n in (4, 8)] == pytest.approx(sent, rel=0.01)
    half, whole = alone / 4 + sent[0] / 20, alone / 8 + sent[1] / 20
    assert seconds(8, steps=10, guided=6) == pytest.approx(6 * half + 4 * whole, rel=0.01)
    assert [parallel_work.decoding_share(21, n) for n in (1, 2, 4)] == [1, 11 / 21, 6 / 21]


def test_cards_are_forecast_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = of_card("NVIDIA H100 80GB HBM3")
    assert rates is not None
    monkeypatch.setattr(devices, "described", lambda *_: devices.Device("H100", rates))

    def phases(gpus: int | None, **more: Any) -> dict[str, float]:
        request = Request(verb="generate", prompt="a red cat", model=ROW.name, gpus=gpus, steps=20, **more)
        resolved = resolve(request)
        machine = forecast.machine_of(resolved, CUDA, torch.bfloat16, None)
        assert machine.key.device == ("H100" if gpus is None else f"{gpus} x H100")
        return forecast.film_seconds(resolved, machine, forecast.canvases_of(resolved) or ())

    one, two, four = phases(None), phases(2), phases(4)
    assert one["sample"] == pytest.approx(2 * two["sample"], rel=0.01)
    assert 2 * four["sample"] > two["sample"] > 1.7 * four["sample"], "half of the tokens each, and what is sent"
    assert one["encode"] == two["encode"] and two["decode"] < 0.6 * one["decode"]
    fast = [phases(n, speed="fast")["sample"] for n in (None, 2)]
    assert 1.7 < fast[0] / fast[1] < 2, "none rests in steps without guidance"
