"""Prompt files: a film of every line, one that fails not stopping the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Studio
from sora import media, models

QUICK = ("--frames", "1", "--steps", "1", "--size", "32x32")
STORY = """# a story
a red ball rolls --seed 7

a blue ball falls --aspect 1:2 --seed 7
a {green|yellow} ball
a red ball rolls --frames 3
"""


@pytest.fixture
def story(studio: Studio) -> Path:
    path = Path("story.txt")
    path.write_text(STORY, encoding="utf-8")
    return path


def made(folder: str = "out") -> list[str]:
    return sorted(p.name for p in Path(folder).iterdir())


def test_every_line_becomes_a_film_with_its_own_options(studio: Studio, story: Path):
    result = studio("generate", "-f", story, "-o", "out/", "--frames", 1, "--steps", 1, "--anyway")
    assert result.exit_code == 0, result.stderr
    names = ["a-red-ball-rolls", "a-blue-ball-falls", "a-green-ball", "a-yellow-ball", "a-red-ball-rolls-2"]
    assert result.stdout.splitlines() == [f"out/{name}.mp4" for name in names]
    assert made() == sorted(f"{name}.mp4" for name in names)
    assert "5 films" in result.stderr and "5 painted" in result.stderr
    facts = {name: media.probe(f"out/{name}.mp4") for name in names}
    assert facts["a-red-ball-rolls-2"].frames == 3
    assert facts["a-blue-ball-falls"].height > facts["a-blue-ball-falls"].width
    asked = json.loads(media.read_recipe("out/a-red-ball-rolls.mp4") or "")["request"]
    assert (asked["seed"], asked["frames"]) == (7, 1)


def test_the_model_is_loaded_once(studio: Studio, story: Path, monkeypatch: pytest.MonkeyPatch):
    loads, load = [], models.load

    def counted(*args: object, **more: object) -> object:
        loads.append(args)
        return load(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "load", counted)
    assert studio("generate", "-f", story, "-o", "out", *QUICK, "--anyway").exit_code == 0
    assert len(loads) == 1


def test_films_that_exist_are_not_painted_again(studio: Studio, story: Path):
    argv = ("generate", "-f", story, "-o", "out", *QUICK, "--anyway")
    assert studio(*argv).exit_code == 0
    before = {name: Path("out", name).read_bytes() for name in made()}
    Path("out/a-green-ball.mp4").unlink()
    result = studio(*argv)
    assert (result.exit_code, result.stdout) == (0, "out/a-green-ball.mp4\n")
    assert "4 skipped" in result.stderr and "1 painted" in result.stderr
    assert made() == sorted(before)
    assert all(Path("out", name).read_bytes() == data for name, data in before.items() if name != "a-green-ball.mp4")
    result = studio(*argv, "--force", "--seed", 9)
    assert len(result.stdout.splitlines()) == 5


def test_one_that_fails_does_not_stop_the_rest(studio: Studio):
    lines = ["a red ball --frames 0", "a blue ball", "a ball --nonsense", "a ball --then 'at", "a green ball --seed x"]
    Path("bad.txt").write_text("\n".join([*lines, "a yellow ball --output /tmp/x.mp4", "a red car"]), encoding="utf-8")
    result = studio("generate", "-f", "bad.txt", "-o", "out", "--steps", 1, "--size", "32x32", "--anyway")
    assert result.exit_code == 6, result.stderr
    assert result.stdout.splitlines() == ["out/a-blue-ball.mp4", "out/a-red-car.mp4"]
    for number, told in (
        (1, "--frames 0"),
        (3, "--nonsense"),
        (4, "close every quote"),
        (5, "--seed"),
        (6, "--output"),
    ):
        rows = [line for line in result.stderr.splitlines() if line.startswith(f"line {number} ")]
        assert len(rows) == 1 and "failed" in rows[0] and told in rows[0], result.stderr
    assert result.stderr.splitlines()[-1].startswith("sora: 5 of 7 films failed")
    told = [json.loads(line) for line in studio("generate", "-f", "bad.txt", "-o", "out", "--json").stdout.splitlines()]
    assert [row.get("outcome") for row in told] == ["failed", "skipped", *["failed"] * 4, "skipped"]


def test_a_file_of_prompts_on_standard_input(studio: Studio):
    result = studio("image", "-f", "-", "-o", "out", "--steps", 1, "--anyway", stdin="a ball\n# no\na car\n")
    assert (result.exit_code, made()) == (0, ["a-ball.png", "a-car.png"])
    result = studio("generate", "-", stdin="a ball\na car\n")
    assert result.exit_code == 2
    assert "-f" in result.stderr and "Traceback" not in result.stderr
    assert studio("generate", "-", "--frames", 1, "--steps", 1, stdin="\na red ball\n\n").exit_code == 0


def test_a_dry_run_of_a_file_paints_and_makes_nothing(studio: Studio, story: Path):
    result = studio("generate", "-f", story, "-o", "out", "--dry-run", "--json", "--anyway")
    assert result.exit_code == 0
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 5
    assert [p.name for p in Path().iterdir()] == ["story.txt"]


REFUSED = [
    (["generate"], 2, "-f FILE"),
    (["generate", "a ball", "-f", "story.txt"], 2, "PROMPT and -f"),
    (["generate", "-f", "none.txt"], 3, "none.txt"),
    (["generate", "-f", "."], 3, "prompt file"),
    (["generate", "-f", "empty.txt", "-o", "out"], 2, "no prompt"),
    (["generate", "-f", "latin.txt"], 2, "UTF-8"),
    (["generate", "-f", "story.txt", "-o", "film.mp4"], 2, "name a folder"),
    (["generate", "-f", "story.txt", "-o", "out", "--model", "nope"], 4, "no model is called 'nope'"),
    (["generate", "-f", "story.txt", "-o", "out", "--steps", "0"], 2, "--steps 0"),
]


def test_what_is_wrong_with_all_is_said_at_once(studio: Studio, story: Path):
    Path("empty.txt").write_text("# nothing\n", encoding="utf-8")
    Path("latin.txt").write_bytes(b"caf\xe9\n")
    before = sorted(p.name for p in Path().iterdir())
    for argv, status, told in REFUSED:
        result = studio(*argv)
        assert (result.exit_code, result.stdout) == (status, ""), argv
        assert told in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr
        assert sorted(p.name for p in Path().iterdir()) == before, argv
    result = studio("generate", "-f", "story.txt", "-o", "story.txt/x", "--anyway")
    assert (result.exit_code, result.stdout) == (3, "") and "cannot write" in result.stderr
