"""``--profile``: a trace of the whole run under our own names, or one line that says why there is none."""

from __future__ import annotations

import getpass
import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from conftest import Footage, Studio

FILM = ("generate", "a red balloon", "--frames", 5, "--seed", 1)


def left() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def names(trace: Path) -> Counter[str]:
    text = gzip.decompress(trace.read_bytes()) if trace.suffix == ".gz" else trace.read_bytes()
    return Counter(event["name"] for event in json.loads(text)["traceEvents"] if event.get("cat") == "user_annotation")


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_every_phase_stands_in_the_trace(studio: Studio, name: str) -> None:
    result = studio("--profile", name, *FILM, "--steps", 3)
    assert (result.exit_code, result.stdout) == (0, "a-red-balloon.mp4\n")
    assert result.stderr.splitlines()[-1].startswith(f"profile {name} ")
    found = names(Path(name))
    assert found["load"] == found["encode"] == found["sample"] == found["write"] == 1
    assert found["pass"] == 3 and found["decode"] >= 2
    assert left() == ["a-red-balloon.mp4", name]


def test_a_trace_holds_nothing_of_whose_machine_it_was(studio: Studio) -> None:
    assert studio("--profile", "t.json", *FILM, "--steps", 1).exit_code == 0
    text = Path("t.json").read_text()
    events = json.loads(text)["traceEvents"]
    numbers = {event[key] for event in events for key in ("pid", "tid") if isinstance(event.get(key), int)}
    assert os.getpid() not in numbers and f"thread {os.getpid()}" not in text
    assert max(event["tid"] for event in events if event["pid"] == 1000) < 1000
    for private in ("host_name", str(Path.cwd()), str(Path.home()) + "/", getpass.getuser() + "@"):
        assert private not in text, private


def test_any_verb_can_be_recorded(studio: Studio, footage: Footage) -> None:
    assert studio("--profile", "i.json", "image", "a red balloon", "--steps", 2).exit_code == 0
    assert studio("--profile", "e.json", "extend", footage(), "--steps", 2, "-o", "e.mkv").exit_code == 0
    assert studio("--profile", "r.json", "remake", "e.mkv").exit_code == 0
    passes = [names(Path(f"{trace}.json"))["pass"] for trace in "ier"]
    assert passes[0] == 2 and passes[1] >= 2 and passes[2] == passes[1]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("t.txt", 2, ".json"),
        ("none/t.json", 3, "no such folder"),
        ("there.json", 2, "exists already"),
        ("", 2, ".json"),
    ],
)
def test_a_bad_place_is_refused_before_anything_is_painted(studio: Studio, path: str, status: int, said: str) -> None:
    Path("there.json").write_text("theirs")
    result = studio("--profile", path, *FILM)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr and len(result.stderr.splitlines()) == 1
    assert left() == ["there.json"]
    assert Path("there.json").read_text() == "theirs"


def test_a_command_that_paints_nothing_is_not_recorded(studio: Studio) -> None:
    result = studio("--profile", "t.json", "models")
    assert result.exit_code == 2 and "paint" in result.stderr
    assert left() == []


def test_a_run_that_fails_leaves_no_trace(studio: Studio) -> None:
    assert studio("--profile", "t.json", *FILM, "--steps", 0).exit_code == 2
    assert left() == []


def test_the_phases_of_a_run_sum_to_its_total(studio: Studio) -> None:
    lines = studio(*FILM, "--count", 2, "--json").stdout.splitlines()
    for line in lines:
        seconds = json.loads(line)["seconds"]
        assert list(seconds) == ["start", "load", "encode", "sample", "decode", "write", "total"]
        total = seconds.pop("total")
        assert total == pytest.approx(sum(seconds.values()), abs=0.01) and total > 0
    assert json.loads(lines[1])["seconds"]["load"] == 0
