"""The estimate of memory against live tensors, and the choice among plans by it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from live_tensors import live_peak, painting_of, transformer_run, vae_runs
from sora import catalog, memory
from sora.errors import OutOfMemory, UsageError
from sora.memory import PLANS_BY_SPEED, Estimate, FreeMemory, MemoryPlan, WeightsSize, free, plans
from sora.models.wan import transformer_memory as work
from sora.models.wan import vae_memory as maps
from sora.models.wan.layout import CONFIGS
from sora.models.wan.needs import memory_needs, memory_needs_of
from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vace import build_transformer
from sora.networks.wan.vae import WAN21, WAN22, WanVAE

GB = 2**30

T2V_14B = Workload(  # sizes as published, so that no network need be built
    Transformer(WeightsSize(14_288_491_584), 14_055_772_160, 351_394_304, 40, 5120, 128, 13824),
    TextEncoder(WeightsSize(5_680_910_336), 4_630_757_376, 24, 4096, 10240, 64),
    Autoencoder(weights=WeightsSize(126_892_531, 4)),
    latents=(16, 21, 60, 104),
)
A14B = replace(T2V_14B, transformer=replace(T2V_14B.transformer, experts=2))


def choose(painting: Workload, *how: Any, **more: Any) -> tuple[MemoryPlan, Estimate]:
    return memory.choose_plan(memory_needs_of(painting), *how, **more)


def estimate(painting: Workload, plan: MemoryPlan) -> Estimate:
    return memory.estimate(memory_needs_of(painting), plan)


def next_rung(painting: Workload, plan: MemoryPlan, phase: str, free: FreeMemory) -> tuple[MemoryPlan, Estimate]:
    return memory.fallback(memory_needs_of(painting), plan, phase, free)


# The estimate against the networks.

WIDE = WanConfig(num_layers=2, heads=4, head_dim=32, text_dim=24, ffn_dim=768)
CASES = {
    "attention dearest": (replace(WIDE, ffn_dim=256), False),
    "feed-forward dearest": (WIDE, False),
    "two times": (WIDE, True),
    "control": (replace(WIDE, vace_layers=(0, 1)), False),
    "pictures": (replace(WIDE, in_channels=36, image_dim=32), False),
}


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_a_pass_takes_what_is_estimated(case: str, number: int):
    config, times = CASES[case]
    shape = (5, 24, 32)
    needs = painting_of(config, shape, 2, number)
    needs = replace(needs, transformer=replace(needs.transformer, text=(16, config.text_dim)))
    # As on an accelerator; a CPU turns queries and keys in less.
    taken = live_peak(transformer_run(config, shape, needs, times="runs" if times else ""))
    assert taken == pytest.approx(work.transformer(needs, quantized=False), rel=0.15)


VARIANTS: dict[str, dict[str, Any]] = {
    "fused": {"fused": True},
    "text kept": {"keeps_text": True},
    "fused, text kept": {"fused": True, "keeps_text": True},
    "quantized": {"quantized": True},
    "quantized, text kept": {"quantized": True, "keeps_text": True},
}


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("case", ["attention dearest", "feed-forward dearest", "control"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pass_takes_what_is_estimated_for_how_it_runs(variant: str, case: str, number: int):
    how, (config, _), shape = VARIANTS[variant], CASES[case], (3, 24, 32)
    needs = painting_of(config, shape, 2, number)
    needs = replace(needs, transformer=replace(needs.transformer, text=(16, config.text_dim)))
    taken = live_peak(transformer_run(config, shape, needs, **how))
    assert taken == pytest.approx(work.transformer(needs, **{"quantized": False, **how}), rel=0.15)


@pytest.mark.parametrize("index", ["runs", "tokens"])
def test_shared_timesteps_take_no_more(index: Any):
    config, shape = CASES["attention dearest"][0], (5, 24, 32)
    needs = painting_of(config, shape, 1, 2)
    needs = replace(needs, transformer=replace(needs.transformer, text=(16, config.text_dim)))
    taken = live_peak(transformer_run(config, shape, needs, times=index, fused=True, keeps_text=True))
    assert taken == pytest.approx(work.transformer(needs, quantized=False, fused=True, keeps_text=True), rel=0.15)


@pytest.mark.parametrize("batch", [1, 2])
def test_windows_at_once_take_a_pass_of_all(batch: int):
    config, shape = CASES["attention dearest"][0], (2, 16, 20)
    needs = replace(painting_of(config, shape, batch, 2), windows=3)
    needs = replace(needs, transformer=replace(needs.transformer, text=(16, config.text_dim)))
    taken = live_peak(transformer_run(config, shape, replace(needs, windows=1, batch=3 * batch)))
    assert taken == pytest.approx(work.transformer(needs, quantized=False), rel=0.15)
    one = replace(needs, windows=1)
    assert work.sampler(needs) == 3 * work.sampler(one) and work.kept_text(needs) == 3 * work.kept_text(one)
    assert memory_needs_of(needs).decoding_bytes(None) == memory_needs_of(one).decoding_bytes(None)


@pytest.mark.parametrize(
    ("device", "frames", "guidance", "expected"),
    [("cuda", 5, 5.0, True), ("cuda", 81, 5.0, False), ("cuda", 5, 1.0, False), ("cpu", 1, 5.0, True)],
)
def test_guidance_is_one_batch_where_the_model_makes_it_one(device: str, frames: int, guidance: float, expected: bool):
    spec = catalog.find("wan2.1-1.3b")
    spec = replace(spec, defaults=replace(spec.defaults, guidance=guidance))
    shape = frames, 256, 256 if frames == 5 else 832
    found = memory_needs(spec, None, shape, torch.device(device), torch.bfloat16, encodes=False)
    assert found.batches_guidance == expected


def test_a_reference_takes_a_latent_of_a_pass_and_none_of_the_autoencoder():
    config, references = CASES["control"][0], 2
    needs = replace(painting_of(config, (3, 24, 32), 2, 2), references=references)
    needs = replace(needs, transformer=replace(needs.transformer, text=(16, config.text_dim)))
    taken = live_peak(transformer_run(config, (references + 3, 24, 32), needs))
    assert taken == pytest.approx(work.transformer(needs, quantized=False), rel=0.15)
    longer, alone = replace(needs, latents=(16, 5, 24, 32), references=0), replace(needs, references=0)
    how = {"sequential_guidance": False, "quantized": False, "caches_text": False}
    assert memory_needs_of(needs).sampling_bytes(**how) == memory_needs_of(longer).sampling_bytes(**how)
    assert memory_needs_of(needs).decoding_bytes(None) == memory_needs_of(alone).decoding_bytes(None)


def test_control_latents_are_kept_in_float32_while_sampling():
    config, shape = CASES["control"][0], (5, 24, 32)
    needs = painting_of(config, shape, 1, 2)
    plain = replace(needs, transformer=replace(needs.transformer, control_channels=0))
    assert work.sampler(needs) - work.sampler(plain) == 4 * config.vace_in_channels * 5 * 24 * 32


@pytest.mark.parametrize(
    ("length", "number", "tile"),
    [(1, torch.float32, None), (2, torch.float32, None), (2, torch.bfloat16, None), (2, torch.float32, 16)],
)
@pytest.mark.parametrize("config", [WAN21, WAN22], ids=["2.1", "2.2"])
def test_an_autoencoder_takes_what_is_estimated(config: Any, length: int, number: torch.dtype, tile: int | None):
    with torch.device("meta"):
        sizes = Autoencoder.of(WanVAE(config), number.itemsize)
    runs = vae_runs(config, (length, 16, 20), number, tile)
    latents = (config.z_dim, length, 16, 20)
    assert live_peak(runs["encode"]) == pytest.approx(maps.encoding(sizes, latents, tile), rel=0.15)
    assert live_peak(runs["decode"]) == pytest.approx(maps.decoding(sizes, latents, tile), rel=0.15)


@pytest.mark.parametrize(
    ("length", "at_once", "tile", "fused"),
    [(1, 1, None, True), (2, 1, None, True), (4, 2, None, False), (4, 3, None, True), (4, 3, 16, True)],
)
@pytest.mark.parametrize("config", [WAN21, WAN22], ids=["2.1", "2.2"])
def test_several_latents_and_fused_norms_take_what_is_estimated(
    config: Any, length: int, at_once: int, tile: int | None, fused: bool
):
    with torch.device("meta"):
        sizes = Autoencoder.of(WanVAE(config), 2, fused=fused)
    runs = vae_runs(config, (length, 16, 20), torch.bfloat16, tile, latents_at_once=at_once, fused=fused)
    latents = (config.z_dim, length, 16, 20)
    assert live_peak(runs["encode"]) == pytest.approx(maps.encoding(sizes, latents, tile, at_once), rel=0.15)
    assert live_peak(runs["decode"]) == pytest.approx(maps.decoding(sizes, latents, tile, at_once), rel=0.15)


def test_attention_that_is_not_fused_holds_scores():
    few = replace(T2V_14B, latents=(16, 1, 16, 16), scores=2**31 - 1)
    fused = work.transformer(replace(few, scores=0), quantized=False)
    assert work.transformer(few, quantized=False) - fused == 2 * 2 * (2 * 40 * 64 * 64)
    many = replace(T2V_14B, scores=2**31 - 1)
    fused = work.transformer(T2V_14B, quantized=False)
    assert work.transformer(many, quantized=False) - fused == 2 * 2 * (2**31 - 1)


def test_a_tile_after_another_takes_less_than_all_at_once():
    vae, latents = T2V_14B.vae, T2V_14B.latents
    alone = maps.decoding(replace(vae, tile_by_tile=True), latents, 16)
    assert alone < 0.4 * maps.decoding(vae, latents, 16)
    assert maps.decoding(replace(vae, tile_by_tile=True), latents, None) == maps.decoding(vae, latents, None)


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-vace-1.3b", "wan2.1-14b"])
def test_sizes_are_read_off_networks(name: str):
    with torch.device("meta"):
        network = build_transformer(CONFIGS[name])
    read = Transformer.of(network, 0.5625, experts=2)
    assert read.weights == WeightsSize(sum(p.numel() for p in network.parameters()), 0.5625)
    assert read.weights.bytes == pytest.approx(0.5625 * read.weights.parameters, abs=1)
    assert read.largest * read.blocks >= read.in_blocks > 0.9 * read.weights.parameters
    assert bool(read.control_channels) == ("vace" in name) and read.experts == 2
    assert read.blocks == {"wan2.1-1.3b": 30, "wan2.1-vace-1.3b": 45, "wan2.1-14b": 40}[name]
    if name.endswith("14b"):
        published = replace(T2V_14B.transformer, weights=read.weights, experts=2)
        assert read == published and read.weights.parameters == T2V_14B.transformer.weights.parameters


def test_sizes_of_other_parts_are_read_off_networks():
    with torch.device("meta"):
        assert TextEncoder.of(UMT5(UMT5Config())) == T2V_14B.text
        assert Autoencoder.of(WanVAE(WAN21)) == T2V_14B.vae


# The choice.


def test_names_are_unique_and_found():
    assert len(set(memory.PLAN_NAMES)) == len(PLANS_BY_SPEED)
    assert all(plans.find(plan.name) is plan for plan in PLANS_BY_SPEED)
    with pytest.raises(UsageError, match=r"try --memory resident, text-dropped"):
        choose(T2V_14B, 80 * GB, "huge")


@pytest.mark.parametrize(
    ("needs", "free_gb", "name"),
    [
        (T2V_14B, 80, "resident"),
        (T2V_14B, 45, "text-dropped"),
        (T2V_14B, 34, "one-prompt"),
        (T2V_14B, 24, "streamed"),
        (A14B, 140, "resident"),
        (A14B, 70, "text-dropped"),
        (A14B, 48, "one-expert"),
        (replace(T2V_14B, latents=(16, 21, 90, 160)), 20, "streamed-tiled"),
    ],
)
def test_the_first_that_fits_is_chosen(needs: Workload, free_gb: int, name: str):
    plan, found = choose(needs, free_gb * GB)
    assert plan.name == name
    assert found.free == free_gb * GB and found.peak < free_gb * GB
    assert memory.fits(found, free_gb * GB)


each_machine = given(
    gigabytes=st.floats(1, 100),
    side=st.integers(1, 45),
    length=st.integers(1, 21),
    experts=st.sampled_from([1, 2]),
    encodes=st.booleans(),
    unified=st.booleans(),
)


def machine(
    gigabytes: float, side: int, length: int, experts: int, encodes: bool, unified: bool
) -> tuple[Workload, int]:
    transformer = replace(T2V_14B.transformer, experts=experts)
    latents = (16, length, 2 * side, 2 * side)
    return replace(T2V_14B, transformer=transformer, latents=latents, encodes=encodes, unified=unified), int(
        gigabytes * GB
    )


@settings(max_examples=60)
@each_machine
def test_what_is_chosen_fits_and_nothing_before_it_does(**sizes: Any):
    needs, there = machine(**sizes)
    try:
        plan, found = choose(needs, there)
    except OutOfMemory:
        plan, found = None, None
    order = [rung.name for rung in PLANS_BY_SPEED if rung.is_exact]
    before = order if plan is None else order[: order.index(plan.name)]
    for name in before:
        assert not memory.fits(choose(needs, there, name)[1], there)
    if plan is not None and found is not None:
        assert plan.is_exact and memory.fits(found, there)
        more, _ = choose(needs, there + GB)
        assert order.index(more.name) <= order.index(plan.name)
        assert not (needs.unified and found.host)


@settings(max_examples=40)
@each_machine
def test_running_out_leads_down_until_nothing_is_left(**sizes: Any):
    needs, there = machine(**sizes)
    for phase in memory.PHASES:
        plan, found = choose(needs, there, "resident")
        for _ in range(20):
            before = found.phase(phase).total
            try:
                plan, found = next_rung(needs, plan, phase, FreeMemory(there))
            except OutOfMemory as error:
                assert "--frames" in str(error)
                break
            assert plan.is_exact and found.phase(phase).total < before
        else:
            pytest.fail("it never ended")


def test_as_many_blocks_stay_as_fit():
    plan, found = choose(T2V_14B, 24 * GB)
    assert plan.resident_blocks is not None and 5 < plan.resident_blocks < 38
    assert not memory.fits(estimate(T2V_14B, replace(plan, resident_blocks=plan.resident_blocks + 1)), 24 * GB)
    block = T2V_14B.transformer.in_blocks * 2 // 40
    assert found.host == pytest.approx((40 - plan.resident_blocks) * block, rel=1e-6)
    fewer = estimate(T2V_14B, replace(plan, resident_blocks=plan.resident_blocks - 1))
    assert found.sample.total - fewer.sample.total == pytest.approx(block, rel=1e-6)


def test_a_plan_by_name_is_taken_even_if_it_does_not_fit():
    plan, found = choose(T2V_14B, 8 * GB, "resident")
    assert plan == replace(PLANS_BY_SPEED[0])
    assert memory.summary(plan, found).endswith("of 8.0 GB, which may not be enough")
    fp8, small = choose(T2V_14B, 24 * GB, "fp8")
    assert not fp8.is_exact and small.sample.weights == pytest.approx(T2V_14B.transformer.weights.parameters, rel=1e-6)


def test_weights_that_are_small_already_stay_so_in_fp8():
    small = replace(T2V_14B.transformer, weights=WeightsSize(T2V_14B.transformer.weights.parameters, 0.5625))
    needs = replace(T2V_14B, transformer=small)
    fp8, native = (estimate(needs, plans.find(name)) for name in ("fp8", "one-expert"))
    assert fp8.sample == native.sample
    few = (16, 1, 16, 16)  # where dequantizing takes more than tokens do
    small_work = estimate(replace(needs, latents=few), plans.find("one-expert")).sample.work
    assert small_work > estimate(replace(T2V_14B, latents=few), plans.find("one-expert")).sample.work


def test_nothing_fits_says_what_is_needed_and_what_to_do():
    with pytest.raises(OutOfMemory, match=r"^[\d.]+ GB are needed at least \(\w+\), and 2.0 GB are free; paint fewer"):
        choose(T2V_14B, 2 * GB)
    with pytest.raises(OutOfMemory, match=r"[\d.]+ GB of CPU memory hold what streams \(streamed.*\), and 8.0 GB are"):
        choose(T2V_14B, 20 * GB, host_bytes=8 * GB)
    unified = replace(T2V_14B, unified=True)
    with pytest.raises(OutOfMemory, match="or try --memory fp8, which paints slightly otherwise"):
        choose(unified, 24 * GB)


def test_the_least_that_is_needed_is_enough():
    with pytest.raises(OutOfMemory) as caught:
        choose(T2V_14B, 2 * GB)
    least = float(str(caught.value).split(" GB")[0])
    choose(T2V_14B, round((least + 0.06) * GB))
    with pytest.raises(OutOfMemory):
        choose(T2V_14B, round((least - 0.2) * GB))


def test_a_text_encoder_that_does_not_fit_is_streamed():
    plan, found = choose(replace(T2V_14B, latents=(16, 1, 60, 104)), 9 * GB)
    assert plan.text_encoder == "streamed" and found.text.total < 4 * GB


def test_what_makes_no_difference_is_left_out():
    plan, found = choose(replace(T2V_14B, latents=(16, 3, 32, 32), batch=1), 80 * GB, "fp8")
    assert plan.tile is None and not plan.single_expert and not plan.sequential_guidance
    assert memory.summary(plan, found) == (
        "memory: text encoder dropped after use, weights kept in float8, transformer and autoencoder apart,"
        f" {found.peak / GB:.1f} of 80.0 GB"
    )


def test_the_line_for_a_person():
    plan, found = choose(T2V_14B, 80 * GB)
    assert memory.summary(plan, found) == f"memory: everything resident, {found.peak / GB:.1f} of 80.0 GB"
    plan, found = choose(T2V_14B, 24 * GB)
    assert f"blocks streamed from CPU memory, {plan.resident_blocks} stay" in memory.summary(plan, found)
    assert "GB" in memory.summary(plan, replace(found, free=None))


@pytest.mark.parametrize("name", memory.PLAN_NAMES)
def test_phases_hold_what_the_plan_says(name: str):
    plan = plans.find(name)
    found = estimate(replace(A14B, encodes=True), plan)
    text, one = A14B.text.weights.bytes, A14B.transformer.weights.bytes
    assert (found.text.weights > text) == (plan.text_encoder == "resident")
    assert (found.decode.weights < 2 * GB) == plan.separate_vae == (found.encode.weights < 2 * GB)
    assert (found.sample.weights >= 2 * one) == (not plan.single_expert)
    assert bool(found.host) == (plan.resident_blocks is not None)
    if plan.resident_blocks is not None:
        assert found.sample.weights < 0.1 * one and found.host > 1.8 * one


def test_choosing_needs_no_torch():
    code = (
        "import sys; from sora.memory import *;"
        "needs = Needs(NetworkSize(WeightsSize(10**9), 9 * 10**8, 30, 3 * 10**7), WeightsSize(10**8, 4), 8,"
        " lambda **_: 10**8, lambda tile: 10**8, text=NetworkSize(WeightsSize(10**9), 9 * 10**8, 24));"
        "print(summary(*choose_plan(needs, 24 * 2**30)), free_ram()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What is free.


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which /proc and /sys are pretended: 20 GB available, no control group."""
    monkeypatch.setattr(free, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free, "CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text(f"MemTotal: {32 * 2**20} kB\nMemAvailable: {20 * 2**20} kB\n")
    return tmp_path


def test_free_ram_is_what_linux_says(linux: Path):
    assert memory.free_memory(torch.device("cpu")) == memory.free_ram() == 20 * GB
    (linux / "memory.max").write_text("max\n")
    assert memory.free_ram() == 20 * GB


def test_free_ram_keeps_within_a_container(linux: Path):
    (linux / "memory.max").write_text(f"{8 * GB}\n")
    (linux / "memory.current").write_text(f"{5 * GB}\n")
    (linux / "memory.stat").write_text(f"anon {3 * GB}\ninactive_file {2 * GB}\n")
    assert memory.free_ram() == 5 * GB
    (linux / "memory.current").write_text(f"{11 * GB}\n")
    assert memory.free_ram() == 0


def test_free_ram_where_nobody_says(linux: Path, monkeypatch: pytest.MonkeyPatch):
    (linux / "meminfo").unlink()
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 4 * 2**20, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory.free_ram() == 8 * GB
    monkeypatch.delattr("os.sysconf")
    assert memory.free_ram() == free.FALLBACK


def test_free_memory_of_devices(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5 * GB, 8 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: GB)
    assert memory.free_memory(torch.device("cuda")) == 6 * GB
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * GB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2 * GB)
    assert memory.free_memory(torch.device("mps")) == 10 * GB
