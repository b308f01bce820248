"""Everything temporary goes when its owner is dead, and what is published is whole, whenever it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sora.storage import publishing, rename, staging

SIGKILL = "import os, signal; kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "state" / "staging"


def left(folder: Path = Path()) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(code: str) -> None:
    """Python code in a process of its own, which kills itself."""
    lines = f"{SIGKILL}\nfrom pathlib import Path\nfrom sora.storage import publishing, rename, staging\n{code}"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr


def test_what_is_staged_is_registered_while_it_is_there(own_state: Path) -> None:
    with staging.folder(Path("a.mp4")) as folder:
        (folder / "half").write_text("x")
        assert [(own_state / name).read_text() for name in left(own_state)] == [str(folder)]
        assert folder.parent == Path.cwd() and folder.name.startswith(".sora-")
        assert staging.sweep() == [] and folder.is_dir()
    assert left() == [] and left(own_state) == []


@pytest.mark.parametrize("writable", [True, False])
def test_what_a_killed_owner_left_goes_with_the_next_staging(
    writable: bool, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not writable:  # a state folder below a file can never be made, and access says so to root, too
        monkeypatch.setenv("SORA_STATE", os.devnull + "/none")
        monkeypatch.setattr(os, "access", lambda *_: False)
    killed("with staging.folder(Path('a.mp4')) as f: (f / 'x').write_text('x'); kill()")
    assert len(left()) == 1
    with staging.folder(Path("b.mp4")) as folder:
        assert left() == [folder.name]
        with staging.folder(Path("c.mp4")):
            assert folder.is_dir(), "an owner that lives keeps its folder"
    assert left() == []


def test_files_go_too(own_state: Path) -> None:
    killed("with staging.file(Path('a.tar.gz')) as f: f.write_text('x'); kill()")
    (path,) = staging.sweep()
    assert path.name.endswith(".tar.gz") and left() == [] and left(own_state) == []


def test_what_was_never_made_leaves_no_entry(own_state: Path) -> None:
    killed("with staging.file(Path('a.tar.gz')): kill()")
    assert len(left(own_state)) == 1 and staging.sweep() == [] and left(own_state) == []


def test_a_tampered_entry_removes_nothing_but_its_own(own_state: Path, tmp_path: Path) -> None:
    own_state.mkdir(parents=True)
    token = staging._new_token()
    victims = [tmp_path / "mine", tmp_path / ".sora-0123456789abcdef", tmp_path / f"x.sora-{token}"]
    for victim in victims:
        victim.mkdir()
        (victim / "thesis.txt").write_text("mine")
        (own_state / token).write_text(str(victim))
        staging.sweep()
        assert (victim / "thesis.txt").is_file()
    link = tmp_path / f".sora-{token}"
    link.symlink_to(victims[0])
    (own_state / token).write_text(str(link))
    (own_state / "notes").write_text(str(link))
    staging.sweep()
    assert (victims[0] / "thesis.txt").is_file() and link.is_symlink() and "notes" in left(own_state)


def test_other_machines_of_a_shared_disk_have_a_day(own_state: Path) -> None:
    own_state.mkdir(parents=True)
    token = f"{(int(staging._machine(), 16) ^ 1):04x}{'0' * 12}"
    path = Path.cwd() / f".sora-{token}"
    path.mkdir()
    entry = own_state / token
    entry.write_text(str(path))
    assert staging.sweep() == []
    yesterday = time.time() - staging.DAY - 60
    os.utime(entry, (yesterday, yesterday))
    assert staging.sweep() == [path] and left() == [] and left(own_state) == []


def test_a_full_state_folder_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with staging.folder(Path("a.mp4")) as folder:
        assert folder.is_dir()
    assert left() == []


@pytest.mark.parametrize("steps", ["one", "two"])
def test_a_folder_takes_the_place_of_another(steps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if steps == "two":
        monkeypatch.setattr(rename, "exchange", lambda *_: False)
    Path("film").mkdir()
    Path("film", "old").write_text("old")
    with staging.folder(Path("film")) as folder:
        (folder / "frames").mkdir()
        (folder / "frames" / "new").write_text("new")
        publishing.replace(folder / "frames", Path("film"))
    assert left() == ["film"] and left(Path("film")) == ["new"]


PUBLISH = """
rename.exchange = rename.move_to_free = lambda *_: False
plain = os.{call}
def {call}(*arguments, **names):
    if {before}: kill()
    plain(*arguments, **names)
    kill()
with staging.folder(Path("film")) as folder:
    (folder / "frames").mkdir()
    (folder / "frames" / "new").write_text("new")
    os.{call} = {call}
    publishing.{function}(folder / "frames", Path("film"))
"""


@pytest.mark.parametrize("before", [True, False])
def test_a_kill_between_the_two_renames_is_repaired(before: bool) -> None:
    Path("film").mkdir()
    Path("film", "old").write_text("old")
    killed(PUBLISH.format(call="rename", before=before, function="replace"))
    assert Path("film").exists() == before
    staging.sweep()
    assert left() == ["film"] and left(Path("film")) == ["old" if before else "new"]


def test_a_kill_after_the_name_was_held_leaves_no_empty_folder() -> None:
    killed(PUBLISH.format(call="replace", before=True, function="move_new"))
    assert left(Path("film")) == []
    staging.sweep()
    assert left() == ["film"] and left(Path("film")) == ["new"]


def test_somebodys_empty_folder_stays_empty() -> None:
    Path("film").mkdir()
    os.utime("film", (0, 0))
    killed(PUBLISH.replace("publishing.{function}", "publishing._note").format(call="rename", before=True, function="")
           + "kill()")  # fmt: skip
    staging.sweep()
    assert left() == ["film"] and left(Path("film")) == []


def test_names_are_exchanged_and_taken_in_one_step_where_the_system_can() -> None:
    Path("a").write_text("a")
    Path("b").mkdir()
    if not rename.exchange(Path("a"), Path("b")):
        pytest.skip("this file system cannot")
    assert Path("a").is_dir() and Path("b").read_text() == "a"
    with pytest.raises(FileExistsError):
        rename.move_to_free(Path("a"), Path("b"))
    assert rename.move_to_free(Path("a"), Path("c")) and left() == ["b", "c"]
