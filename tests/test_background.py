"""A thread that works ahead does so in order, hands over each result once, and ends when nobody wants more."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sora.errors import ModelError
from sora.runtime.background import Background, Work
from sora.weights.page_cache import PIECE, read_into_page_cache

Check = Callable[[], None]
SECONDS = 120  # until something counts as hanging


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.005)


def forever(check: Check) -> str:
    while True:
        check()
        time.sleep(0.001)


def threads_of_ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sora-background"]


@pytest.fixture(autouse=True)
def idle() -> None:
    """What the test before left to work in the background has ended: these tests count threads."""
    gc.collect()
    until(lambda: not threads_of_ours())


def test_works_are_done_in_order_in_another_thread_and_taken_once() -> None:
    seen: list[str] = []

    def work(name: str) -> Work[str]:
        return Work(name, lambda check: seen.append(name) or threading.current_thread().name)

    background = Background[str]()
    background.start([work("a"), work("b"), Work("c", lambda check: "not kept", is_result=False)])
    until(lambda: not threads_of_ours())
    assert seen == ["a", "b"] and background.take("b") == background.take("a") == "sora-background"
    assert background.take("a") is None and background.take("c") is None and background.take("d") is None


def test_a_work_that_has_begun_is_waited_for_and_one_that_has_not_is_left_out() -> None:
    go, begun = threading.Event(), threading.Event()

    def slow(check: Check) -> str:
        begun.set()
        assert go.wait(SECONDS)
        return "slow"

    background = Background[str]()
    background.start([Work("slow", slow), Work("later", lambda check: pytest.fail("it was taken before"))])
    assert begun.wait(SECONDS)
    assert background.take("later") is None
    threading.Timer(0.05, go.set).start()
    assert background.take("slow") == "slow"
    until(lambda: not threads_of_ours())


def test_an_error_is_raised_where_the_result_is_taken_and_the_next_work_goes_on() -> None:
    def bad(check: Check) -> str:
        raise ModelError("the weights file x is damaged")

    background = Background[str]()
    background.start([Work("bad", bad), Work("good", lambda check: "good")])
    until(lambda: not threads_of_ours())
    with pytest.raises(ModelError, match="the weights file x is damaged"):
        background.take("bad")
    assert background.take("good") == "good" and background.take("bad") is None


def test_waiting_is_for_all_results_and_takes_none() -> None:
    background = Background[str]()
    background.wait()
    slow = lambda check: time.sleep(0.05) or "there"  # noqa: E731
    background.start([Work("a", slow), Work("b", slow), Work("c", forever, is_result=False)])
    background.wait()
    assert all(future.done() for future in background._futures.values())
    assert background.take("a") == background.take("b") == "there"
    background.stop()


def test_stopping_ends_the_work_and_drops_what_was_not_taken() -> None:
    background = Background[str]()
    background.start([Work("done", lambda check: "done"), Work("long", forever), Work("never", forever)])
    until(lambda: background._futures["done"].done())
    background.stop()
    assert not threads_of_ours() and background.take("done") is None and background.take("long") is None
    background.start([Work("new", lambda check: "new")])
    until(lambda: not threads_of_ours())
    assert background.take("new") == "new"


def test_a_thread_ends_with_what_started_it() -> None:
    background = Background[str]()
    background.start([Work("long", forever)])
    until(lambda: bool(threads_of_ours()))
    del background
    gc.collect()
    until(lambda: not threads_of_ours())


def test_a_program_ends_though_a_thread_works() -> None:
    code = (
        "import time\nfrom sora.runtime.background import Background, Work\n"
        "def forever(check):\n    while True:\n        check()\n        time.sleep(0.001)\n"
        "b = Background()\nb.start([Work('long', forever)])\ntime.sleep(0.1)\nraise KeyboardInterrupt\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert "KeyboardInterrupt" in done.stderr and "Stopped" not in done.stderr


def test_modes_of_the_main_thread_do_not_reach_another() -> None:
    """Loading ahead relies on it: networks are made on the meta device, and films are painted in inference mode."""
    background = Background[torch.Tensor]()
    with torch.device("meta"), torch.inference_mode():
        background.start([Work("made", lambda check: torch.ones(3))])
        until(lambda: not threads_of_ours())
        made = background.take("made")
    assert made is not None and made.device.type == "cpu" and not made.is_inference()


# --- the system's cache ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(bytes(PIECE + 7))
    return paths


def test_files_are_read_once_where_they_fit(files: list[Path]) -> None:
    total = 2 * (PIECE + 7)
    assert read_into_page_cache(files, total) == total
    assert read_into_page_cache(files, total - 1) == 0


def test_reading_ends_when_it_is_asked_to(files: list[Path]) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ModelError("enough")

    with pytest.raises(ModelError, match="enough"):
        read_into_page_cache(files, 2**40, check)
    assert calls == 2


def test_what_cannot_be_read_is_left_to_whoever_needs_it(files: list[Path], tmp_path: Path) -> None:
    assert read_into_page_cache([*files, tmp_path / "missing"], 2**40) == 0
    assert read_into_page_cache([tmp_path], 2**40) == 0
