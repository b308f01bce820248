"""The sequence of phases, with a model small enough to know the answer: its latents are the pixels themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from sora import catalog
from sora.catalog.spec import ModelSpec
from sora.engine import engine
from sora.engine.canvas import Canvas, Latents
from sora.engine.engine import Settings
from sora.engine.progress import Listener, ProgressEvent
from sora.engine.resizing import to_uint8
from sora.engine.timeline import Timeline
from sora.engine.velocity import Velocity
from sora.errors import OutOfMemory
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.grid import Grid
from sora.plan.plan import Format, Plan

SETTINGS = Settings(seed=3, steps=4, guidance=1.0, shift=1.0, sampler="euler")
TARGET = 0.5  # what the toy paints, on the scale of [-1, 1]
PAINTED = round((TARGET + 1) * 127.5)


@dataclass(frozen=True)
class Toy:
    """Paints every unknown pixel the same; decodes in chunks of two frames."""

    spec: ModelSpec = field(
        default_factory=lambda: replace(catalog.find("mini"), grid=Grid(time=1, space=1, channels=3, patch=1))
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

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        return lambda x, t: (x - TARGET) / t


FORM = Format((4, 6), (4, 6), 8.0, window=9, context=3, context_after=2, time=1)


def blank(frames: int) -> Canvas:
    return Canvas.blank(frames, 4, 6, 8.0)


def words(frames: int) -> Plan:
    return operations.generate(("",), frames=frames, format=FORM)


def film(plan: Plan, on_event: Listener | None = None) -> Tensor:
    return torch.cat(list(engine.paint(Toy(), plan, SETTINGS, on_event)))


def solid(frames: int, value: int) -> Clip:
    return Clip(np.full((frames, 4, 6, 3), value, np.uint8), 8.0)


def test_the_unknown_is_painted() -> None:
    painted = film(words(5))
    assert painted.shape == (5, 3, 4, 6)
    assert painted.dtype == torch.uint8
    assert (painted == PAINTED).all()


def noisy(frames: int, seed: int = 5, size: tuple[int, int] = (4, 6)) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), np.uint8), 8.0)


def same(frames_FCYX: Tensor, clip: Clip) -> bool:
    return bool((frames_FCYX.permute(0, 2, 3, 1).numpy() == clip.frames_FYXC).all())


def test_clips_stand_exactly_where_they_belong() -> None:
    a, b = noisy(7, 1), noisy(6, 2)
    bridged = film(operations.bridge(a, b, "", frames=9, format=FORM))
    assert bridged.shape[0] == 22
    assert same(bridged[:7], a) and same(bridged[-6:], b)
    for backward, span in ((False, slice(0, 7)), (True, slice(11, 18))):
        extended = film(operations.extend(a, "", frames=11, format=FORM, backward=backward))
        assert extended.shape[0] == 18 and same(extended[span], a)
    looped = film(operations.loop(a, "", frames=4, format=FORM))
    assert looped.shape[0] == 11 and same(looped[:7], a)


def test_clips_keep_their_pixels_when_the_model_paints_at_another_size() -> None:
    form, clip = replace(FORM, size=(10, 14)), noisy(7, 3, (10, 14))
    extended = film(operations.extend(clip, "", frames=5, format=form))
    assert extended.shape == (12, 3, 10, 14)
    assert same(extended[:7], clip)


def test_outside_a_region_nothing_changes_and_inside_it_does() -> None:
    clip, mask = noisy(12), np.zeros((1, 4, 6), bool)
    mask[:, 1:3, 2:5] = True
    edited = film(operations.edit(clip, "", format=FORM, strength=1.0, paint_FYX=mask)).permute(0, 2, 3, 1).numpy()
    outside = np.broadcast_to(~mask, clip.frames_FYXC.shape[:3])
    assert (edited[outside] == clip.frames_FYXC[outside]).all()
    assert (edited[~outside] != clip.frames_FYXC[~outside]).any()


class Listening(Toy):
    """Paints greys around the one that it is told, from 0 to 255: the exact flow to a normal distribution."""

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        mean, variance = int(prompt) / 127.5 - 1, 0.3**2

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            growth = (t - (1 - t) * variance) / ((1 - t).square() * variance + t.square())
            return growth * (x - (1 - t) * mean) - mean

        return velocity


@pytest.mark.parametrize("method", ["noise", "flow"])
def test_strength_is_how_far_an_edit_goes(method: str) -> None:
    clip, ways = solid(9, 80), []
    for strength in (0.0, 0.4, 0.7, 1.0):
        plan = operations.edit(clip, "170", format=FORM, strength=strength, method=method, source_prompt="80")
        edited = torch.cat(list(engine.paint(Listening(), plan, SETTINGS)))
        ways.append(float(edited.float().mean()) - 80)
    assert ways[0] == 0
    assert all(way + 5 < further for way, further in pairwise(ways)), ways
    assert ways[-1] == pytest.approx(90, abs=8)


def test_long_film_is_painted_in_windows_and_streams_out() -> None:
    plan = words(40)
    assert len(plan.windows) > 3
    chunks = engine.paint(Toy(), plan, SETTINGS)
    assert next(chunks).shape[0] == 1
    assert 1 + sum(len(c) for c in chunks) == 40


def test_a_window_is_forgotten_when_nothing_needs_it() -> None:
    plan = words(200)
    film_, most = Timeline(plan), 0
    for window in plan.windows:
        canvas = film_.canvas_for(window)
        film_.add(window, canvas.frames_FCYX)
        list(film_.pop_ready())
        most = max(most, len(film_._painted))
    assert most <= FORM.window


def test_a_circle_closes() -> None:
    heard: list[ProgressEvent] = []
    cycle = film(operations.text_loop("", frames=6, format=FORM), heard.append)
    assert cycle.shape[0] == 6
    assert heard[-1] == ProgressEvent("decode", 6, 6)


def test_events_tell_of_every_phase_in_order() -> None:
    heard: list[ProgressEvent] = []
    film(words(5), heard.append)
    phases = list(dict.fromkeys(e.phase for e in heard))
    assert phases == ["encode", "sample", "decode"]
    assert [e.done for e in heard if e.phase == "sample"] == [1, 2, 3, 4]
    assert heard[-1] == ProgressEvent("decode", 5, 5)


def test_the_seed_decides_and_nothing_else() -> None:
    def noise(seed: int) -> Tensor:
        kept: list[Tensor] = []

        class Watcher(Toy):
            def bind(
                self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float
            ) -> Velocity:
                return lambda x, t: kept.append(x.clone()) or torch.zeros_like(x)

        engine.paint_latents(Watcher(), blank(2), "", replace(SETTINGS, seed=seed))
        return kept[0]

    expected = torch.randn((1, 3, 2, 4, 6), generator=torch.Generator("cpu").manual_seed(7), dtype=torch.float32)
    assert torch.equal(noise(7), expected)
    assert not torch.equal(noise(8), expected)


def test_running_out_of_memory_is_said_in_one_line() -> None:
    with pytest.raises(OutOfMemory, match=r"5 frames of 6x4 do not fit in memory; try"):
        list(engine.paint(Toy(fails=True), words(5), SETTINGS))


def test_other_faults_are_not_taken_for_memory() -> None:
    class Broken(Toy):
        def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(engine.paint(Broken(), words(1), SETTINGS))


def edited() -> Plan:
    mask = np.zeros((1, 4, 6), bool)
    mask[:, 1:3, 2:5] = True
    return operations.edit(noisy(12), "", format=FORM, strength=1.0, paint_FYX=mask)


class Grained(Toy):
    """Paints grain that follows the noise, so that colours differ from window to window."""

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        return lambda x, t: 0.7 * x


PLANS = {
    "one window": words(5),
    "windows": words(40),
    "shots": operations.generate(("a", "b"), frames=30, format=FORM),
    "larger": replace(words(20), format=replace(FORM, size=(10, 14))),
    "extend": operations.extend(noisy(7), "", frames=11, format=FORM),
    "backward": operations.extend(noisy(7), "", frames=11, format=FORM, backward=True),
    "circle": operations.text_loop("", frames=6, format=FORM),
    "edit": edited(),
}


@pytest.mark.parametrize("name", PLANS)
def test_frames_that_go_out_early_are_the_same(name: str) -> None:
    early, late = (
        torch.cat(list(engine.paint(Grained(), PLANS[name], replace(SETTINGS, stream=on)))) for on in (True, False)
    )
    assert len(early) == PLANS[name].frames
    assert torch.equal(early, late)


@pytest.mark.parametrize(("overlap", "decoded"), [(True, 2), (False, 9)])
def test_frames_go_out_while_the_next_are_decoded(overlap: bool, decoded: int) -> None:
    heard: list[ProgressEvent] = []
    next(engine.paint(Toy(), words(9), replace(SETTINGS, stream=overlap), heard.append))
    assert heard[-1] == ProgressEvent("decode", decoded, 9)


def test_no_setting_of_torch_holds_for_who_reads_the_frames() -> None:
    for _ in engine.paint(Toy(), words(9), SETTINGS):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_pixels_are_rounded_once_and_within_their_range() -> None:
    pixels = torch.tensor([-9.0, -1.0, 0.0, 0.5, 1.0, 9.0]).view(1, 1, 1, 6).expand(2, 3, 4, 6)
    assert to_uint8(pixels, (4, 6))[0, 0, 0].tolist() == [0, 0, 128, PAINTED, 255, 255]
    assert to_uint8(pixels, (8, 12)).shape == (2, 3, 8, 12)
