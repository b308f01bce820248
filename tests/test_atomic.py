"""Files that are there whole or not at all, and never in another's place without being told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sora.storage import atomic


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_under_its_name(tmp_path: Path) -> None:
    atomic.write(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new" and left(tmp_path) == ["a.bin"]


def test_what_stands_there_goes_only_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        atomic.write(path, b"new")
    assert path.read_bytes() == b"theirs" and left(tmp_path) == ["a.bin"]
    atomic.write(path, b"new", replace=True)
    assert path.read_bytes() == b"new" and left(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic.written(path, replace=True) as beside:
        assert beside.parent == tmp_path and beside.name.endswith(".tar.gz")
        beside.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old" and left(tmp_path) == ["a.tar.gz"]


def test_a_file_system_without_hard_links_is_no_reason_to_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "a.bin"
    atomic.write(path, b"first")
    with pytest.raises(FileExistsError):
        atomic.write(path, b"second")
    assert path.read_bytes() == b"first" and left(tmp_path) == ["a.bin"]
