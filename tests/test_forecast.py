"""Seconds that are predicted: from the rates of devices, from what was painted here, and how they are shown."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from conftest import Blotches
from sora import memory, models
from sora.cli import app, duration
from sora.engine.progress import ProgressEvent
from sora.jobs import calibration, forecast, own_runs, passes, phase_terms
from sora.jobs.delivery import InMemory
from sora.jobs.forecast import Forecast, Machine
from sora.jobs.own_runs import Run, RunKey
from sora.jobs.phase_clock import PhaseClock
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.memory.plans import find
from sora.models import compile_cost
from sora.plan.request import Request
from sora.runtime import device as devices
from sora.runtime import rates
from sora.runtime.device import Device
from sora.storage import cache
from sora.weights import page_cache

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
H100 = rates.of_card("NVIDIA H100 80GB HBM3")
KEY = RunKey("a card", "bfloat16", "wan", "wan2.1-1.3b", "exact")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "state"


def asked(model: str, **values: Any) -> ResolvedRequest:
    fields: dict[str, Any] = {"verb": "generate", "prompt": "a red ball", "seed": 1, "model": model}
    return resolve(Request(**fields | values), InMemory(anyway=True))


def on_h100(resolved: ResolvedRequest, monkeypatch: pytest.MonkeyPatch, plan: str = "resident") -> Machine:
    monkeypatch.setattr(devices, "described", lambda device, threads: Device("H100", H100))
    return forecast.machine_of(resolved, CUDA, torch.bfloat16, find(plan))


def phases(resolved: ResolvedRequest, machine: Machine) -> dict[str, float]:
    canvases = forecast.canvases_of(resolved)
    assert canvases is not None
    return forecast.film_seconds(resolved, machine, canvases)


# Against what a card took.

PASSES = {  # seconds of a pass on an H100: plain, compiled
    "wan2.2-ti2v-5b": (1.125, 0.878),
    "wan2.1-1.3b": (0.649, 0.515),
    "wan2.1-vace-1.3b": (1.004, None),
}


@pytest.mark.parametrize("model", PASSES)
def test_passes_of_an_h100(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = asked(model, steps=200, sampler="euler", guidance=1.0)
    plain, compiled = PASSES[model]
    found = forecast.sampling_seconds(resolved, CUDA, torch.bfloat16) if on_h100(resolved, monkeypatch) else None
    assert found is not None and found / 200 == pytest.approx(plain, rel=0.06)
    if compiled:
        assert phases(resolved, on_h100(resolved, monkeypatch))["sample"] / 200 == pytest.approx(compiled, rel=0.06)


def test_references_of_an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of VACE 1.3B with a control signal took 1.004 s alone and 1.234 s with three references, uncompiled."""
    resolved = asked("wan2.1-vace-1.3b", disable=("compile",))
    machine, canvas = on_h100(resolved, monkeypatch), next(iter(forecast.canvases_of(resolved) or ()))
    for references, seconds in ((0, 1.004), (3, 1.234)):
        work = models.canvas_work(resolved.spec, (81, 480, 832), encodes=True, references=references)
        assert work is not None
        found = forecast.film_seconds(resolved, machine, [replace(canvas, work=work)])["sample"] / canvas.passes
        assert found == pytest.approx(seconds, rel=0.06)


@pytest.mark.parametrize(("frames", "seconds"), [(17, 0.25), (480, 8.2)])
def test_the_embedded_model_on_an_h100(frames: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took so long there without loading, most of it on the CPU; into a file it takes a little longer."""
    resolved = asked("mini", frames=frames)
    machine = replace(on_h100(resolved, monkeypatch), plan=None, may_compile=False)
    found = phases(resolved, machine)
    assert seconds / 2 < sum(found.values()) - found["load"] < 2 * seconds


CODERS = {  # seconds of decoding and encoding on an H100: float16, float32
    "wan2.1-1.3b": ((1.54, 0.93), (2.84, 1.76)),
    "wan2.2-ti2v-5b": ((5.37, 1.58), (9.40, 3.24)),
}


@pytest.mark.parametrize("model", CODERS)
@pytest.mark.parametrize("half", [True, False])
def test_autoencoders_of_an_h100(model: str, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = asked(model, disable=() if half else ("half-vae",))
    machine, (decode, encode) = on_h100(resolved, monkeypatch), CODERS[model][0 if half else 1]
    canvas, shape = next(iter(forecast.canvases_of(resolved) or ())), resolved.largest_canvas[0]
    known = models.canvas_work(resolved.spec, shape, encodes=True)
    assert known is not None and canvas.encode.operations == 0, "there is nothing known in a film from words"
    found = forecast.film_seconds(resolved, machine, [replace(canvas, encode=known.encode)])
    assert found["decode"] == pytest.approx(decode, rel=0.2)
    assert found["encode"] == pytest.approx(encode, rel=0.25)  # with two texts, 0.03 s


def test_loading_and_text_of_an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two texts of 512 words took 0.030 s, and a checkpoint came at 14.6 GB/s."""
    resolved = asked("wan2.1-1.3b")
    machine = on_h100(resolved, monkeypatch)
    assert machine.rates.loading == 14.6
    work = next(iter(forecast.canvases_of(resolved) or ())).work
    assert 2 * work.text / (phase_terms.TEXT_SHARE * machine.rates.matrix[0]) == pytest.approx(0.030, rel=0.1)
    assert work.encode.operations == 0, "nothing is known, and nothing encoded"
    gigabytes = 2 * (work.parameters["transformer"] + work.parameters["text_encoder"] + work.parameters["vae"])
    assert phases(resolved, machine)["load"] == pytest.approx(machine.rates.start + gigabytes / 14.6)


# What changes them.


@pytest.mark.parametrize(
    ("values", "times"),
    [
        ({"guidance": 1.0}, 0.5),
        ({"steps": 25}, 0.5),
        ({"sampler": "heun"}, 2 - 1 / 50),
        ({"speed": "fast", "steps": 6, "guidance": 1.0}, 6 / 100),
        ({"draft": True, "guidance": 1.0, "size": "416x240", "frames": 1}, None),
    ],
)
def test_sampling_follows_its_settings(values: dict[str, Any], times: float | None) -> None:
    usual, other = (forecast.sampling_seconds(asked("wan2.1-1.3b", **v), CPU, torch.float32) for v in ({}, values))
    assert usual is not None and other is not None
    assert other / usual < 0.01 if times is None else other / usual == pytest.approx(times, rel=1e-3)


def test_variants_and_windows_add_up() -> None:
    def of(**values: Any) -> float:
        found = forecast.sampling_seconds(asked("mini", **values), CPU, torch.float32)
        assert found is not None
        return found

    assert of(prompt="a {red|blue} ball") == pytest.approx(2 * of())
    assert of(frames=33) > of() > of(draft=True)
    assert 2 * of(frames=33) < of(frames=100) < 5 * of(frames=33)


def test_memory_plans_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SORA_CACHE", str(tmp_path))  # where nothing was compiled before
    monkeypatch.delenv(compile_cost.VARIABLE, raising=False)  # torch sets it where something was
    resolved = asked("wan2.1-14b", size="416x240", frames=17, steps=500)
    whole, streamed, tiled = (
        phases(resolved, on_h100(resolved, monkeypatch, plan)) for plan in ("resident", "streamed", "streamed-tiled")
    )
    assert whole["compile"] == streamed["compile"] > 0
    # 14 billion parameters of blocks, two bytes each, at 50 GB/s in every one of 1000 passes.
    assert streamed["sample"] == pytest.approx(1000 * 2 * 14.05 / 50, rel=0.02) and streamed["sample"] > whole["sample"]
    fast = asked("wan2.1-14b", size="416x240", frames=17, steps=500, speed="fast")
    in_float8 = {plan: on_h100(fast, monkeypatch, plan) for plan in ("resident", "streamed", "fp8")}
    assert [machine.float8 for machine in in_float8.values()] == [True, True, False]
    copied = phases(resolved, in_float8["streamed"])["sample"]  # of as many passes, 1.15 bytes for each parameter
    assert copied == pytest.approx(1000 * 1.15 * 14.05 / 50, rel=0.03)
    assert tiled["decode"] > 1.2 * whole["decode"] and tiled["load"] == whole["load"], (
        "one window has nothing to encode"
    )
    longer = asked("wan2.1-14b", size="416x240", frames=150)
    assert phases(longer, on_h100(longer, monkeypatch, "streamed-tiled"))["load"] > whole["load"]
    (cache.folder() / "compiled" / "fxgraph" / "ab").mkdir(parents=True)
    compile_cost.mark("a graph")
    again = phases(resolved, on_h100(resolved, monkeypatch))
    assert again["compile"] < whole["compile"] / 4
    short = asked("wan2.1-1.3b", size="416x240", frames=5, steps=2)
    assert phases(short, on_h100(short, monkeypatch))["compile"] == 0, "too little to gain"
    assert phases(short, replace(on_h100(short, monkeypatch), compiled=True))["compile"] > 0, "as a session may have"


def test_weights_that_are_not_in_the_page_cache_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = asked("wan2.1-1.3b")
    cached = on_h100(resolved, monkeypatch)
    seconds = [phases(resolved, replace(cached, on_disk=share))["load"] for share in (0.0, 0.5, 1.0)]
    gigabytes = (seconds[0] - cached.rates.start) * cached.rates.loading
    assert [each - seconds[0] for each in seconds] == pytest.approx([0, gigabytes / 2, gigabytes])


def test_the_page_cache_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in ("large", "small")]
    for file, size in zip(files, (3 << 20, 1 << 20), strict=True):
        file.write_bytes(b"x" * size)
    assert page_cache.share_on_disk([*files, tmp_path / "missing", tmp_path]) == 0, "just written"
    if not hasattr(os, "RWF_NOWAIT"):
        return
    real, small = os.preadv, files[1].stat().st_ino

    def preadv(descriptor: int, *args: Any) -> int:
        if os.fstat(descriptor).st_ino == small:
            raise BlockingIOError
        return real(descriptor, *args)

    monkeypatch.setattr(os, "preadv", preadv)
    assert page_cache.share_on_disk(files) == 0.25
    monkeypatch.setattr(os, "preadv", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "not here")))
    assert page_cache.share_on_disk(files) == 0, "where nobody can tell"


def test_what_was_read_from_the_disk_is_kept_apart() -> None:
    """A first start, from the disk, says nothing of the next one, from the page cache."""
    cold = {"load fixed": 1.0, "load weights": 2.0, "load disk": 10.0}
    warm = {"load fixed": 1.0, "load weights": 2.0}
    found = calibration.factors(seen({"load disk": 3.0}, cold, warm), cold)
    assert found["load disk"] == pytest.approx(3.0, rel=0.15)
    assert sum(found[name] * each for name, each in warm.items()) == pytest.approx(3.0, rel=0.15)


def test_texts_that_are_cached_need_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = asked("wan2.1-1.3b", prompt="a {red|blue} ball", guidance=4.0)
    machine = on_h100(resolved, monkeypatch)
    names = {each.texts[0] for each in resolved.variants}
    assert len(names) == 2 and set(passes.texts_of(resolved, resolved.variants[1])) > {resolved.variants[1].texts[0]}

    def film(*cached: str) -> dict[str, float]:
        monkeypatch.setattr(models, "texts_to_encode", lambda spec, texts, *_: tuple({*texts} - {*cached}))
        texts = forecast.texts_to_encode(resolved, resolved.variants, CUDA, torch.bfloat16)
        return forecast.film_seconds(resolved, machine, forecast.canvases_of(resolved, texts) or ())

    first, one_left, none_left = film(), film(*sorted(names)), film(*names, resolved.request.negative_prompt or "")
    assert first["encode"] > one_left["encode"] > none_left["encode"] and first["load"] == one_left["load"]
    saved = 2 * next(iter(forecast.canvases_of(resolved) or ())).work.parameters["text_encoder"] / 14.6
    assert first["load"] - none_left["load"] == pytest.approx(saved)


def test_two_experts_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = asked("wan2.1-14b"), asked("wan2.2-t2v-a14b")
    seconds = [phases(each, on_h100(each, monkeypatch))["load"] for each in (one, two)]
    assert seconds[1] - seconds[0] == pytest.approx(2 * 14.28 / 14.6, rel=0.05)


def test_several_cards_divide_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def film(gpus: int | None = None, **values: Any) -> dict[str, float]:
        resolved = asked("wan2.1-14b", gpus=gpus, sampler="euler", disable=("compile",), **values)
        machine = on_h100(resolved, monkeypatch)
        assert machine.key.device == (f"{gpus} x H100" if gpus else "H100")
        return phases(resolved, machine)

    one, two, eight = film(), film(2), film(8)
    assert two["sample"] == pytest.approx(one["sample"] / 2), "each takes a prompt"
    assert two["decode"] - 0.01 == pytest.approx((one["decode"] - 0.01) * 11 / 21)
    # Four share a prompt: in each of 40 blocks each sends three quarters of 4 tensors of 8,190 tokens, at 50 GB/s.
    sent = 50 * 40 * 0.75 * 4 * 8190 * 5120 * 2 / 50e9
    assert eight["sample"] == pytest.approx(one["sample"] / 8 + sent, rel=0.01)
    alone, together = film(guidance=1.0), film(8, guidance=1.0)
    assert alone["sample"] / 8 < together["sample"] < alone["sample"] / 4 and eight["load"] == one["load"]


def test_processes_that_share_a_cpu_are_no_faster() -> None:
    both = [asked("wan2.1-1.3b", gpus=gpus, device="cpu") for gpus in (None, 2)]
    seconds = [phases(each, forecast.machine_of(each, CPU, torch.float32, None)) for each in both]
    assert seconds[0] == seconds[1]


# Devices.


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
    ],
)
def test_cards_are_found_by_their_names(name: str, row: str) -> None:
    found = rates.of_card(name)
    assert found is not None and found.name == row


def test_a_card_of_no_row_is_estimated_by_its_multiprocessors() -> None:
    for name, sms, capability in (("H100", 132, (9, 0)), ("A100", 108, (8, 0)), ("RTX 4090", 128, (8, 9))):
        row, estimate = rates.of_card(name), rates.of_card("Quux 1", sms, capability)
        assert row is not None and estimate is not None and estimate.name == "Quux 1"
        assert 1 / 1.6 < estimate.matrix[0] / row.matrix[0] < 1.6
    assert rates.of_card("Quux 1") is None and rates.of_card("Quux 1", 10, (1, 2)) is None
    laptop = rates.of_card("NVIDIA GeForce RTX 4090 Laptop GPU", 76, (8, 9))
    assert laptop is not None and laptop.matrix[0] < 110


def test_apples_and_cpus() -> None:
    found = [rates.of_apple(f"Apple {chip}") for chip in ("M2", "M2 Max")]
    assert [each and each.name for each in found] == ["M2", "M2 Max"] and rates.of_apple("Apple Z9") is None
    assert rates.of_cpu("AVX2", 8).matrix[1] == pytest.approx(4 * rates.of_cpu("AVX2", 2).matrix[1])
    three, four = devices.described(CPU, 3), devices.described(CPU, 4)
    assert three.key == four.key and three.usual_rates.matrix[1] < four.usual_rates.matrix[1]
    assert devices.described(torch.device("cuda")).key  # also where there is none


# What was painted here.


def test_own_runs_are_kept(own_state: Path) -> None:
    assert own_runs.read() == {}
    run = Run(2.0, {"sample products": 0.5, "sample attention": 0.5})
    own_runs.add(KEY, {"sample": run, "decode": replace(run, took=math.nan), "load": replace(run, took=1e6)})
    assert own_runs.of(own_runs.read(), KEY) == {"sample": (run,)}
    for took in range(1, own_runs.MAX_RUNS + 3):
        own_runs.add(KEY, {"sample": replace(run, took=float(took))})
    assert [each.took for each in own_runs.of(own_runs.read(), KEY)["sample"]] == list(
        range(3, own_runs.MAX_RUNS + 3)
    ), "the newest"


def test_busy_runs_count_until_there_are_others() -> None:
    run = Run(5.0, {"sample products": 1.0}, busy=True)
    own_runs.add(KEY, {"sample": run})
    assert own_runs.of(own_runs.read(), KEY)["sample"] == (run,)
    quiet = Run(1.0, {"sample products": 1.0})
    for each in (quiet, run):
        own_runs.add(KEY, {"sample": each})
    assert own_runs.of(own_runs.read(), KEY)["sample"] == (quiet,)


def test_runs_of_other_models_are_told_from_the_models_own() -> None:
    run = Run(2.0, {"sample products": 1.0})
    for model in ("wan2.1-14b", "wan2.2-ti2v-5b"):
        own_runs.add(replace(KEY, model=model), {"sample": run})
    own_runs.add(replace(KEY, family="other", model="x"), {"sample": replace(run, took=100.0)})
    own_runs.add(replace(KEY, device="another card"), {"sample": replace(run, took=100.0)})
    records = own_runs.read()
    assert own_runs.of(records, KEY) == {} and own_runs.of_family(records, KEY) == ({"sample": (run,)},) * 2


def damaged(version: int = rates.VERSION, **changes: Any) -> str:
    """A file of one run, of which some fields are others."""
    run = {"took": 1, "promised": {"sample products": 1}, "busy": False} | changes
    return json.dumps({"rates": version, "runs": {"a": {"sample": [run]}}})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"rates": 2}', '{"rates": 0, "runs": {}}', '{"rates": 2, "runs": [1]}'),
        *('{"rates": 2, "runs": {"a": 3}}', '{"rates": 2, "runs": {"a": {"sample": {}}}}'),
        *(damaged(took=took) for took in (-1, "1", True, math.nan, 1e9, 1e6, None, 10**400)),
        *(damaged(busy=0), damaged(version=1)),
        *(damaged(promised=each) for each in ({}, [1], {"sample products": math.nan}, {"sample products": 0})),
        *(damaged(promised={name: 1}) for name in ("", "products", "sample  ", "s" * 17 + " x", "sample \x1b[0m")),
        damaged(promised={f"sample {'x' * n}": 1 for n in range(1, own_runs.MAX_TERMS + 2)}),
        "[" * 100_000,
        " " * (1 << 20) + "{}",
    ],
)
def test_a_damaged_file_is_as_good_as_none(text: str, own_state: Path) -> None:
    own_state.mkdir()
    own_runs.file().write_text(text)
    assert own_runs.read() == {}
    run = Run(2.0, {"sample products": 1.0})
    own_runs.add(KEY, {"sample": run})
    assert own_runs.of(own_runs.read(), KEY) == {"sample": (run,)}


def test_the_file_is_bounded(own_state: Path) -> None:
    """Also where all that is kept is as long as it can be."""
    letters = "abcdefghijkl"
    promised = {f"{16 * each} {24 * each}": 1.2345e-5 for each in letters[: own_runs.MAX_TERMS]}
    full = {16 * each: (Run(1.2345e-4, promised, True),) * own_runs.MAX_RUNS for each in letters[: own_runs.MAX_PHASES]}
    names = [replace(KEY, model=f"{n:04d} {'x' * 500}") for n in range(own_runs.MAX_RECORDS + 5)]
    own_state.mkdir()
    own_runs._write({name.text: full for name in names[-own_runs.MAX_RECORDS - 1 : -1]})
    assert own_runs.file().stat().st_size < own_runs.MAX_FILE_BYTES
    own_runs.add(names[-1], {"sample": Run(2.0, {"sample products": 1.0})})
    found = own_runs.read()
    assert len(found) == own_runs.MAX_RECORDS and names[-1].text in found
    assert names[-own_runs.MAX_RECORDS - 1].text not in found, "the oldest went"


def test_a_folder_that_cannot_be_written_fails_nothing(own_state: Path) -> None:
    own_state.write_text("a file where the folder would be")
    own_runs.add(KEY, {"sample": Run(2.0, {"sample products": 1.0})})
    assert own_runs.read() == {}


def test_a_clock_of_phases() -> None:
    seconds = iter([0, 0.5, 1.5, 4.5, 5, 5.5, 6.5, 7, 9, 9.5, 10, 13, 13.25])
    loaded = iter([0, 0, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3])
    clock, passed = PhaseClock(lambda: next(seconds), lambda: next(loaded)), list[ProgressEvent]()
    listener = clock.before(passed.append)
    events = [("encode", 0), ("encode", 1), ("sample", 1), ("sample", 2), ("decode", 4), ("decode", 8)]
    events += [("encode", 0), ("encode", 1), ("sample", 1), ("sample", 2), ("decode", 8)]
    for phase, done in events:
        listener(ProgressEvent(phase, done, 8))
    clock.stop()
    assert len(passed) == len(events) and clock.whole and (clock.steps, clock.later_steps) == (4, (2, 1.0))
    taken = {"load": 3.0, "encode": 2.5, "sample": 2.5, "decode": 5.0, "write": 0.25}
    assert clock.seconds == pytest.approx(taken)


@pytest.mark.parametrize("first", [ProgressEvent("sample", 3, 4), ProgressEvent("refine", 1, 9)])
def test_what_was_painted_in_part_is_not_measured(first: ProgressEvent) -> None:
    clock, resolved = PhaseClock(), asked("mini")
    clock.on_event(first)
    clock.stop()
    assert not clock.whole
    forecast.record(resolved, forecast.machine_of(resolved, CPU, torch.float32, None), clock, load=None, busy=False)
    assert own_runs.read() == {}


def test_a_record_gives_back_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = asked("wan2.1-1.3b", steps=200, guidance=1.0)
    for machine in (on_h100(resolved, monkeypatch), replace(on_h100(resolved, monkeypatch), may_compile=False)):
        promised, clock = phases(resolved, machine), PhaseClock()
        clock.steps, clock.later_steps = 10, (9, 9 * 3 * promised["sample"] / 10)
        clock.seconds |= {name: 3 * promised[name] for name in ("encode", "sample", "decode", "write")}
        forecast.record(resolved, machine, clock, load=3 * promised["load"], busy=False)
        found = own_runs.of(own_runs.read(), machine.key)
        assert {name: runs[-1].took / sum(runs[-1].promised.values()) for name, runs in found.items()} == pytest.approx(
            dict.fromkeys(("load", "encode", "sample", "decode", "write"), 3.0), rel=1e-3
        )


# What they say of the next.


def seen(
    machine: Mapping[str, float], *films: Mapping[str, float], noise: float = 0.08
) -> list[calibration.Observation]:
    """What films of these terms take, phase by phase, on a machine of these factors."""
    found = []
    for film in films:
        for phase in {name.split(" ")[0] for name in film}:
            terms = {name: seconds for name, seconds in film.items() if name.split(" ")[0] == phase}
            took = sum(machine.get(name, 1.0) * seconds for name, seconds in terms.items())
            found.append(calibration.Observation(took, terms, calibration.NOISE))
    return found


def test_nothing_seen_changes_nothing() -> None:
    assert calibration.factors([], ["sample products"]) == {"sample products": 1.0}


@pytest.mark.parametrize("speed", [0.2, 1.0, 7.0])
def test_one_film_says_how_fast_a_machine_is(speed: float) -> None:
    film = {"sample products": 3.0, "sample attention": 1.0, "decode convolutions": 2.0}
    found = calibration.factors(seen(dict.fromkeys(film, speed), film), [*film, "encode convolutions", "write pixels"])
    assert [found[name] for name in film] == pytest.approx([speed] * 3, rel=0.1)
    assert abs(math.log(found["encode convolutions"] / speed)) < 0.5 * abs(math.log(speed)) + 0.01, "arithmetic as well"
    assert found["write pixels"] == pytest.approx(1.0), "of other hardware"


def test_films_of_several_sizes_tell_terms_apart() -> None:
    machine = {"sample products": 0.5, "sample attention": 2.0, "sample calls": 1.0}
    short, long = (
        {"sample products": 1.0, "sample attention": 0.05},
        {"sample products": 10.0, "sample attention": 30.0},
    )
    one, both = (calibration.factors(seen(machine, *films), machine) for films in ([short], [short, long]))
    assert one["sample products"] == pytest.approx(0.55, rel=0.1) and one["sample attention"] < 0.8
    assert both["sample products"] == pytest.approx(0.5, rel=0.2)
    assert both["sample attention"] == pytest.approx(2.0, rel=0.2)


def test_a_run_far_from_all_others_counts_little() -> None:
    film = {"sample products": 1.0}
    usual = seen({"sample products": 2.0}, *[film] * 4)
    found = calibration.factors([*usual, *seen({"sample products": 40.0}, film)], film)
    assert 1.9 < found["sample products"] < 2.6


def test_newer_runs_and_the_models_own_count_more() -> None:
    def factor(own: own_runs.Phases, *others: own_runs.Phases) -> float:
        found = calibration.factors(calibration.observations(own, others), ["sample products"])
        return found["sample products"]

    slow, fast = (Run(took, {"sample products": 1.0}) for took in (1.5, 1.0))
    assert factor({"sample": (slow, fast)}) < math.sqrt(1.5) < factor({"sample": (fast, slow)})
    assert factor({"sample": (fast,)}, {"sample": (slow,)}) < 1.1
    assert 1.2 < factor({}, {"sample": (slow,)}) < 1.5


@given(
    st.lists(
        st.tuples(
            st.floats(1e-4, 1e6),
            st.dictionaries(st.sampled_from(["sample products", "decode pixels", "decode fixed", "load weights"]),
                            st.floats(1e-6, 1e6), min_size=1),
        ),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_whatever_was_kept_factors_are_finite(listed: list[tuple[float, dict[str, float]]]) -> None:
    runs = tuple(run for run in (Run(took, promised) for took, promised in listed) if run.is_usable)
    found = calibration.factors(calibration.observations({"sample": runs}, ()), ["sample products"])
    assert all(math.isfinite(factor) and factor > 0 for factor in found.values())


# What a person sees.


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Commands in an empty folder, which paint with a model that needs no weights."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(models, "load", lambda spec, device, dtype, speed=None: Blotches(spec, device))
    return lambda *argv: CliRunner().invoke(app, [str(a) for a in argv])


DRY = ("generate", "a red ball", "--anyway", "--dry-run")


def test_a_dry_run_says_how_long(run: Callable[..., Result]) -> None:
    line = run(*DRY, "--threads", 2).stdout.splitlines()[-1]
    assert line.startswith("time ") and "about " in line and "sampling" in line
    assert line.endswith("(from the usual rates of 2 cores)")
    seconds = json.loads(run(*DRY, "--json").stdout)["seconds"]
    assert seconds["basis"] == "rates" and set(forecast.PHASES) < set(seconds)
    assert seconds["total"] == pytest.approx(sum(seconds[name] for name in forecast.PHASES), abs=0.01)


def test_after_a_film_a_dry_run_says_what_it_took(run: Callable[..., Result], own_state: Path) -> None:
    before = json.loads(run(*DRY, "--json").stdout)["seconds"]
    assert run("generate", "a red ball", "--anyway", "-o", "a.mkv").exit_code == 0
    after = json.loads(run(*DRY, "--json").stdout)["seconds"]
    assert after["basis"].startswith("measured") and after["sample"] < 0.75 * before["sample"], "the stand-in is fast"
    assert "measured here" in run(*DRY).stdout
    kept = own_runs.file().read_text()
    assert "ball" not in kept and str(own_state.parent) not in kept and "a.mkv" not in kept
    assert "measured here" in run("models", "show", "mini").stdout


def test_no_journal_keeps_nothing(run: Callable[..., Result]) -> None:
    assert run("generate", "a red ball", "--anyway", "--no-journal", "-o", "a.mkv").exit_code == 0
    assert not own_runs.file().exists()


def test_an_unknown_device_is_known_after_a_film(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "described", lambda device, threads: Device("Quux 1", None))
    assert duration.UNKNOWN in run(*DRY).stdout
    assert json.loads(run(*DRY, "--json").stdout)["seconds"] is None
    assert forecast.sampling_seconds(asked("mini"), CPU, torch.float32) is None
    assert run("generate", "a red ball", "--anyway", "-o", "a.mkv").exit_code == 0
    assert "measured here" in run(*DRY).stdout
    assert forecast.sampling_seconds(asked("mini"), CPU, torch.float32)


def test_models_show_says_how_long(run: Callable[..., Result]) -> None:
    assert "time here" in run("models", "show", "mini").stdout
    shown = json.loads(run("models", "show", "wan2.1-1.3b", "--json").stdout)["seconds"]
    assert shown is None or shown["sample"] > 1000 or memory.choose_device(None).type != "cpu"


def test_a_persons_own_weights_are_kept_without_a_name(tmp_path: Path) -> None:
    resolved = asked("mini")
    spec = replace(resolved.spec, name="secret", folder=tmp_path)
    machine = forecast.machine_of(replace(resolved, spec=spec), CPU, torch.float32, None)
    assert "secret" not in machine.key.text and machine.key.model == "own"


@pytest.mark.parametrize(
    ("seconds", "exact", "text"),
    [
        (0.04, True, "under 0.1 s"),
        (0.437, True, "0.44 s"),
        (28.4, True, "28 s"),
        (28.4, False, "30 s"),
        (89, True, "89 s"),
        (99, True, "1.6 min"),
        (99.6 * 60, True, "1.7 h"),
        (3600 * 24 * 3.14, True, "3.1 days"),
        (130, False, "2 min"),
    ],
)
def test_durations(seconds: float, exact: bool, text: str) -> None:
    assert duration.rounded(seconds, exact=exact) == text


def test_a_line_for_a_person() -> None:
    seconds = {"load": 3.0, "compile": 0.0, "encode": 0.2, "sample": 28.0, "decode": 9.0, "write": 0.3}
    found = Forecast(seconds, "measured", "H100", files=2)
    assert duration.line(found) == "about 40 s for 2 files: 3 s loading, 28 s sampling, 9 s decoding (measured here)"
    assert duration.line(replace(found, basis="rates", files=1)).endswith("(from the usual rates of H100)")
