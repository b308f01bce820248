"""``-o``: standard output, and names without an ending."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sora import media, models
from sora.cli import app, streams
from sora.errors import UsageError
from test_cli import GreyModel

BALLOON = "a red balloon floats up"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*argv): a command in an empty folder, in this process, with a stand-in that paints grey."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "load", lambda spec, device, dtype, speed=None: GreyModel(spec, device))
    return lambda *argv: CliRunner().invoke(app, [str(each) for each in argv])


def test_standard_output_takes_the_film_and_nothing_else(run: Run, tmp_path: Path):
    argv = ["generate", BALLOON, "--frames", 3, "--seed", 1, "-o"]
    assert run(*argv, "a.mp4").exit_code == 0
    result = run(*argv, "-", "--json")
    assert result.exit_code == 0 and result.stdout_bytes == (tmp_path / "a.mp4").read_bytes()
    assert json.loads(result.stderr.splitlines()[-1])["path"] == "-"
    picture = run("image", BALLOON, "-o", "-", "-q")
    assert picture.stdout_bytes.startswith(b"\x89PNG") and not picture.stderr
    assert run("remake", "a.mp4", "-o", "-", "-q").stdout_bytes == (tmp_path / "a.mp4").read_bytes()
    assert not run(*argv, "-", "--dry-run").stdout_bytes


def test_a_film_for_a_pipe_goes_on_where_it_was(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    argv = ["generate", BALLOON, "--frames", 3, "--seed", 1, "-o"]
    assert run(*argv, "-", "--stop-after", 1, "--steps", 2).stdout_bytes == b""
    assert run("resume", "-q").stdout_bytes == run(*argv, "-", "--steps", 2, "--no-journal").stdout_bytes


def test_names_and_words_of_another_locale_are_kept_in_a_job(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    words = os.fsdecode(b"\xff") + " film.mp4", "a red ball \udce7\udc90\udc83"  # bytes, as Python keeps them
    argv = ["generate", words[1], "--frames", 3, "--steps", 2, "-o", words[0]]
    assert run(*argv, "--stop-after", 1).exit_code == 0
    assert run("resume", "-q").exit_code == 0
    assert json.loads(media.read_recipe(tmp_path / words[0]) or "")["prompts"] == ["a red ball 球"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["generate", "a {red|blue} ball", "-o", "-"], "-o - takes one film"),
        (["generate", BALLOON, "--count", "2", "-o", "-"], "-o - takes one film"),
        (["generate", "-f", "lines.txt", "-o", "-"], "-o - takes one"),
    ],
)
def test_standard_output_takes_one_film(run: Run, argv: list[str], says: str):
    Path("lines.txt").write_text("a red ball\n", encoding="utf-8")
    result = run(*argv)
    assert result.exit_code == 2 and says in result.stderr and not result.stdout_bytes


def test_a_terminal_gets_no_film(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="which is a terminal; pipe it"), streams.kept_for_film(wanted=True):
        pass


def test_a_reader_that_is_gone_is_status_three(tmp_path: Path):
    """No traceback while the program ends, either."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom sora.cli import streams\nfrom sora.errors import InputError\n"
        "streams.install()\ntry:\n    with streams.kept_for_film(wanted=True):\n"
        "        print('aside')\n        sys.stdout.send(Path(sys.argv[1]))\n"
        "except InputError as error:\n    print(error, file=sys.stderr)\n    sys.exit(3)\n"
    )
    (film := tmp_path / "film").write_bytes(bytes(1 << 20))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program, film], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        "aside",
        "cannot write the film to standard output: its reader is gone; name a file with -o",
    ]


@pytest.mark.parametrize(
    ("verb", "output", "made"),
    [
        ("generate", "film", "film.mp4"),
        ("image", "film", "film.png"),
        ("generate", "film.", "film.mp4"),
        ("generate", "film/", "film"),
    ],
)
def test_a_name_without_an_ending_gets_one(run: Run, tmp_path: Path, verb: str, output: str, made: str):
    argv = [] if verb == "image" else ["--frames", 2]
    result = run(verb, BALLOON, *argv, "-o", output, "-q")
    assert result.exit_code == 0, result.stderr
    assert media.probe(tmp_path / made).frames == (1 if verb == "image" else 2)


def test_a_folder_of_that_name_is_a_folder(run: Run, tmp_path: Path):
    (tmp_path / "film").mkdir()
    assert "exists already" in run("generate", BALLOON, "-o", "film").stderr
    assert run("generate", BALLOON, "--frames", 2, "-o", "film", "--force").exit_code == 0
    assert (tmp_path / "film" / "00001.png").exists()
    assert run("generate", BALLOON, "--frames", 2, "--count", 2, "-o", "two", "-q").stdout.split() == [
        "two-1.mp4",
        "two-2.mp4",
    ]
