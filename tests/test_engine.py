"""The sequence of phases, with a model small enough to know the answer: its latents are the pixels themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sora import engine, families
from sora.canvas import Canvas, Latents, Plan
from sora.clip import Clip
from sora.engine import Event, Settings
from sora.errors import OutOfMemory
from sora.families import ModelSpec
from sora.grid import Grid
from sora.sampler import Velocity

SETTINGS = Settings(seed=3, steps=4, guidance=1.0, shift=1.0, step="euler")
TARGET = 0.5  # what the toy paints, on the scale of [-1, 1]
PAINTED = round((TARGET + 1) * 127.5)


@dataclass(frozen=True)
class Toy:
    """Paints every unknown pixel the same; decodes in chunks of two frames."""

    spec: ModelSpec = field(
        default_factory=lambda: replace(families.find("mini"), grid=Grid(time=1, space=1, channels=3, patch=1))
    )
    fails: bool = False

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode(self, canvas: Canvas) -> Latents:
        pixels = (canvas.frames_FCYX / 127.5 - 1).permute(1, 0, 2, 3)[None]
        return Latents(pixels, 1 - canvas.known_F1YX.permute(1, 0, 2, 3)[None].float())

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        if self.fails:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        yield from latents_BCTHW[0].permute(1, 0, 2, 3).split(2)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative: str, guidance: float) -> Velocity:
        return lambda x, t: (x - TARGET) / t

    def unknown_words(self, prompt: str) -> list[str]:
        return []


def blank(frames: int) -> Canvas:
    return Canvas.blank(frames, 4, 6, 8.0)


def film(plan: Plan, on_event: engine.Listener | None = None) -> Tensor:
    return torch.cat(list(engine.paint(Toy(), plan, SETTINGS, on_event)))


def solid(frames: int, value: int) -> Clip:
    return Clip(np.full((frames, 4, 6, 3), value, np.uint8), 8.0)


def test_the_unknown_is_painted() -> None:
    painted = film(Plan((blank(5),), ("",)))
    assert painted.shape == (5, 3, 4, 6)
    assert painted.dtype == torch.uint8
    assert (painted == PAINTED).all()


def test_known_pixels_come_back_exactly() -> None:
    canvas = blank(5).with_known(solid(2, 201), 3)
    painted = film(Plan((canvas,), ("",)))
    assert (painted[3:] == 201).all()
    assert (painted[:3] == PAINTED).all()


def test_film_stands_before_the_kept_frames_and_after() -> None:
    painted = film(Plan((blank(6),), ("",), keep=slice(1, 4), before=solid(2, 10), after=solid(1, 20)))
    assert [int(frame.float().mean()) for frame in painted] == [10, 10, PAINTED, PAINTED, PAINTED, 20]


def test_events_tell_of_every_phase_in_order() -> None:
    heard: list[Event] = []
    film(Plan((blank(5),), ("",)), heard.append)
    phases = list(dict.fromkeys(e.phase for e in heard))
    assert phases == ["encode", "sample", "decode"]
    assert [e.done for e in heard if e.phase == "sample"] == [1, 2, 3, 4]
    assert heard[-1] == Event("decode", 5, 5)


def test_the_seed_decides_and_nothing_else() -> None:
    def noise(seed: int) -> Tensor:
        kept: list[Tensor] = []

        class Watcher(Toy):
            def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative: str, guidance: float) -> Velocity:
                return lambda x, t: kept.append(x.clone()) or torch.zeros_like(x)

        engine.paint_latents(Watcher(), blank(2), "", replace(SETTINGS, seed=seed))
        return kept[0]

    expected = torch.randn((1, 3, 2, 4, 6), generator=torch.Generator("cpu").manual_seed(7), dtype=torch.float32)
    assert torch.equal(noise(7), expected)
    assert not torch.equal(noise(8), expected)


def test_running_out_of_memory_is_said_in_one_line() -> None:
    with pytest.raises(OutOfMemory, match=r"5 frames of 6x4 do not fit in memory; try"):
        list(engine.paint(Toy(fails=True), Plan((blank(5),), ("",)), SETTINGS))


def test_other_faults_are_not_taken_for_memory() -> None:
    class Broken(Toy):
        def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(engine.paint(Broken(), Plan((blank(1),), ("",)), SETTINGS))
