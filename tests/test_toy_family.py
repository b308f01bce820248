"""A family is one package and its rows: a toy of both goes through every verb, plan, LoRA and recipe of the program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from sora import catalog, media, memory, models, weights
from sora.catalog.spec import ModelSpec
from sora.cli import app
from sora.engine import engine
from sora.engine.engine import Settings
from sora.errors import OutOfMemory
from sora.jobs import passes
from sora.jobs.resolve import ResolvedRequest
from sora.jobs.session import Session
from sora.memory import PLANS_BY_SPEED, FreeMemory, MemoryPlan, manager
from sora.memory.choose import RESERVED_BYTES
from sora.models.work import CanvasWork, Work
from sora.plan import operations
from sora.plan.clip import Clip
from sora.weights import lora_file
from toy_family import rows, toy
from toy_family.toy import model as toy_model

SIDE, SHOWN = 64, 9
Run = Callable[..., Result]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The family is there: its package, its rows, and weights in its own spelling among the assets. The current
    folder, which is empty but for a film and a picture."""
    monkeypatch.setitem(sys.modules, "sora.models.toy", toy)
    monkeypatch.setitem(catalog.FAMILIES, "toy", rows)
    monkeypatch.setitem(catalog.MODELS, "toy", rows.TOY)
    assets, work = tmp_path / "assets", tmp_path / "work"
    assets.mkdir()
    work.mkdir()
    monkeypatch.setattr(weights, "ASSETS", assets)
    monkeypatch.chdir(work)
    torch.manual_seed(0)
    words, dit = toy_model.LetterEncoder().state_dict(), toy_model.Dit().state_dict()
    held = {f"words.{name}": tensor for name, tensor in words.items()}
    held |= {f"dit.{spelled(name)}": tensor for name, tensor in dit.items()}
    save_file(held, assets / rows.WEIGHTS)
    draw = np.random.default_rng(0).integers(0, 256, (SHOWN, 4, 4, 3), np.uint8)
    frames = draw.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
    with media.writer("a.mkv", 8.0, (SIDE, SIDE), "{}", False) as file:
        file.write(frames)
    Image.fromarray(frames[0]).save("a.png")
    return work


def spelled(name: str) -> str:
    """A tensor's name as the toy's own files have it."""
    return name.replace("blocks.", "layers.").replace(".map", ".inner")


def run(*argv: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in argv])


def made(*argv: object, out: str = "out.mkv") -> np.ndarray:
    """The frames of what a command paints."""
    result = run(*argv, "--model", "toy", "--seed", 1, "--device", "cpu", "--force", "-o", out)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return shown(out)


def shown(path: str) -> np.ndarray:
    return media.read_image(path)[None] if path.endswith(".png") else media.read_clip(path).frames_FYXC


GENERATE = ("generate", "a ball", "--frames", 5, "--size", f"{SIDE}x{SIDE}")
VERBS: dict[str, tuple[tuple[object, ...], int]] = {
    "generate": (GENERATE, 5),
    "shots": (("generate", "a ball", "--then", "a cat", "--frames", 10, "--size", "64x64"), 10),
    "image": (("image", "a ball", "--size", "64x64"), 1),
    "img2vid": (("img2vid", "a.png", "it runs", "--frames", 5, "--size", "64x64"), 5),
    "extend": (("extend", "a.mkv", "it runs", "--frames", 4), SHOWN + 4),
    "backward": (("extend", "a.mkv", "it runs", "--frames", 4, "--backward"), SHOWN + 4),
    "loop": (("loop", "a.mkv", "--frames", 4), SHOWN + 4),
    "circle": (("loop", "--prompt", "a ball", "--size", "64x64"), 8),
    "bridge": (("bridge", "a.mkv", "a.mkv", "--frames", 4), 2 * SHOWN + 4),
    "region": (("edit", "a.mkv", "a cat", "--region", "0,0,32,32"), SHOWN),
    "noise": (("edit", "a.mkv", "a cat", "--method", "noise"), SHOWN),
    "flow": (("edit", "a.mkv", "a cat", "--was", "a ball", "--method", "flow"), SHOWN),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb(toys: Path, verb: str) -> None:
    argv, length = VERBS[verb]
    film = made(*argv, out="out.png" if verb == "image" else "out.mkv")
    assert film.shape == (length, SIDE, SIDE, 3) and film.std() > 5
    if verb == "extend":
        assert np.array_equal(film[:SHOWN], shown("a.mkv"))


def test_words_and_seeds_count(toys: Path) -> None:
    first = made(*GENERATE)
    assert np.array_equal(first, made(*GENERATE))
    assert not np.array_equal(first, made(*GENERATE, "--negative", "grey"))
    assert not np.array_equal(first, made("generate", "a cat", *GENERATE[2:]))


def test_a_draft_is_finished_and_a_film_remade(toys: Path) -> None:
    film = made(*GENERATE, "--draft")
    for verb, same in (("remake", True), ("finish", False)):
        result = run(verb, "out.mkv", "-o", f"{verb}.mkv")
        assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
        again = shown(f"{verb}.mkv")
        assert (again.shape == film.shape and np.array_equal(again, film)) == same
    recipe = json.loads(media.read_recipe(Path("remake.mkv")) or "{}")
    assert recipe.get("model", recipe.get("request", {}).get("model")) == "toy"


def test_a_folder_of_such_weights_is_recognised(toys: Path, tmp_path: Path) -> None:
    by_name = made(*GENERATE)
    result = run(*GENERATE, "--model", tmp_path / "assets", "--seed", 1, "--device", "cpu", "-o", "folder.mkv")
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    assert np.array_equal(shown("folder.mkv"), by_name)
    assert json.loads(run("models", "show", "toy", "--json").stdout)["here"]


def test_another_familys_folder_is_still_refused(toys: Path) -> None:
    (toys / "empty").mkdir()
    result = run(*GENERATE, "--model", "empty")
    assert result.exit_code == 4 and "empty holds no model" in result.stderr


# Memory.


@pytest.mark.parametrize("plan", [plan.name for plan in PLANS_BY_SPEED if plan.is_exact])
def test_every_exact_plan_paints_the_same(toys: Path, plan: str) -> None:
    assert np.array_equal(made(*GENERATE), made(*GENERATE, "--memory", plan))


def test_running_out_of_memory_goes_on_with_the_next_plan(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, decoded, follow = made(*GENERATE), toy_model.decoded, toy_model.Components.apply_plan
    happened: list[str] = []

    def failing(*args: Any) -> torch.Tensor:
        happened.append("decoding")
        if happened.count("decoding") == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decoded(*args)

    def following(parts: toy_model.Components, plan: MemoryPlan) -> None:
        happened.append(plan.name)
        follow(parts, plan)

    monkeypatch.setattr(toy_model, "decoded", failing)
    monkeypatch.setattr(toy_model.Components, "apply_plan", following)
    assert np.array_equal(film, made(*GENERATE, "--memory", "resident"))
    assert happened == ["resident", "decoding", "text-dropped", "decoding"]


MB = 2**20
MACHINES = {  # bytes free on the device beyond ROOM, and of CPU memory
    "everything fits": (8 * MB, 100 * MB),
    "blocks stream": (1.5 * MB, 100 * MB),
    "no CPU memory for what streams": (1.5 * MB, MB // 10),
    "nothing fits": (MB // 8, 100 * MB),
}


@pytest.mark.parametrize("forced", [None, "resident", "streamed"])
@pytest.mark.parametrize("machine", MACHINES)
def test_a_dry_run_tells_the_plan_that_the_real_one_follows(
    toys: Path, monkeypatch: pytest.MonkeyPatch, machine: str, forced: str | None
) -> None:
    on_device, in_host = map(int, MACHINES[machine])
    cuda = torch.device("cuda")
    monkeypatch.setattr(memory, "choose_device", lambda name: cuda)
    monkeypatch.setattr(memory, "measure_free", lambda device: FreeMemory(RESERVED_BYTES + on_device, in_host))
    monkeypatch.setattr(manager, "measure_free", lambda device: FreeMemory(RESERVED_BYTES + on_device, in_host))
    said = ("--memory", forced) if forced else ()
    result = run(*GENERATE, "--model", "toy", "--device", "cuda", "--dtype", "float32", "--dry-run", "--json", *said)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    told = json.loads(result.stdout)["memory"]
    model = models.load(rows.TOY, cuda, torch.float32)
    try:
        real = models.plan_memory(model, (5, SIDE, SIDE), encodes=False, forced=forced).removeprefix("memory: ")
    except OutOfMemory as error:
        real = str(error)
    assert told == real
    if forced is None:
        assert EXPECTED[machine] in told
    if machine == "no CPU memory for what streams" and forced == "streamed":
        assert "may not be enough" in told


EXPECTED = {
    "everything fits": "everything resident",
    "blocks stream": "blocks streamed from CPU memory",
    "no CPU memory for what streams": "of CPU memory hold what streams",
    "nothing fits": "are needed at least",
}


# Seconds.


def toy_work(spec: ModelSpec, shape_FYX: tuple[int, int, int], *, encodes: bool, references: int = 0) -> CanvasWork:
    """What the family would give, were it to count its work: tokens alone."""
    tokens = prod(spec.grid.latent_shape(*shape_FYX)[1:]) / 1e12
    return CanvasWork(tokens, 0.0, 0.0, 0.0, encode=Work(encodes * tokens), decode=Work(tokens))


def test_seconds_are_predicted_once_the_family_counts_its_work(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dry = (*GENERATE, "--model", "toy", "--device", "cpu", "--dry-run")
    assert "time" not in run(*dry).stdout and json.loads(run(*dry, "--json").stdout)["seconds"] is None
    monkeypatch.setattr(toy, "canvas_work", toy_work, raising=False)
    assert "about " in run(*dry).stdout.splitlines()[-1]
    first = json.loads(run(*dry, "--json").stdout)["seconds"]
    assert first["total"] > 0 and first["basis"] == "rates"


SETTINGS: list[tuple[object, ...]] = [(), ("--sampler", "heun", "--steps", 3), ("--guidance", 1)]


@pytest.mark.parametrize(
    ("verb", "more"),
    [*((verb, ()) for verb in VERBS), *((verb, more) for verb in ("shots", "noise", "flow") for more in SETTINGS[1:])],
)
def test_as_many_passes_are_counted_as_run(
    toys: Path, monkeypatch: pytest.MonkeyPatch, verb: str, more: tuple[object, ...]
) -> None:
    tokens, forward, resolved = list[int](), toy_model.Dit.forward, list[ResolvedRequest]()
    prepare = Session.prepare

    def counting(dit: toy_model.Dit, x: torch.Tensor, t: float, text: torch.Tensor) -> torch.Tensor:
        tokens.append(x[0, 0].numel())
        return forward(dit, x, t, text)

    def seeing(session: Session, request: ResolvedRequest, *rest: Any) -> str:
        resolved.append(request)
        return prepare(session, request, *rest)

    monkeypatch.setattr(toy, "canvas_work", toy_work, raising=False)
    monkeypatch.setattr(toy_model.Dit, "forward", counting)
    monkeypatch.setattr(Session, "prepare", seeing)
    argv, _ = VERBS[verb]
    made(*argv, *more, out="out.png" if verb == "image" else "out.mkv")
    canvases = passes.of_film(resolved[0])
    assert canvases is not None and sum(each.passes for each in canvases) == len(tokens)
    work = sum(each.passes * each.work.linear * 1e12 for each in canvases)
    assert work == pytest.approx(sum(tokens), rel=0.35 if verb == "circle" else 1e-6)  # a cycle has a latent less


# Schedules.


@pytest.mark.parametrize("method", ["words", "noise", "flow"])
def test_all_windows_are_sampled_at_the_same_times(toys: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The toy's times depend on its tokens, and its last window has fewer than the first."""
    model, form = models.load(rows.TOY, torch.device("cpu"), torch.float32), rows.TOY.format((SIDE, SIDE), 8.0)
    form, footage = replace(form, window=17), Clip(np.full((20, SIDE, SIDE, 3), 90, np.uint8), 8.0)
    plan = operations.generate(("a ball",), frames=20, format=form)
    if method != "words":
        options: dict[str, Any] = {"strength": 0.6, "method": method, "source_prompt": "a cat"}
        plan = operations.edit(footage, "a ball", format=form, **options)
    assert [window.frames for window in plan.windows] == [17, 9]
    times: list[list[float]] = []
    bind = toy_model.Toy.bind

    def recording(toy: toy_model.Toy, canvas: Any, *args: Any) -> Any:
        velocity, seen = bind(toy, canvas, *args), list[float]()
        times.append(seen)
        return lambda x, t: (seen.append(float(t)), velocity(x, t))[1]

    monkeypatch.setattr(toy_model.Toy, "bind", recording)
    settings = Settings.from_spec(rows.TOY, 1, steps=5)
    for _ in engine.paint(model, plan, settings):
        pass
    assert len(times) == (4 if method == "flow" else 2) and len(times[0]) == (5 if method == "words" else 3)
    assert all(each == times[0] for each in times)
    latents = 5 * (SIDE // 8) ** 2
    expected = model.schedule("euler", 5, settings.shift, 1.0 if method == "words" else 0.6, latents)  # type: ignore[attr-defined]
    assert times[0] == expected[:-1].tolist()


# LoRA.


def lora_in_the_toys_spelling(path: Path) -> None:
    pair = {"layers.0.inner.lora_A.weight": torch.ones(2, 256), "layers.0.inner.lora_B.weight": torch.ones(256, 2)}
    save_file(pair, path)


def test_a_lora_is_added_under_every_kind_of_plan(toys: Path) -> None:
    lora_in_the_toys_spelling(toys / "a.safetensors")
    plain = made(*GENERATE)
    films = [made(*GENERATE, "--lora", "a.safetensors", "--memory", plan) for plan in ("resident", "streamed")]
    assert not np.array_equal(films[0], plain) and np.array_equal(films[0], films[1])
    assert np.array_equal(made(*GENERATE, "--lora", "a.safetensors:0"), plain)


def test_a_lora_of_another_family_is_refused(toys: Path) -> None:
    pair = {"to_q.lora_A.weight": torch.ones(2, 4), "to_q.lora_B.weight": torch.ones(4, 2)}
    lora_file.write("a.safetensors", pair, {"family": catalog.MODELS[catalog.DEFAULT].family})
    result = run(*GENERATE, "--model", "toy", "--lora", "a.safetensors")
    assert result.exit_code == 4 and "choose another --model" in result.stderr


def test_it_learns_a_lora(toys: Path) -> None:
    (toys / "clips").mkdir()
    (toys / "a.mkv").rename(toys / "clips" / "a ball falls.mkv")
    result = run(
        "train",
        "clips",
        "--out",
        "ball.safetensors",
        "--model",
        "toy",
        "--steps",
        2,
        "--rank",
        2,
        "--preview",
        "a ball",
    )
    assert (result.exit_code, result.stdout) == (0, "ball.safetensors\n"), f"{result.stderr}{result.exception!r}"
    assert load_file("ball.safetensors").keys() == {
        f"transformer.blocks.{i}.map.lora_{part}.weight" for i in range(6) for part in "AB"
    }
    assert lora_file.facts("ball.safetensors")["family"] == "toy"
    assert len(made(*GENERATE, "--lora", "ball.safetensors")) == 5
