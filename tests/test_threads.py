"""How many threads paint, how they wait, and what a file says of it."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import Studio
from sora import catalog, media, models
from sora.engine import engine
from sora.plan import operations
from sora.plan.clip import Clip
from sora.runtime import threads
from sora.runtime.speed import Speed

SMALL = ("--size", "64x48", "--frames", "5", "--steps", "1", "--seed", "3")


@pytest.mark.parametrize(
    ("cores", "others", "quota", "found"),
    [
        (2, 0.0, math.inf, 2),
        (2, 0.4, math.inf, 2),  # less than half a core is not a program that is busy
        (2, 2.0, math.inf, 2),  # none is free: to share all cores gives more than to share one
        (8, 2.0, math.inf, 6),
        (8, 3.6, math.inf, 8),
        (8, 99.0, math.inf, 8),
        (64, 10.2, math.inf, 54),
        (64, 30.0, 4.0, 4),  # the quota is this process's own, whatever others do
        (8, 0.0, 2.5, 2),
        (8, 0.0, 0.5, 1),
        (1, 1.0, math.inf, 1),
    ],
)
def test_threads_are_as_many_as_cores_are_free(cores: int, others: float, quota: float, found: int):
    assert threads.fastest_thread_count(cores, others, quota) == found


def test_a_person_and_the_environment_decide_before_the_load_does(monkeypatch: pytest.MonkeyPatch):
    for name in threads.COUNT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert threads.thread_count(5, 0.0, default=2) == 5
    assert threads.thread_count(None, 0.0, default=1) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads.thread_count(None, 0.0, default=7) == 7


def test_threads_are_told_to_sleep_before_torch_is_imported():
    code = "import sora.runtime.threads as t, os; alone = {}; t.wait_passively(alone, 0.0); print(alone)\n"
    code += "t.wait_passively(os.environ, 2.0); import torch\n"
    code += "print({name: os.environ.get(name) for name in t.WAIT_VARIABLES}); "
    code += "e = {}; t.wait_passively(e, 0.0); print(e)"  # too late
    env = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [*(str(threads.WAIT_SETTINGS[busy]) for busy in (False, True)), "{}"]


@pytest.mark.parametrize("name", threads.WAIT_VARIABLES)
def test_what_a_person_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "torch")
    environ = {name: "active"}
    threads.wait_passively(environ, 2.0)
    assert environ == {name: "active"}


def test_work_is_counted_on_the_cores_that_are_ones_own():
    lines = ["cpu 99 99 99 99 99 99 99 99 99 99", "cpu0 10 1 2 500 40 3 4 5 7 0", "cpu1 100 0 0 0 0 0 0 0 0 0"]
    assert threads.busy_ticks(lines, {0}, niced=True) == 25
    assert threads.busy_ticks(lines, {0}, niced=False) == 24
    assert threads.busy_ticks(lines, {0, 1}, niced=True) == 125


def test_a_control_groups_quota_counts_on_every_level(tmp_path: Path):
    root, own = tmp_path / "cgroup", tmp_path / "own"
    (root / "a" / "b").mkdir(parents=True)
    own.write_text("1:cpu:/x\n0::/a/b\n", encoding="utf-8")
    assert threads.quota(root, own) == math.inf
    (root / "a" / "b" / "cpu.max").write_text("max 100000\n", encoding="ascii")
    assert threads.quota(root, own) == math.inf
    (root / "a" / "cpu.max").write_text("150000 100000\n", encoding="ascii")
    assert threads.quota(root, own) == 1.5
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text("100000\n", encoding="ascii")
    (root / "cpu" / "cpu.cfs_period_us").write_text("200000\n", encoding="ascii")
    assert threads.quota(root, own) == 0.5
    assert threads.quota(tmp_path / "none", tmp_path / "none") == math.inf


def test_the_recipe_holds_the_threads_and_remake_takes_as_many(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    def recipe(name: str) -> dict[str, object]:
        return json.loads(media.read_recipe(name) or "{}")

    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(threads, "max_threads", lambda _: 3)
        assert studio("generate", "a ball", *SMALL, "--threads", 3, "-o", "film.mkv").exit_code == 0
        assert recipe("film.mkv")["threads"] == 3
        assert "threads" not in str(recipe("film.mkv")["request"])
        assert '"threads": 3' in studio("info", "film.mkv", "--json").stdout
        torch.set_num_threads(1)
        assert "threads" not in studio("remake", "film.mkv").stderr
        assert recipe("film-remake.mkv")["threads"] == 3
        monkeypatch.setattr(threads, "max_threads", lambda _: 2)
        torch.set_num_threads(1)
        result = studio("remake", "film.mkv", "-o", "few.mkv")
        assert "film.mkv was painted by 3 threads, and there are 2 here" in result.stderr
        assert recipe("few.mkv")["threads"] == 1
    finally:
        torch.set_num_threads(before)


def test_no_threads_are_refused(studio: Studio):
    result = studio("generate", "a ball", *SMALL, "--threads", 0)
    assert (result.exit_code, "--threads 0 is out of range" in result.stderr) == (2, True)


@pytest.mark.parametrize("known", [False, True], ids=["words", "words and frames"])
def test_frames_do_not_depend_on_the_number_of_threads(known: bool):
    spec = catalog.find("mini")
    model, d = models.load(spec, torch.device("cpu"), torch.float32, Speed()), spec.defaults
    form = spec.format((208, 272), d.fps)  # cut by threads at no round number
    plan = operations.generate(("a red balloon floats up",), frames=9, format=form)
    settings = engine.Settings.from_spec(spec, 1, steps=1)
    before, found = torch.get_num_threads(), set()
    try:
        clip = Clip(torch.cat(list(engine.paint(model, plan, settings))).permute(0, 2, 3, 1).numpy(), d.fps)
        if known:
            plan = operations.extend(clip, "a red balloon floats up", frames=4, format=form)
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            frames = torch.cat(list(engine.paint(model, plan, settings)))
            found.add(hashlib.sha256(frames.numpy().tobytes()).hexdigest())
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1
