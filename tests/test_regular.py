"""Files of others are opened where they are regular, and not read further than is bounded."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sora.storage import regular


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What a path may lead to that is no file, by what it is called."""
    fifo, link, listener = tmp_path / "fifo", tmp_path / "link", socket.socket(socket.AF_UNIX)
    os.mkfifo(fifo)
    link.symlink_to("/dev/zero")
    before = Path.cwd()
    os.chdir(tmp_path)  # a socket's path is short
    listener.bind("socket")
    os.chdir(before)
    yield {"a pipe": fifo, "a socket": tmp_path / "socket", "a device": link, "a folder": tmp_path}
    listener.close()


def test_what_is_no_file_is_refused_at_once(odd: dict[str, Path]):
    for called, path in odd.items():
        with pytest.raises(OSError, match=f"it is {called}, expected a file"):
            regular.opened(path)


def test_a_file_is_read_to_its_bound(tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 2048)
    assert regular.read(file, 2048) == b"x" * 2048
    with pytest.raises(OSError, match="over 1 kiB"):
        regular.read(file, 1024)
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(OSError, match="over 8 MiB"):
        regular.read_json(file)


def test_holes_are_not_counted_as_stored(tmp_path: Path):
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 30)
        sparse.seek(1 << 29)
        sparse.write(b"x" * 5000)
    assert 5000 <= regular.bytes_on_disk(file) < 1 << 20
    file.write_bytes(b"x" * 70_000)
    assert regular.bytes_on_disk(file) == 70_000
    file.write_bytes(b"")
    assert regular.bytes_on_disk(file) == 0


def test_a_kernels_own_file_is_read_to_the_bound_whatever_size_it_claims():
    path = Path("/proc/self/maps")
    if not path.is_file():
        pytest.skip("no such file here")
    assert path.stat().st_size == 0
    with pytest.raises(OSError, match="over 64 bytes"):
        regular.read(path, 64)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 80 + "1" + "}" * 80, "[1,", "\x00"])
def test_json_that_is_none_or_too_deep_is_refused(text: str):
    with pytest.raises(ValueError):
        regular.parse_json(text)
