"""Windows that are sampled at once: the frames are those of one at a time, and a stop in their midst loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conftest import Blotches, Studio
from sora import catalog, media, models
from sora.engine import engine
from sora.engine.checkpoint import Checkpoint, SamplerState
from sora.engine.engine import Settings
from sora.engine.progress import ProgressEvent
from sora.jobs import checkpoints as files
from sora.jobs import job as jobs
from sora.models import batching, guidance
from sora.models.mini.model import Mini
from sora.plan import batches, operations
from sora.plan.clip import Clip
from sora.plan.plan import Control, Format, Plan
from sora.runtime.speed import Speed

MINI = catalog.find("mini")
SHOTS = ("a red balloon floats up", "a blue car drives to the right", "a green ball bounces")
FORM = Format((64, 64), (64, 64), 8.0, window=17, context=5, context_after=4, time=4)


@pytest.fixture
def batching_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small canvases are sampled at once on a CPU, too."""
    monkeypatch.setitem(batching.MAX_BATCHED_TOKENS, "cpu", 8192)


@pytest.fixture(scope="module")
def mini() -> Any:
    return models.load(MINI.with_guidance(), torch.device("cpu"), torch.float32)


def shots(frames: int = 15) -> Plan:
    return operations.generate(SHOTS, frames=frames, format=FORM)


def painted(model: Any, plan: Plan, *, checkpoints: Any = None, on_event: Any = None, **said: Any) -> np.ndarray:
    settings = Settings.from_spec(model.spec, 3, **{"steps": 3, **said})
    more = {} if checkpoints is None else {"checkpoints": checkpoints}
    return torch.cat(list(engine.paint(model, plan, settings, on_event, **more))).numpy()


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples of each call of the transformer, from now on."""
    counted, velocities = list[int](), guidance.GuidedTransformer.velocities

    def counting(self: Any, dit: Any, x: Tensor, *args: Any, **more: Any) -> Tensor:
        counted.append(len(x))
        return velocities(self, dit, x, *args, **more)

    monkeypatch.setattr(guidance.GuidedTransformer, "velocities", counting)
    return counted


# Which windows.


def test_short_shots_with_cuts_are_independent() -> None:
    assert batches.independent_runs(shots()) == ((0, 1, 2),)
    assert [w.frames for w in shots(17).windows] == [9, 5, 9] and batches.independent_runs(shots(17)) == ()
    long = operations.generate(("a", "b"), frames=60, format=FORM)
    assert [w.context_before for w in long.windows] == [0, 5, 5, 0, 5, 5] and batches.independent_runs(long) == ()


def test_what_makes_each_window_another_canvas_makes_no_batch() -> None:
    assert batches.independent_runs(replace(shots(), subject_from_first_shot=True)) == ()
    footage = Clip(np.zeros((60, 64, 64, 3), np.uint8), 8.0)
    assert batches.independent_runs(replace(shots(), control=Control(footage[:15], range(15)))) == ()
    assert batches.independent_runs(operations.edit(footage, "a", format=FORM, strength=0.5)) == ()
    assert batches.independent_runs(operations.bridge(footage, footage, "", frames=60, format=FORM)) == ()
    assert batches.independent_runs(operations.generate(("a",), frames=9, format=FORM)) == ()


@given(st.integers(1, 40), st.integers(1, 9))
def test_a_run_is_split_evenly(length: int, most: int) -> None:
    split = batches.split_evenly(tuple(range(length)), most)
    assert [n for each in split for n in each] == list(range(length))
    assert max(map(len, split)) <= most and max(map(len, split)) - min(map(len, split)) <= 1


def test_it_is_chosen_where_it_pays() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert batching.batched_windows(Speed(), cpu, 100) == 1
    assert [batching.batched_windows(Speed(), cuda, n) for n in (100, 1024, 3000, 5000, 32760)] == [8, 8, 2, 1, 1]
    assert batching.batched_windows(Speed("fast"), cuda, 100) == 1
    assert batching.batched_windows(Speed(disabled=frozenset({"batched-windows"})), cuda, 100) == 1


# The same frames.


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("sampler", ["euler", "unipc", "lcm"])
def test_the_frames_are_those_of_one_at_a_time(
    mini: Mini, monkeypatch: pytest.MonkeyPatch, scale: float, sampler: str
) -> None:
    alone = painted(mini, shots(), guidance=scale, sampler=sampler)
    monkeypatch.setitem(batching.MAX_BATCHED_TOKENS, "cpu", 8192)
    counted = passes(monkeypatch)
    together = painted(mini, shots(), guidance=scale, sampler=sampler)
    assert counted == [3] * 3
    assert np.abs(alone.astype(int) - together.astype(int)).max() <= 1
    assert not np.array_equal(alone[:5], alone[5:10])


def test_events_count_every_window(mini: Mini, batching_here: None) -> None:
    events: list[ProgressEvent] = []
    painted(mini, shots(), on_event=events.append)
    for window in (1, 2, 3):
        own = [event for event in events if event.window == window]
        assert all(event.windows == 3 for event in own)
        assert [(e.done, e.total) for e in own if e.phase == "sample"][-1] == (3, 3)
        assert [(e.done, e.total) for e in own if e.phase == "decode"][-1] == (5, 5)
    order = [event.window for event in events]
    assert order == sorted(order)


def test_a_batch_that_does_not_fit_is_painted_one_by_one(
    mini: Mini, batching_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind_batch = Mini.bind_batch

    def failing(self: Mini, canvas: Any, latents: Any, prompts: Any, *more: Any) -> Any:
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return bind_batch(self, canvas, latents, prompts, *more)

    together = painted(mini, shots())
    monkeypatch.setattr(Mini, "bind_batch", failing)
    assert np.abs(together.astype(int) - painted(mini, shots()).astype(int)).max() <= 1


# Checkpoints.


class Stop(Exception):
    pass


class Kept:
    """A ``Checkpoint`` in a folder, which saves at the steps that ``saves`` allows and stops after some."""

    def __init__(self, folder: Path, saves: Callable[[int], bool], stop_after: int | None) -> None:
        self.folder, self.saves, self.stop_after = folder, saves, stop_after

    def state(self) -> SamplerState | None:
        return files.read_state(self.folder)

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        if done < total and self.saves(done):
            files.write_state(self.folder, state())
        if done == self.stop_after:
            raise Stop

    def latents(self) -> Tensor | None:
        return files.read_latents(self.folder)

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        files.write_latents(self.folder, latents_BCTHW, 1)

    def frames(self) -> None:
        return None

    def keep_frames(self, chunks: Any) -> Any:
        return chunks


def kept_in(folder: Path, saves: Callable[[int, int], bool], stop_after: int | None = None) -> Any:
    def checkpoints(name: str) -> Checkpoint:
        window = int(name.removeprefix("window-"))
        return Kept(folder / name, lambda step: saves(window, step), stop_after)

    return checkpoints


@pytest.mark.parametrize(("sampler", "uneven"), [("euler", False), ("unipc", True), ("lcm", True)])
def test_a_batch_that_was_stopped_goes_on_bit_for_bit(
    mini: Mini, batching_here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sampler: str, uneven: bool
) -> None:
    """uneven: as after a crash between two saves, some windows are further than others, and one has nothing."""
    options = {"steps": 6, "sampler": sampler, "guidance": 3.0}
    whole = painted(mini, shots(), **options)
    saves = (lambda window, step: window != 2 and step <= 2 + window) if uneven else (lambda window, step: True)
    with pytest.raises(Stop):
        painted(mini, shots(), checkpoints=kept_in(tmp_path, saves, 4), **options)
    states = [files.read_state(tmp_path / f"window-{n:04d}") for n in (1, 2, 3)]
    steps = [None if state is None else state.step for state in states]
    assert steps == ([3, None, 4] if uneven else [4, 4, 4])
    counted = passes(monkeypatch)
    again = painted(mini, shots(), checkpoints=kept_in(tmp_path, saves), **options)
    assert counted == [3] * (6 if uneven else 2)
    assert np.array_equal(again, whole)
    (tmp_path / "window-0002" / files.LATENTS).unlink()  # one window's latents are lost, those of the others stand
    assert np.array_equal(painted(mini, shots(), checkpoints=kept_in(tmp_path, saves), **options), whole)
    counted.clear()
    assert np.array_equal(painted(mini, shots(), checkpoints=kept_in(tmp_path, saves), **options), whole)
    assert counted == []


def test_a_job_counts_the_steps_of_a_batch_and_goes_on(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def bind_batch(self: Blotches, canvas: Any, latents: Any, prompts: Any, *more: Any) -> Any:
        each = [Blotches.bind(self, canvas, latents, prompt, *more) for prompt in prompts]
        called.append(len(each))
        return lambda x, t: torch.cat([own(x[n : n + 1], t) for n, own in enumerate(each)])

    called: list[int] = []
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    command = ("generate", SHOTS[0], "--then", SHOTS[1], "--then", SHOTS[2], "--frames", "15", "--steps", "4")
    command = (*command, "--size", "64x64", "--seed", "3", "--anyway")
    assert studio(*command, "-o", "alone.mkv", "--no-journal").exit_code == 0
    monkeypatch.setattr(Blotches, "batched_windows", lambda self, shape: 8, raising=False)
    monkeypatch.setattr(Blotches, "bind_batch", bind_batch, raising=False)
    done: list[tuple[int, int]] = []
    for _ in range(9):
        result = studio(*command, "-o", "together.mkv", "--stop-after", "4")
        assert result.exit_code == 0, result.stderr
        (job,) = jobs.every()
        done.append((job.progress.steps_done, job.progress.steps_total))
        if Path("together.mkv").exists():
            break
    # Each run goes on until the step of all windows in which the fourth of its steps is.
    assert done == [(6, 12), (12, 12), (12, 12)] and called == [3, 3]
    alone, together = (media.read_clip(name).frames_FYXC for name in ("alone.mkv", "together.mkv"))
    assert np.array_equal(alone, together)
