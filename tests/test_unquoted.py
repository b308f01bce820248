"""Prompts without quotes, and words that begin with a dash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sora.cli import app
from sora.cli.unquoted import joined
from sora.errors import UsageError

Run = Callable[..., Result]


@pytest.fixture
def dry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """dry(*argv): a dry run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *argv: CliRunner().invoke(app, [argv[0], "--dry-run", *argv[1:]])


def test_words_without_quotes_are_one_prompt_and_the_film_says_so(dry: Run):
    result = dry("generate", "--seed", "5", "a", "red", "ball", "bounces")
    assert result.exit_code == 0, result.stderr
    assert 'the prompt is read as "a red ball bounces"' in result.stderr
    assert not dry("image", "a", "red", "ball", "--seed", "5", "-q").stderr
    assert "read as" not in dry("generate", "a red ball").stderr
    assert dry("generate", "--", "-1", "red", "ball").exit_code == 0


def test_verbs_that_take_a_file_first_join_what_follows_it():
    for verb in ("extend", "img2vid", "bridge", "edit"):
        assert joined(verb, "a", ["ball", "rolls"], ["x.mp4", "a", "ball", "rolls", "--draft"]) == "a ball rolls"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a red ball", "x"], "stands in quotes, and options begin with --"),
        (["a", "red ball"], "stands in quotes, and options begin with --"),
        (["clip.mp4", "x"], "'clip.mp4', which looks like a file; `sora generate` takes PROMPT"),
        (["a", "ball", "photo.JPG"], "'photo.JPG', which looks like a file"),
        (["a", "ball", "seed", "5"], "'seed'; did you mean --seed?"),
        (["a", "ball", "size=64x64"], "did you mean --size?"),
        (["a", "ball", "\u2014seed", "5"], "did you mean --seed?"),
        (["a", "--seed", "5", "ball"], "stands in quotes"),
        (["--", "a", "ball", "--seed", "5"], "'--seed' behind --; options stand before it"),
        (["-", "ball"], "stands in quotes"),
    ],
)
def test_words_that_may_be_something_else_are_not_joined(dry: Run, words: list[str], says: str):
    result = dry("generate", *words)
    assert result.exit_code == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_file_that_is_there_is_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").touch()
    with pytest.raises(UsageError, match="looks like a file"):
        joined("generate", "a", ["notes.md"], ["a", "notes.md"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["generate", "-1 cat"], "no -1 cat; what begins with a dash and is no option stands behind --: "),
        (["generate", "-1 cat"], "sora generate -- '-1 cat'"),
        (["generate", "--red ball"], "sora generate -- '--red ball'"),
        (["extend", "-clip.mp4"], "sora extend -- -clip.mp4"),
        (["generate", "-seed", "5", "a"], "no -seed; did you mean --seed?"),
        (["generate", "--sed=5", "a"], "no --sed; did you mean --seed?"),
    ],
)
def test_what_begins_with_a_dash_gets_the_hint(dry: Run, argv: list[str], says: str):
    result = dry(*argv)
    assert result.exit_code == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1


def test_info_gets_the_hint_and_takes_the_file_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "sora info -- -x.mp4" in CliRunner().invoke(app, ["info", "-x.mp4"]).stderr
    assert "cannot read -x.mp4" in CliRunner().invoke(app, ["info", "--", "-x.mp4"]).stderr
