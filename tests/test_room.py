"""A film that is certain not to fit into the machine's memory is refused before anything is loaded; one that may fit
never is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import sora
from conftest import Studio
from sora import models
from sora.errors import OutOfMemory
from sora.memory import free
from sora.memory.free import free_with_swap

GIB = 2**30


@pytest.fixture
def four_gib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """A machine with 4 GiB available, and as much swap as is said."""

    def machine(swap: int) -> None:
        meminfo = tmp_path / "meminfo"
        meminfo.write_text(f"MemAvailable: {4 << 20} kB\nSwapFree: {swap // 1024} kB\n")
        monkeypatch.setattr(free, "MEMINFO", meminfo)
        monkeypatch.setattr(free, "CGROUP", tmp_path / "none")

    machine(0)
    return machine


def generate(studio: Studio, size: str, frames: int, *more: str) -> Result:
    return studio("generate", "a red balloon", "--size", size, "--frames", frames, "-o", "c.mkv", *more)


def test_what_cannot_fit_is_refused_in_one_line_with_a_size_that_does(
    studio: Studio, four_gib: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("nothing is loaded"))
    result = generate(studio, "4096x4096", 480)
    assert result.exit_code == 5 and result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith(
        "sora: 33 frames of 4096x4096 at once take at least 8.2 GB of memory, 4.0 GB are free; --size "
    )
    assert line.endswith("2384x2384 would fit, or fewer --frames")


def test_the_dry_run_shows_the_same_and_swap_counts(studio: Studio, four_gib: Callable[[int], None]) -> None:
    assert "frames in memory  33 frames of 4096x4096 at once take at least 8.2 GB of" in (
        generate(studio, "4096x4096", 480, "--dry-run").stdout
    )
    four_gib(6 * GIB)
    assert free_with_swap() == 10 * GIB
    assert "frames in memory  8.2 of 10.0 GB" in generate(studio, "4096x4096", 480, "--dry-run").stdout


def test_a_long_film_streams_to_a_file_and_does_not_fit_in_python(
    stand_in: list[str], four_gib: Callable[[int], None]
) -> None:
    with pytest.raises(OutOfMemory, match="are free; size "):
        sora.generate("a red balloon", size="1024x1024", frames=2000)
    assert stand_in == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_while_loading_is_explained(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(models, "load", full)
    result = generate(studio, "64x64", 5)
    assert result.exit_code == 5 and result.stderr.splitlines()[-1].startswith("sora: memory ran out, ")
