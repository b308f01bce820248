"""How the tests themselves are run: in several processes where that is faster, with the right count at the end."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import conftest
from sora.runtime import threads

HERE = Path(__file__).parent
GB = 1 << 30
THREADS = torch.get_num_threads()


def workers(*arguments: str) -> int | None:
    config: Any = SimpleNamespace(args=arguments)
    return conftest.pytest_xdist_auto_num_workers(config)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """machine(cores, bytes of memory, cores' worth of time)."""
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)

    def be(cores: int, memory: int, quota: float = 99.0) -> None:
        monkeypatch.setattr(threads, "cores", lambda: cores)
        monkeypatch.setattr(threads, "quota", lambda: quota)
        monkeypatch.setattr(os, "sysconf", lambda name: memory if name == "SC_PHYS_PAGES" else 1)

    return be


@pytest.mark.parametrize(
    ("cores", "memory", "quota", "expected"),
    [(2, 8 * GB, 99.0, 2), (16, 64 * GB, 99.0, 4), (4, 7 * GB, 99.0, 3), (8, 64 * GB, 2.5, 2), (1, 64 * GB, 99.0, 0)],
)
def test_all_files_are_divided_among_as_many_processes_as_fit(
    machine: Any, cores: int, memory: int, quota: float, expected: int
) -> None:
    machine(cores, memory, quota)
    assert workers(str(HERE)) == expected


def test_a_few_files_need_no_other_process(machine: Any) -> None:
    machine(16, 64 * GB)
    files = sorted(map(str, HERE.glob("test_*.py")))
    assert (
        workers(f"{files[0]}::test_a")
        == workers(*files[:6])
        == workers(*[f"{files[0]}::test_{n}" for n in "abcdefg"])
        == 0
    )
    assert workers(*files[:7]) == 4


def test_a_person_decides(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "7")
    assert workers(str(HERE)) is None


def test_the_count_at_the_end_is_of_tests_and_of_functions() -> None:
    node: Any = SimpleNamespace(config=SimpleNamespace(stash={}))
    conftest.pytest_xdist_node_collection_finished(node, ["a.py::one[1]", "a.py::one[2]", "b.py::one"])
    assert node.config.stash == {conftest.COUNTS: "3 tests of 2 functions"}


def test_what_one_test_sets_for_the_process() -> None:
    os.environ["SORA_TEST_LEFT"] = os.environ["OMP_WAIT_POLICY"] = "left"
    torch.set_num_threads(THREADS + 1)


def test_is_not_there_in_the_next() -> None:
    assert "SORA_TEST_LEFT" not in os.environ and os.environ["OMP_WAIT_POLICY"] != "left"
    assert torch.get_num_threads() == THREADS
