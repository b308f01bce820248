"""A device that computes something else than the CPU is found, refused, and used again once it agrees. The second
device of these tests is a CPU that calls itself mps, and may be wrong from some number of frames on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from msgspec import structs
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

import sora
from conftest import Footage, Studio
from sora import memory
from sora.cli import app
from sora.errors import UsageError
from sora.jobs import device_check
from sora.memory import verdicts
from sora.memory.verdicts import Identity, Verdict
from sora.models.device_tests import DeviceTest, device_tests
from sora.models.wan import probes
from sora.networks import layers
from sora.networks.clip_vision import CLIPVision, CLIPVisionConfig
from sora.networks.umt5 import UMT5Config
from sora.networks.wan.vae import WanVAEConfig
from sora.networks.wan.vae_layers import FrameCache

CPU = torch.device("cpu")
HERE = Identity("Apple M4 Pro", "macOS-26.7", str(torch.__version__))
FRAMES = (9, 33, 81)
Errors = Mapping[int, float]


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with MPS, of which nothing is known yet."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(verdicts, "identity_of", lambda device: HERE)
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))


Wrong = Callable[[Errors], None]


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Wrong:
    """wrong({81: 0.34}): from now on the device is 34 % wrong at 81 frames, and right at all others."""

    def be(errors: Errors) -> None:
        def run(frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
            right = torch.ones(frames, dtype=dtype).float()
            return right if device.type == "cpu" else right * (1 + errors.get(frames, 0.0))

        tests = [DeviceTest("decode", FRAMES, (torch.float32,), run), DeviceTest("sample", (9,), (torch.float32,), run)]
        monkeypatch.setattr(device_check, "device_tests", lambda device, dtype: tests)

    be({})
    return be


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of a doctor that other tests are about, left out."""
    from sora.cli import doctor_checks

    for name in ("embedded_weights", "painting"):
        monkeypatch.setattr(doctor_checks, name, lambda: "")
    monkeypatch.setattr(doctor_checks, "_relative_difference", lambda device: 1e-6)


def run(*argv: str) -> Result:
    return CliRunner().invoke(app, list(argv))


def keep(agrees: bool = False) -> None:
    found = "decode in float32: 9 frames 0.0 %, 81 frames 34 %"
    verdicts.keep("mps", Verdict(HERE, agrees, found, "2026-11-27"))


# --- what doctor says -------------------------------------------------------------------------------------------------


def test_a_deep_look_says_how_the_error_grows_and_refuses_the_device(mac: None, wrong: Wrong, quick: None):
    wrong({9: 0.0004, 33: 0.012, 81: 0.34})
    result = run("doctor", "--deep")
    assert result.exit_code == 4
    line = "decode in float32: 9 frames 0.0 %, 33 frames 1.2 %, 81 frames 34 %, more with every frame"
    assert f"mps: {line}" in result.stdout and "mps: sample in float32: 9 frames 0.0 %" in result.stdout
    assert f"agreement  problem   mps differs from the CPU ({line}); refused from now on" in result.stdout
    assert memory.choose_device(None).type == "cpu"
    plain = run("doctor")
    assert plain.exit_code == 4
    assert "mps, cpu (paints on cpu; mps is refused)" in plain.stdout
    assert "81 frames 34 %, more with every frame) and is refused; sora doctor --deep compares it again" in plain.stdout


def test_a_device_that_agrees_is_used_from_then_on(mac: None, wrong: Wrong, quick: None):
    keep(agrees=False)
    assert memory.choose_device(None).type == "cpu"
    result = run("doctor", "--deep")
    assert result.exit_code == 0, result.stdout
    assert "mps computes what the CPU does" in result.stdout
    assert memory.choose_device(None).type == memory.choose_device("mps").type == "mps"
    assert "at several lengths, too, on 20" in run("doctor").stdout


def test_plain_doctor_says_that_there_is_more_to_find(mac: None, quick: None):
    result = run("doctor")
    assert result.exit_code == 0 and "mps within 1e-06 of the CPU (sora doctor --deep compares" in result.stdout


def test_with_a_cpu_alone_there_is_nothing_to_compare(quick: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "devices", lambda: ("cpu",))
    result = run("doctor", "--deep")
    assert result.exit_code == 0 and "nothing to compare" in result.stdout


def test_what_is_not_a_number_is_wrong(mac: None, wrong: Wrong, quick: None):
    wrong({33: float("nan")})
    result = run("doctor", "--deep")
    assert result.exit_code == 4 and "9 frames 0.0 %, 33 frames not a number, 81 frames 0.0 %" in result.stdout
    assert "nan" not in verdicts.verdict_file().read_text()


def test_lengths_for_which_time_or_memory_lack_are_left_out(mac: None, wrong: Wrong):
    (decode, sample) = device_check.compare(torch.device("mps"), seconds=0)
    assert list(decode.errors) == [9] and decode.left_out == [33, 81] and list(sample.errors) == [9]

    def full(frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        if frames > 9 and device.type == "mps":
            raise RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)")
        return torch.ones(3)

    found = device_check._compare(DeviceTest("decode", FRAMES, (torch.float32,), full), torch.device("mps"), 1e9, print)
    assert str(found[0]) == "decode in float32: 9 frames 0.0 %, 33 frames left out, 81 frames left out"


def test_a_device_without_memory_for_anything_gets_no_verdict(mac: None, quick: None, monkeypatch: pytest.MonkeyPatch):
    def full(frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        if device.type == "mps":
            raise torch.OutOfMemoryError("MPS backend out of memory")
        return torch.ones(3)

    test = DeviceTest("decode", FRAMES, (torch.float32,), full)
    monkeypatch.setattr(device_check, "device_tests", lambda device, dtype: [test])
    result = run("doctor", "--deep")
    assert result.exit_code == 4 and "no memory for any comparison" in result.stdout
    assert not verdicts.verdict_file().exists()


# --- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["generate", "image", "img2vid", "extend", "loop", "bridge", "edit"])
def test_every_verb_refuses_the_device(mac: None, studio: Studio, footage: Footage, verb: str, tmp_path: Path):
    keep()
    clip = str(footage())
    picture = tmp_path / "still.png"
    Image.new("RGB", (64, 48)).save(picture)
    argv = {
        "generate": ["a red ball"], "image": ["a red ball"], "img2vid": [str(picture)], "extend": [clip],
        "loop": [clip], "bridge": [clip, clip], "edit": [clip, "a blue ball"],
    }[verb]  # fmt: skip
    result = studio(verb, *argv, "--device", "mps", "--anyway", "-o", "out.mkv")
    assert result.exit_code == 2, result.stderr
    line = result.stderr.splitlines()[-1]
    assert "mps differed from the CPU on 2026-11-27 (decode in float32: 9 frames 0.0 %, 81 frames 34 %)" in line
    assert "--device cpu" in line and "SORA_TRUST_DEVICE=mps" in line and "sora doctor --deep" in line
    assert not Path("out.mkv").exists()


def test_what_was_made_before_is_not_made_on_it_either(mac: None, studio: Studio):
    """The recipe names the device."""
    verdicts.keep("mps", Verdict(HERE, True, "", "2026-11-26"))
    made = studio("generate", "a red ball", "--device", "mps", "--draft", "--frames", "5", "--anyway", "-o", "a.mkv")
    assert made.exit_code == 0, made.stderr
    keep()
    for command in ("remake", "finish"):
        result = studio(command, "a.mkv", "-o", "b.mkv")
        assert result.exit_code == 2 and "mps differed from the CPU" in result.stderr
        assert studio(command, "a.mkv", "--device", "cpu", "-o", f"{command}.mkv").exit_code == 0
    dry = studio("generate", "a red ball", "--device", "mps", "--anyway", "--dry-run")
    assert dry.exit_code == 2 and "mps differed from the CPU" in dry.stderr
    assert not Path("b.mkv").exists()


def test_python_refuses_the_device(mac: None, stand_in: list[str]):
    keep()
    with pytest.raises(UsageError, match=r"mps differed from the CPU on 2026-11-27.* paint with device cpu"):
        sora.generate("a red ball", device="mps", anyway=True)
    assert stand_in == []


def test_by_default_the_cpu_paints_and_says_why(mac: None, stand_in: list[str], studio: Studio):
    keep()
    film = sora.generate("a red ball", anyway=True, frames=5)
    note = "painting on cpu: mps differed from the CPU on 2026-11-27"
    assert film.recipe["device"] == "cpu" and any(note in line for line in film.notes)
    assert note in studio("generate", "a red ball", "--anyway", "--frames", "5", "-o", "out.mkv").stderr


def test_a_person_can_insist(mac: None, monkeypatch: pytest.MonkeyPatch):
    keep()
    monkeypatch.setenv(verdicts.TRUST, "mps")
    assert memory.choose_device("mps").type == memory.choose_device(None).type == "mps"
    assert "used all the same, since SORA_TRUST_DEVICE" in memory.device_note("mps", torch.device("mps"))
    monkeypatch.setenv(verdicts.TRUST, "cuda")
    assert memory.choose_device(None).type == "cpu"


@pytest.mark.parametrize("changed", ["name", "system", "torch"])
def test_a_verdict_ends_with_the_machine_that_it_was_of(mac: None, changed: str):
    verdicts.keep(
        "mps", Verdict(structs.replace(HERE, **{changed: "another"}), False, "decode: 9 frames 34 %", "2026-11-27")
    )
    assert verdicts.verdict_on("mps") is None and memory.choose_device(None).type == "mps"


GOOD = {"name": HERE.name, "system": HERE.system, "torch": HERE.torch}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff\xfe", b"[]", b"{", b"3", b'{"mps": 3}', b'{"mps": {}}', b'{"mps": {"identity": []}}',
        b" " * 100_000,
        json.dumps({"mps": {"identity": GOOD, "agrees": "no", "found": "", "date": ""}}).encode(),
        json.dumps({"mps": {"identity": GOOD, "agrees": False, "found": 3, "date": ""}}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_file_is_no_verdict(mac: None, text: bytes):
    verdicts.verdict_file().parent.mkdir(parents=True)
    verdicts.verdict_file().write_bytes(text)
    assert verdicts.verdict_on("mps") is None and memory.choose_device(None).type == "mps"
    keep()
    assert memory.choose_device(None).type == "cpu"


def test_what_a_file_says_is_shown_in_one_plain_line(mac: None):
    verdicts.keep("mps", Verdict(HERE, False, "\x1b[2Jbad\nnews" + "x" * 5000, "\x07"))
    note = memory.device_note(None, CPU)
    assert note.isprintable() and len(note) < 600


# --- what is compared -------------------------------------------------------------------------------------------------


def test_the_tests_have_the_sizes_that_matter():
    tests = {test.name: test for test in device_tests(CPU, torch.bfloat16)}
    assert list(tests) == ["mini", "sample", "encode 2.1", "decode 2.1", "encode 2.2", "decode 2.2"]
    assert all(len(test.frames) > 2 and test.dtypes[0] == torch.float32 for test in tests.values())
    assert tests["sample"].dtypes == (torch.float32, torch.bfloat16)
    heads, tokens = probes.TRANSFORMER.heads, 21 * 60 * 104 // 4
    assert heads * tokens**2 > layers.MPS_ATTENTION_LIMIT and probes.TRANSFORMER.head_dim == 128
    assert probes.VAE_SIDES[0] * probes.VAE_SIDES[1] > 2**16


@pytest.mark.parametrize("name", ["mini", "encode 2.1", "decode 2.2", "sample"])
def test_a_device_that_is_a_cpu_agrees(name: str, monkeypatch: pytest.MonkeyPatch):
    """In float32 to the last bit, and in bfloat16 within what is allowed."""
    monkeypatch.setattr(probes, "VAE_SIDES", (64, 96))
    found = next(test for test in device_tests(CPU, torch.bfloat16) if test.name == name)
    run = found.run if name != "sample" else lambda *a: probes._velocity(probes.TRANSFORMER, (128, 128), *a)
    dtypes = (torch.float32, torch.bfloat16)
    exact, half = device_check._compare(replace(found, frames=(5, 9), dtypes=dtypes, run=run), CPU, 1e9, print)
    assert exact.errors == {5: 0, 9: 0}
    assert half.agrees and all(0.0005 < error < device_check.MAX_HALF_ERROR for error in half.errors.values())


def test_a_fault_that_grows_in_time_is_found_in_a_real_network(monkeypatch: pytest.MonkeyPatch):
    """An autoencoder whose memory of the frames before is a little brighter each time."""
    monkeypatch.setattr(probes, "VAE_SIDES", (32, 32))
    decode = next(test for test in device_tests(CPU, torch.float32) if test.name == "decode 2.1")
    real, gain = FrameCache.prepend, 1.0

    def bright(cache: FrameCache, layer: torch.nn.Module, x: Tensor, frames: int) -> Tensor:
        nonlocal gain
        gain *= 1 if cache.first else 1.001
        return real(cache, layer, x * gain, frames)

    def run(frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            if device.type == "mps":
                patch.setattr(FrameCache, "prepend", bright)
                patch.setattr(probes, "Winograd", None)  # which keeps its frames otherwise
            return decode.run(frames, CPU, dtype)

    (found,) = device_check._compare(replace(decode, frames=(1, 9, 33), run=run), torch.device("mps"), 1e9, print)
    assert found.errors[1] < 1e-5 and not found.agrees
    assert str(found).endswith("more with every frame")


# --- what would be wrong on MPS is not done there ---------------------------------------------------------------------


def chunked(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """Attention goes as on MPS, with a smaller limit. The numbers of queries of each call, and how many at once."""
    real, seen = layers._rows_at_once, list[int]()

    def rows(q: Tensor, k: Tensor, asked: int | None) -> int:
        assert asked is None
        found = real(q, k, limit)
        assert found == 1 or found * k.shape[2] * q.shape[0] * q.shape[1] <= limit
        seen.append(found)
        return found

    monkeypatch.setattr(layers, "_rows_at_once", rows)
    return seen


NETWORKS: dict[str, Callable[[], Tensor]] = {
    "transformer": lambda: probes._velocity(probes.TRANSFORMER, (64, 96), 9, CPU, torch.float32),
    "decoder": lambda: probes._decoded(probes.VAES["2.1"], 9, CPU, torch.float32),
    "encoder": lambda: probes._encoded(probes.VAES["2.2"], 9, CPU, torch.float32),
    "image encoder": lambda: image_encoder()(torch.ones(2, 3, 56, 56).cumsum(-1) / 56),
}


def image_encoder() -> CLIPVision:
    return probes._filled(CLIPVision(CLIPVisionConfig(hidden=32, intermediate=64, num_layers=3, heads=2, image=56)))


@pytest.mark.parametrize("limit", [1, 500, 2**31 - 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_attention_in_chunks_gives_the_same_network(name: str, limit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "VAE_SIDES", (64, 96))
    whole = NETWORKS[name]()
    seen = chunked(monkeypatch, limit)
    torch.testing.assert_close(NETWORKS[name](), whole, rtol=1e-4, atol=1e-4)
    assert seen and (min(seen) == 1) == (limit == 1)


def test_the_text_encoder_stays_under_the_limit_of_mps():
    """Its attention has a bias of its own and is not split; so many texts are never encoded at once."""
    from sora.models.wan.text_cache import MAX_LENGTH

    assert 100 * UMT5Config().heads * MAX_LENGTH**2 < layers.MPS_ATTENTION_LIMIT


@pytest.mark.parametrize("config", [probes.VAES["2.1"], probes.VAES["2.2"]], ids=["2.1", "2.2"])
def test_no_network_pads_five_axes(config: WanVAEConfig, monkeypatch: pytest.MonkeyPatch):
    real = F.pad

    def pad(x: Tensor, by: tuple[int, ...], *more: object, **options: object) -> Tensor:
        assert x.ndim < 5 or len(by) < 5, "F.pad of five axes is wrong on MPS"
        return real(x, by, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "pad", pad)
    monkeypatch.setattr(torch.nn.functional, "pad", pad)
    monkeypatch.setattr(probes, "VAE_SIDES", (32, 32))
    probes._encoded(config, 9, CPU, torch.float32)
    probes._decoded(config, 9, CPU, torch.float32)
    with pytest.raises(AssertionError, match="five axes"):
        F.pad(torch.ones(1, 1, 2, 2, 2), (0, 0, 0, 0, 1, 0))
