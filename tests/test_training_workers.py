"""Rendering in processes of their own: what comes back, what memory it takes, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor

from minitrain.clip_bank import ClipBank
from minitrain.clips import ClipSource, DataMix
from minitrain.render_workers import CAPTIONS_PER_CLIP, COVER_CELL, ClipGroup, RenderConfig, RenderWorkers, WorkerError
from minitrain.worlds import WORLDS
from minitrain.worlds.subjects import SHAPES

# Shapes alone: a machine that only runs the tests need not have the font of the other subjects.
WORLD, WIDE = (replace(WORLDS[name], subjects=tuple(SHAPES)) for name in ("small", "wide"))
PLAN = RenderConfig(
    {(32, 32): 0.5, (32, 64): 0.5},
    {9: 0.5, 17: 0.5},
    clips_per_group=2,
    second_world_share=0.5,
    mix=DataMix(inpainting_share=0.5),
)
PATIENCE = 60.0  # seconds for something that takes one on an idle machine


def read(texts: list[str]) -> Tensor:
    return torch.tensor([[len(text), 7] for text in texts])


@contextmanager
def working(plan: RenderConfig = PLAN, read=read, workers: int = 1) -> Iterator[RenderWorkers]:
    with RenderWorkers([WORLD, WIDE], plan, read, workers, seed=3) as farm:
        yield farm


def taken(farm: RenderWorkers, count: int) -> list[ClipGroup]:
    found: list[ClipGroup] = []
    while len(found) < count:
        found += farm.take(count - len(found), wait=0.5)
    return found


def test_groups_have_the_requested_sizes_and_lengths_and_captions() -> None:
    with working() as farm:
        groups = taken(farm, 24)  # three times as many as there are slots
    assert {(g.size, g.length) for g in groups} == {(s, n) for s in PLAN.sizes for n in PLAN.lengths}
    assert {g.has_captions for g in groups} == {True, False}
    for g in groups:
        assert g.frames.shape == (2, 3, g.length, *g.size) and g.frames.dtype == torch.uint8
        assert g.cover.shape == (2, g.length, g.size[0] // COVER_CELL, g.size[1] // COVER_CELL)
        assert len(g.holes) == len(g.midway) == 2
        if g.has_captions:
            assert g.ids.shape == (2, CAPTIONS_PER_CLIP, 2) and (g.ids[..., 1] == 7).all()
    assert len({g.frames.float().mean().item() for g in groups}) == 24  # none came twice
    assert farm.clips == 48


def test_the_second_world_comes_only_while_it_is_wanted() -> None:
    with working() as farm:
        farm.include_second_world = False
        taken(farm, 10)  # some of these were begun before
        assert all(g.has_captions for g in taken(farm, 8))


def test_an_error_in_a_worker_is_raised_with_its_traceback() -> None:
    def fails(texts: list[str]) -> Tensor:
        raise ValueError(f"no words for {len(texts)} texts")

    with working(replace(PLAN, second_world_share=0.0), fails) as farm, pytest.raises(WorkerError) as raised:
        taken(farm, 1)
    assert "no words for 4 texts" in str(raised.value) and "in fails" in str(raised.value)


def test_a_worker_that_is_killed_is_missed() -> None:
    with working() as farm:
        taken(farm, 1)
        os.kill(farm._workers[0].pid or 0, signal.SIGKILL)
        with pytest.raises(WorkerError, match="fewer --workers"):
            taken(farm, 100)


def test_workers_end_with_the_trainer() -> None:
    """Even where that is killed and can tidy nothing up."""
    program = textwrap.dedent("""
        import time
        import torch
        from minitrain.render_workers import RenderConfig, RenderWorkers
        from minitrain.worlds import WORLDS
        plan = RenderConfig({(32, 32): 1.0}, {5: 1.0})
        farm = RenderWorkers([WORLDS["small"]], plan, lambda texts: torch.ones(len(texts), 1), 2, 1)
        print(*(worker.pid for worker in farm._workers), flush=True)
        time.sleep(600)
    """)
    trainer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    pids = [int(pid) for pid in trainer.stdout.readline().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    trainer.kill()
    trainer.wait()
    end = time.monotonic() + PATIENCE
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_closing_ends_all_of_them() -> None:
    with working(workers=2) as farm:
        pids = [worker.pid or 0 for worker in farm._workers]
    assert not any(map(alive, pids))
    farm.close()  # a second time does nothing


# Clips and crops ----------------------------------------------------------------------------------------------------


def group(size: tuple[int, int], frames: int, seed: int, *, captioned: bool = True) -> ClipGroup:
    source = ClipSource(WORLD, Random(seed), DataMix(inpainting_share=0.0, midway_share=0.0))
    drawn = [source.draw(size, frames) for _ in range(2)]
    shown, cover = source.render(drawn, size, frames)
    cells = torch.nn.functional.avg_pool2d(cover.float(), COVER_CELL).to(torch.uint8)
    ids = torch.ones(2, CAPTIONS_PER_CLIP, 3, dtype=torch.int32)
    return ClipGroup(shown, cells, ids, [d.hole for d in drawn], [d.midway for d in drawn], captioned)


class Delivering:
    """Stands for workers that have everything ready."""

    config = PLAN

    def __init__(self, groups: list[ClipGroup]) -> None:
        self.groups = groups

    def take(self, limit: int, *, wait: float = 0.0) -> list[ClipGroup]:
        some, self.groups = self.groups[:limit], self.groups[limit:]
        return some


def bank(groups: list[ClipGroup], room: float = 1e9) -> ClipBank:
    made = ClipBank(Delivering(groups), room, Random(2))  # type: ignore[arg-type]
    made.receive(len(groups))
    return made


def test_the_bank_keeps_within_its_room_and_forgets_the_oldest() -> None:
    groups = [group((32, 32), 9, seed) for seed in range(6)]
    kept = bank(groups, room=3.5 * groups[0].frames.nbytes)
    assert kept.captioned(10) == groups[3:]
    assert list(kept.drain()) == groups[:2:-1] and kept.bytes == 0


def test_crops_are_cut_from_clips_with_the_subject_weighing_more() -> None:
    kept = bank([group((128, 144), 9, seed) for seed in range(2)])
    torch.manual_seed(0)
    pixels, weights = kept.crops(4)
    assert pixels.shape == (4, 3, 9, 128, 128) and weights.shape == (4, 1, 9, 128, 128)
    assert pixels.min() >= -1 and pixels.max() <= 1 and 1 <= weights.min() < weights.max() <= 4
    whole = torch.cat([g.frames for g in kept.captioned(2)]).float() / 127.5 - 1
    for crop in pixels:  # each is a window of one of the clips
        places = [
            (whole[i, :, 0].unfold(1, 128, 1).unfold(2, 128, 1) - crop[:, 0, None, None]).abs().amax((0, 3, 4)).min()
            for i in range(len(whole))
        ]
        assert min(places) == 0
