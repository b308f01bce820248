"""Networks that are loaded while others work are the networks that would be loaded later, and no more of them."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner, Result
from wan_folders import pipeline

from sora import catalog, media, models, weights
from sora.cli import app
from sora.engine.canvas import Canvas
from sora.errors import ModelError
from sora.jobs import forecast
from sora.jobs.delivery import InMemory
from sora.jobs.resolve import resolve
from sora.memory import PLANS_BY_SPEED, MemoryPlan
from sora.models.conditioning import masked_video
from sora.models.wan import components as wan_components
from sora.models.wan.components import Components
from sora.models.wan.model import Wan
from sora.networks.wan.vae import WanVAE
from sora.plan.request import Request
from sora.runtime.speed import DEFAULT_SPEED, Speed
from sora.weights import page_cache

CPU = torch.device("cpu")
PLANS = {plan.name: plan for plan in PLANS_BY_SPEED}
WITHOUT = Speed(disabled=frozenset({"load-ahead"}))
SECONDS = 120  # until something counts as hanging


@pytest.fixture(autouse=True)
def idle() -> None:
    """A network that the test before loads is no longer loading: these tests count what loads."""
    if not is_idle():
        gc.collect()  # it costs half a second
    until(is_idle)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {kind: tmp_path_factory.mktemp("models") / kind for kind in ("t2v-a14b", "i2v")}
    for kind, folder in found.items():
        pipeline(kind).save_pretrained(folder)
    return found


Loads = list[tuple[str, bool]]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """What was loaded: the name of its folder, and whether in another thread than this one."""
    found, real = Loads(), weights.load_checkpoint

    def load(module: nn.Module, path: Path, **options: Any) -> nn.Module:
        found.append((path.name, threading.current_thread() is not threading.main_thread()))
        return real(module, path, **options)

    monkeypatch.setattr(weights, "load_checkpoint", load)
    return found


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders whose files were read into the system's cache."""
    found, real = list[str](), page_cache.read_into_page_cache

    def read(files: Any, max_bytes: int, check: Callable[[], None]) -> int:
        files = list(files)
        found.append(files[0].parent.name)
        return real(files, max_bytes, check)

    monkeypatch.setattr(wan_components, "read_into_page_cache", read)
    return found


def model(folder: Path, plan: str = "resident", speed: Speed = DEFAULT_SPEED) -> Wan:
    loaded = models.load(catalog.find(str(folder)), CPU, torch.float32, speed)
    assert isinstance(loaded, Wan)
    loaded.components.apply_plan(PLANS[plan])
    return loaded


def networks(components: Components) -> list[nn.Module]:
    """All of them, as a film uses them."""
    encoders = [components.text_encoder, *([components.image_encoder] if components.has("image_encoder") else [])]
    return [*encoders, *map(components.expert, range(len(components.experts))), components.vae]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.005)


def is_idle() -> bool:
    return not any(thread.name == "sora-background" for thread in threading.enumerate())


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", ["t2v-a14b", "i2v"])
@pytest.mark.parametrize("plan", PLANS)
def test_the_networks_are_the_same(folders: dict[str, Path], loads: Loads, kind: str, plan: str) -> None:
    one, other = model(folders[kind], plan), model(folders[kind], plan, WITHOUT)
    for ours, theirs in zip(networks(one.components), networks(other.components), strict=True):
        assert same(ours, theirs) and type(ours) is type(theirs)
        assert not any(parameter.is_inference() or parameter.requires_grad for parameter in ours.parameters())


def test_all_that_stays_is_loaded_while_the_text_encoder_works(
    folders: dict[str, Path], loads: Loads, files_read: list[str]
) -> None:
    components = model(folders["i2v"]).components
    assert components.text_encoder is not None
    until(lambda: len(loads) == 4 and is_idle())
    assert loads == [("text_encoder", False), ("image_encoder", True), ("transformer", True), ("vae", True)]
    networks(components)
    assert len(loads) == 4 and files_read == []


def test_what_does_not_stay_is_read_and_not_loaded(
    folders: dict[str, Path], loads: Loads, files_read: list[str]
) -> None:
    components = model(folders["t2v-a14b"], "one-expert").components
    assert components.text_encoder is not None
    until(lambda: len(files_read) == 3 and is_idle())
    assert files_read == ["transformer", "transformer_2", "vae"] and loads == [("text_encoder", False)]
    components.expert(0)
    until(lambda: len(files_read) == 5 and is_idle())
    assert files_read[3:] == ["transformer_2", "vae"] and list(components._loaded) == ["transformer"]
    components.expert(1)
    until(is_idle)
    assert [name for name, _ in loads] == ["text_encoder", "transformer", "transformer_2"]


def test_on_a_card_nothing_is_loaded_while_a_transformer_works(
    folders: dict[str, Path], loads: Loads, files_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wan_components, "UNDISTURBED_ON", ("cpu",))
    gate, components = Gate(monkeypatch), model(folders["t2v-a14b"]).components
    assert components.text_encoder is not None and gate.begun.wait(SECONDS)
    threading.Timer(0.1, lambda: setattr(gate, "open", True)).start()
    components.expert(0)  # with it, the others are there
    assert list(gate.counts) == ["text_encoder", "transformer", "transformer_2", "vae"]
    assert gate.counts["vae"] == len(components.meta_module("vae").state_dict())
    components.unload()
    until(is_idle)
    gate.counts.clear()
    components.expert(0)
    until(is_idle)
    assert [*gate.counts] == ["transformer"] and files_read == ["transformer_2", "vae"]


def test_files_are_read_only_into_memory_that_is_free(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, real = list[int](), page_cache.read_into_page_cache
    monkeypatch.setattr(wan_components, "free_ram", lambda: 1000)
    monkeypatch.setattr(wan_components, "read_into_page_cache", lambda *args: found.append(real(*args)) or 0)
    components = model(folders["i2v"], "text-dropped").components
    assert components.text_encoder is not None
    until(is_idle)
    assert found == [0, 0]


@pytest.mark.parametrize("names", [("vae",), ("transformer", "vae")])
def test_nothing_that_was_used_before_is_loaded_after(
    folders: dict[str, Path], loads: Loads, names: tuple[str, ...]
) -> None:
    """A film whose texts are cached needs no text encoder, and a decoder alone nothing else."""
    components = model(folders["i2v"]).components
    assert components._get(names[0]) is not None
    until(is_idle)
    assert loads == [(names[0], False), *((name, True) for name in names[1:])]


@pytest.mark.parametrize("plan", ["resident", "text-dropped", "one-expert", "streamed"])
def test_a_film_is_the_same_and_loads_each_network_once(
    folders: dict[str, Path], tmp_path: Path, loads: Loads, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, loaded = dict[str, np.ndarray](), dict[str, list[str]]()
    for name, more in {"first": (), "cached": (), "without": ("--disable", "load-ahead")}.items():
        monkeypatch.setenv("SORA_CACHE", str(tmp_path / ("other" if name == "without" else "cache")))
        loads.clear()
        result = painted(folders["t2v-a14b"], tmp_path / f"{name}.mkv", "--memory", plan, *more)
        assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
        until(is_idle)
        loaded[name] = [each for each, _ in loads]
        assert any(ahead for _, ahead in loads) == (name != "without" and plan in ("resident", "text-dropped"))
        films[name] = media.read_clip(tmp_path / f"{name}.mkv").frames_FYXC
    assert np.array_equal(films["first"], films["cached"]) and np.array_equal(films["first"], films["without"])
    assert sorted(loaded["first"]) == sorted(loaded["without"])
    assert "text_encoder" not in loaded["cached"] and not Counter(loaded["cached"]) - Counter(loaded["without"])


def test_nothing_is_encoded_where_no_pass_sees_it(
    folders: dict[str, Path], tmp_path: Path, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film from words alone needs the autoencoder for decoding alone."""
    encoded = list[int]()
    real = WanVAE.encode
    monkeypatch.setattr(WanVAE, "encode", lambda self, *args, **more: encoded.append(1) or real(self, *args, **more))
    result = painted(folders["t2v-a14b"], tmp_path / "film.mkv", "--memory", "resident")
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    assert not encoded


def test_a_forecast_knows_which_texts_are_cached(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "cache"))
    request = Request(verb="generate", prompt="a red cat walks", model=str(folders["t2v-a14b"]), negative_prompt="dim")

    def left(prompt: str = request.prompt or "") -> float | None:
        resolved = resolve(msgspec.structs.replace(request, prompt=prompt), InMemory(anyway=True))
        return forecast.texts_to_encode(resolved, resolved.variants, torch.device("cpu"), torch.float32)

    assert left() == 2
    result = painted(folders["t2v-a14b"], tmp_path / "film.mkv", "--negative-prompt", "dim")
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    assert left() == 0 and left("a {red|blue} cat walks") == 0.5


@pytest.mark.parametrize(("kind", "begins"), [("i2v", ""), ("t2v-a14b", "known")])
def test_what_a_pass_sees_is_encoded_everywhere(folders: dict[str, Path], kind: str, begins: str) -> None:
    frames = torch.full((5, 3, 64, 64), 200, dtype=torch.uint8)
    known = torch.zeros(5, 1, 64, 64, dtype=torch.bool)
    known[0] = begins == "known"
    wan, canvas = model(folders[kind]), Canvas(frames, known, 16.0)
    expected = wan.components.vae.encode(masked_video(canvas))
    assert torch.equal(wan.encode(canvas).clean_BCTHW, expected) and expected.abs().max() > 0


def painted(folder: Path, out: Path, *more: str) -> Result:
    argv = ["generate", "a red cat walks", "--model", str(folder), "--seed", "7", "--steps", "4", "--size", "64x64"]
    return CliRunner().invoke(app, [*argv, "--frames", "9", "--device", "cpu", "-o", str(out), *more])


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_damaged_network_is_named_in_the_same_line(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    pipeline("i2v").save_pretrained(folder)
    file = next((folder / "transformer").glob("*.safetensors"))
    tensors = load_file(file)
    tensors["proj_out.weight"][0, 0] = float("nan")
    save_file(tensors, file)
    lines = []
    for more in ((), ("--disable", "load-ahead")):
        monkeypatch.setenv("SORA_CACHE", str(tmp_path / f"cache{len(more)}"))
        picture = tmp_path / "still.png"
        Image.new("RGB", (64, 64)).save(picture)
        argv = ["img2vid", str(picture), "a cat", "--model", str(folder), "--size", "64x64", "--frames", "9"]
        argv += ["--steps", "2", "--device", "cpu", "-o", str(tmp_path / "out.mkv"), *more]
        result = CliRunner().invoke(app, argv)
        assert result.exit_code == ModelError.exit_code, result.stderr
        lines.append(result.stderr.splitlines()[-1])
    assert lines[0] == lines[1] and "proj_out.weight" in lines[0]


def test_where_memory_runs_out_ahead_it_is_tried_again(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = weights.load_checkpoint, list[str]()

    def load(module: nn.Module, path: Path, **options: Any) -> nn.Module:
        if path.name == "transformer" and threading.current_thread() is not threading.main_thread():
            failed.append(path.name)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(module, path, **options)

    monkeypatch.setattr(weights, "load_checkpoint", load)
    components = model(folders["i2v"]).components
    assert components.text_encoder is not None
    until(is_idle)
    assert failed and same(components.expert(0), model(folders["i2v"], speed=WITHOUT).components.expert(0))


class Gate:
    """Loading in the thread goes on, tensor by tensor, only while it is open. counts: tensors of each network."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.open, self.counts, self._real = False, dict[str, int](), weights.load_checkpoint
        self.begun = threading.Event()
        patch.setattr(weights, "load_checkpoint", self._load)

    def _load(self, module: nn.Module, path: Path, **options: Any) -> nn.Module:
        on_bytes = options.pop("on_bytes")

        def slowed(done: int, total: int) -> None:
            self.counts[path.name] = self.counts.get(path.name, 0) + 1
            on_bytes(done, total)
            while threading.current_thread() is not threading.main_thread() and not self.open:
                self.begun.set()
                on_bytes(done, total)
                time.sleep(0.001)

        return self._real(module, path, on_bytes=slowed, **options)


Change = Callable[[Components], None]
LORA = {"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 24), "blocks.0.attn1.to_q.lora_B.weight": torch.ones(24, 2)}
CHANGES: dict[str, Change] = {
    "unload": lambda components: components.unload(),
    "plan": lambda components: components.apply_plan(PLANS["streamed"]),
    "lora": lambda components: components.add_lora(LORA, 1.0, "lora.safetensors"),
    "wide": lambda components: components.widen_vae(torch.float32),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_while_a_network_loads_counts_for_it(
    folders: dict[str, Path], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, components = Gate(monkeypatch), model(folders["i2v"]).components
    assert components.text_encoder is not None and gate.begun.wait(SECONDS)
    CHANGES[change](components)
    assert is_idle() and gate.counts["image_encoder"] == 1  # it went no further
    gate.open = True
    expected = model(folders["i2v"], speed=WITHOUT).components
    CHANGES[change](expected)
    assert all(same(ours, theirs) for ours, theirs in zip(networks(components), networks(expected), strict=True))


def test_a_model_that_goes_leaves_no_thread(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gate, loaded = Gate(monkeypatch), model(folders["i2v"])
    assert loaded.components.text_encoder is not None and gate.begun.wait(SECONDS)
    gone = weakref.ref(loaded.components)
    del loaded
    assert gone() is None
    until(is_idle)


def test_a_network_that_was_loaded_ahead_is_free_once_it_is_unloaded(folders: dict[str, Path]) -> None:
    components = model(folders["i2v"]).components
    kept = [weakref.ref(network) for network in networks(components)]
    until(is_idle)
    components.unload()
    assert [network() for network in kept] == [None] * 4


def test_a_network_that_is_loading_is_waited_for(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gate, components = Gate(monkeypatch), model(folders["i2v"]).components
    assert components.text_encoder is not None and gate.begun.wait(SECONDS)
    threading.Timer(0.1, lambda: setattr(gate, "open", True)).start()
    components.image_encoder  # noqa: B018, it is loaded
    tensors = len(list(components.meta_module("image_encoder").state_dict()))
    assert gate.counts["image_encoder"] == tensors


def test_whatever_is_asked_for_in_whatever_order_is_the_same(folders: dict[str, Path]) -> None:
    ours, theirs = (model(folders["t2v-a14b"], speed=speed).components for speed in (DEFAULT_SPEED, WITHOUT))
    names = ("text_encoder", "transformer", "transformer_2", "vae")
    random, plans = Random(7), list[MemoryPlan](PLANS_BY_SPEED[:8])
    for _ in range(25):
        step = random.randrange(6)
        if step == 0:
            plan = random.choice(plans)
            for components in (ours, theirs):
                components.apply_plan(plan)
        elif step == 1:
            for components in (ours, theirs):
                components.unload()
        else:
            name = random.choice(names)
            assert same(ours._get(name), theirs._get(name))
            assert set(ours._loaded) == set(theirs._loaded)
    ours.unload()
    assert is_idle()
