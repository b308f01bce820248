"""Several processes paint what one does: on CPUs, connected by gloo, through the code that connects CUDA devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wan_folders
from safetensors.torch import save_file
from torch import Tensor

from sora import catalog, models
from sora.engine import engine
from sora.engine.checkpoint import NoCheckpoint, SamplerState
from sora.engine.engine import Settings
from sora.engine.timeline import Timeline
from sora.models import parallel
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.plan import Plan
from sora.runtime.parallel.workers import Workers
from sora.runtime.speed import DEFAULT_SPEED, Speed

CPU, FRAMES, STEPS = torch.device("cpu"), 9, 2
SIZES = {"ti2v": (64, 96)}  # three latents of 2 x 3 tokens
SIZE = (80, 96)  # three latents of 5 x 6 tokens: four processes cannot share them evenly
FAST = Speed("fast", frozenset({"batched-guidance"}))  # one decision for each prompt, as with two halves


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """folders(kind): a checkpoint of that kind with four heads."""
    root = tmp_path_factory.mktemp("models")
    return cache(lambda kind: wan_folders.with_four_heads(kind, root / kind))


@pytest.fixture(scope="module", params=[2, 4])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """The same processes for all tests, which load one model after another."""
    started = parallel.start(request.param, CPU)
    yield started
    started.close()


@dataclass
class Kept(NoCheckpoint):
    """begin: to go on from, if any. states: of all steps since."""

    begin: SamplerState | None = None
    states: list[SamplerState] = field(default_factory=list)

    def state(self) -> SamplerState | None:
        return self.begin

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        self.states.append(state())


Painted = tuple[Tensor, Tensor]
"""Latents, and frames in [-1, 1]."""

MAX_LEVELS = 0.02  # of 255, before frames are rounded: by how much the decoder makes rounding of latents visible


@dataclass(frozen=True)
class Film:
    """What is painted. plan: of a format."""

    folder: Path
    plan: Callable[[Any], Plan]
    guidance: float = 3.0
    speed: Speed = DEFAULT_SPEED
    memory: str | None = None
    loras: tuple[tuple[Path, float], ...] = ()
    steps: int = STEPS

    def model(self, workers: Workers | None) -> Any:
        model = models.load(catalog.find(str(self.folder)), CPU, torch.float32, self.speed)
        for path, strength in self.loras:
            models.add_lora(model, path, strength)
        if workers is not None:
            model = parallel.parallelize(model, workers, torch.float32, self.speed, loras=self.loras)
        if self.memory is not None:
            models.plan_memory(model, (FRAMES, *SIZE), encodes=True, forced=self.memory)
        return model

    def painted(self, workers: Workers | None = None, kept: Kept | None = None) -> Painted:
        """Of the only window."""
        model = self.model(workers)
        spec = model.spec
        plan = self.plan(spec.format(SIZES.get(self.folder.name, SIZE), 16.0))
        (window,) = plan.windows
        settings = Settings.from_spec(spec, 7, steps=self.steps, guidance=self.guidance, negative_prompt="dim")
        latents = engine.paint_latents(
            model,
            Timeline(plan).canvas_for(window),
            plan.prompts[0],
            settings,
            source=plan.source,
            checkpoint=kept or Kept(),
        )
        return latents, torch.cat(list(model.decode(latents)))


@cache
def painted_by_one(film: Film) -> Painted:
    return film.painted()


def assert_same(film: Film, workers: Workers) -> None:
    """To the bit where the two halves of a guided step are all that is divided. Where tokens are, as they are in steps
    without guidance, matrix products have other shapes, and sum in another order: latents differ as rounding does, and
    frames by far less than a grey level."""
    halves_alone = workers.size == 2 and film.guidance != 1 and not film.speed.fast
    assert_near(painted_by_one(film), film.painted(workers), exact=halves_alone)
    assert "ring" in vars(workers.ranks), "all of them decode"


def assert_near(one: Painted, other: Painted, *, exact: bool = False) -> None:
    latents, frames = ((a - b).abs().max() for a, b in zip(one, other, strict=True))
    assert one[1].std() > 0.04, "a flat film shows nothing"
    assert float(latents) <= (0 if exact else 1e-5 * float(one[0].abs().max()))
    assert float(frames) * 127.5 <= (0 if exact else MAX_LEVELS)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def words(form: Any) -> Plan:
    return operations.generate(("a red cat walks",), frames=FRAMES, format=form)


def from_picture(form: Any) -> Plan:
    height, width = form.size
    return operations.img2vid(picture()[:height, :width], "walks", frames=FRAMES, format=form)


def edited(form: Any) -> Plan:
    clip = Clip(np.stack([picture(n) for n in range(FRAMES)]), 16.0)
    return operations.edit(clip, "a blue boat", strength=0.6, format=form)


EVERYWHERE: dict[str, Callable[[Any], Film]] = {
    "words": lambda folders: Film(folders("t2v"), words),
    "words without guidance": lambda folders: Film(folders("t2v"), words, guidance=1.0),
    "two experts": lambda folders: Film(folders("t2v-a14b"), words),
    "a picture and an image encoder": lambda folders: Film(folders("i2v"), from_picture),
    "times by the token": lambda folders: Film(folders("ti2v"), from_picture),
    "a control branch that skips steps": lambda folders: Film(folders("vace"), from_picture, speed=FAST, steps=12),
    "a clip painted anew": lambda folders: Film(folders("t2v"), edited),
}


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_several_processes_paint_what_one_does(folders: Any, workers: Workers, kind: str) -> None:
    film = EVERYWHERE[kind](folders)
    assert workers.ranks is not None
    sent = workers.ranks.sequence.bytes_sent
    assert_same(film, workers)
    exact = painted_by_one(replace(film, speed=DEFAULT_SPEED))
    assert torch.equal(exact[0], painted_by_one(film)[0]) == (film.speed == DEFAULT_SPEED), "some steps are skipped"
    if film.speed.fast:
        assert workers.ranks.sequence.bytes_sent > sent, "none rests without guidance"


@pytest.mark.parametrize("workers", [4], indirect=True)
@pytest.mark.parametrize("memory", ["streamed", "fp8"])
def test_under_a_small_memory_plan(folders: Any, workers: Workers, memory: str) -> None:
    assert_same(Film(folders("vace"), from_picture, memory=memory), workers)


@pytest.mark.parametrize("workers", [4], indirect=True)
def test_a_timestep_of_each_token(folders: Any, workers: Workers) -> None:
    assert_same(Film(folders("ti2v"), from_picture, speed=Speed(disabled=frozenset({"distinct-times"}))), workers)


@pytest.mark.parametrize("workers", [4], indirect=True)
def test_a_lora(folders: Any, workers: Workers, tmp_path: Path) -> None:
    """Every process merges it into its own weights."""
    name, file = "blocks.0.attn1.to_q", tmp_path / "a.safetensors"
    weights = {f"{name}.lora_A.weight": torch.ones(2, 24), f"{name}.lora_B.weight": torch.ones(24, 2)}
    save_file({f"transformer.{key}": tensor for key, tensor in weights.items()}, file)
    film = Film(folders("t2v"), words, loras=((file, 0.5),))
    assert not torch.equal(painted_by_one(film)[0], painted_by_one(replace(film, loras=()))[0])
    assert_same(film, workers)


@pytest.mark.parametrize("workers", [4], indirect=True)
@pytest.mark.parametrize("first", ["one", "several"])
def test_a_film_goes_on_with_another_number_of_processes(folders: Any, workers: Workers, first: str) -> None:
    """What step caches remember is kept whole, and divided anew; skipping steps changes the film."""
    film, begun = Film(folders("t2v"), words, speed=FAST, steps=12), Kept()
    order = (None, workers) if first == "one" else (workers, None)
    whole = film.painted(order[0], begun)
    assert not torch.equal(whole[0], painted_by_one(replace(film, speed=DEFAULT_SPEED))[0])
    assert any(name.startswith("step cache") for name in begun.states[5].velocity)
    assert_near(whole, film.painted(order[1], Kept(begun.states[5])))
