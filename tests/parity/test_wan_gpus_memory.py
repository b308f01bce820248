"""Where memory runs out in one of several processes, all go on together under a smaller plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_memory
import torch
from test_wan_gpus import CPU, FRAMES, SIZE, Film, assert_near, painted_by_one, words
from wan_folders import with_four_heads

from sora import models
from sora.errors import OutOfMemory
from sora.models import parallel
from sora.runtime.parallel.workers import Workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_four_heads("t2v", tmp_path_factory.mktemp("models") / "t2v")


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that says which process runs out of memory, and when."""
    return tmp_path_factory.mktemp("memory") / "lacking"


@pytest.fixture(scope="module")
def workers(lacking: Path) -> Iterator[Workers]:
    """One process besides this, which may be another one after each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        patch.setenv(small_memory.FILE, str(lacking))
        patch.setattr(parallel, "WORKER", "small_memory")
        started = parallel.start(2, CPU)
        yield started
        started.close()


@pytest.mark.parametrize("lacks", ["1 sample", "0 sample\n1 sample", "1 decode"])
def test_all_go_on_under_a_smaller_plan(
    folder: Path, workers: Workers, lacking: Path, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = Film(folder, words, guidance=1.0)
    alone = painted_by_one(film)
    lacking.write_text(lacks)
    small_memory.limit(monkeypatch, 0)
    film = Film(folder, words, guidance=1.0, memory="text-dropped")
    model, starts = film.model(workers), workers.starts
    monkeypatch.setattr(Film, "model", lambda *_: model)
    assert_near(alone, film.painted(workers))
    assert models.followed_plan(model).name == "decode-alone" and workers.starts == starts + 1  # type: ignore[union-attr]
    assert workers.failure is None


def test_a_film_ends_where_no_plan_is_small_enough(
    folder: Path, workers: Workers, lacking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking.write_text("")
    model: Any = Film(folder, words).model(workers)
    models.plan_memory(model, (FRAMES, *SIZE), encodes=True, forced="decode-alone")
    monkeypatch.setattr(type(model.components), "expert", lambda *_: _run_out())
    monkeypatch.setattr(Film, "model", lambda *_: model)
    with pytest.raises(OutOfMemory, match=r"memory ran out \(.* all 2 processes\), and no plan takes less"):
        Film(folder, words).painted(workers)


def _run_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")
