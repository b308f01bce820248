"""The Python API: what a program or a notebook calls, in this process, with a stand-in for the model."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sora
from sora import media
from sora.cli import app
from sora.jobs import keywords
from sora.plan.verbs import FINISH, VERBS, Verb

SMALL = {"size": (64, 48), "steps": 2}
FEW = {"frames": 5, **SMALL}


pytestmark = pytest.mark.usefixtures("stand_in")


def command(*argv: object) -> None:
    """The command line, in this process."""
    done = CliRunner().invoke(app, [str(word) for word in argv])
    assert done.exit_code == 0, done.output


def test_importing_sora_brings_neither_torch_nor_numpy():
    code = (
        "import sora, sys; sora.SoraError; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'typer')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_listed_and_known_to_type_checkers():
    tree = ast.parse(Path(sora.__file__).read_text("utf-8"))
    typed = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(sora.__all__) == set(sora.HOMES) == typed
    assert set(sora.__all__) <= set(dir(sora))
    assert all(inspect.getdoc(getattr(sora, name)) for name in sora.__all__)
    with pytest.raises(AttributeError, match="no attribute 'genrate'"):
        _ = sora.genrate  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "row"), [*VERBS.items(), ("finish", FINISH)])
def test_a_verb_takes_the_keywords_of_its_row(name: str, row: Verb):
    options = set(getattr(keywords, f"{name.capitalize()}Options").__annotations__)
    method = getattr(sora.Session, name)
    own = set(inspect.getfullargspec(method).args) - {"self"}
    places = {"inputs"} if name == "finish" else set[str]()  # no field of a request
    assert own | options == {*row.fields, "on_progress", "anyway"} and not own & options
    assert set(inspect.signature(method).parameters) == {"self", *own, *places, *options}
    listed = str(inspect.getdoc(method)).partition("Options:")[2]
    assert [name for name in options if f"\n    {name}" not in listed] == []


def test_remaking_takes_the_keywords_of_every_verb():
    every = {name for row in (*VERBS.values(), FINISH) for name in row.fields} - {"draft_file"}
    assert set(keywords.RemakeOptions.__annotations__) == {*every, "on_progress", "anyway"}


def test_generated_frames_are_the_command_lines():
    command("generate", "a red ball", "--seed", "3", "--size", "64x48", "--steps", "2", "--frames", "5", "-o", "a.mkv")
    video = sora.generate("a red ball", seed=3, **FEW)
    assert np.array_equal(video.frames, media.read_clip("a.mkv").frames_FYXC)
    assert video.frames.shape == (5, 48, 64, 3) and video.frames.dtype == np.uint8
    assert (video.size, len(video), video.seed, video.prompt) == ((64, 48), 5, 3, "a red ball")
    assert video.seconds == 5 / video.fps


def test_saving_writes_what_the_command_writes():
    command("image", "a red ball", "--seed", "3", "--size", "64x48", "--steps", "2", "-o", "a.png")
    picture = sora.image("a red ball", seed=3, **SMALL)
    assert isinstance(picture, sora.Picture) and picture.save("b.png") == Path("b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert json.loads(str(media.read_recipe("b.png"))) == picture.recipe


@pytest.mark.parametrize("path", ["a.mp4", "a.mkv", "a.gif", "a.webp", "frames/"])
def test_every_kind_of_file_holds_the_recipe(path: str):
    video = sora.generate("a red ball", seed=3, **FEW)
    saved = video.save(path)
    assert json.loads(str(media.read_recipe(saved))) == video.recipe
    assert media.probe(saved).frames == 5


def test_saving_replaces_nothing_unless_it_is_told_to():
    video = sora.generate("a red ball", seed=3, **FEW)
    video.save("a.mkv")
    with pytest.raises(sora.UsageError, match=r"a\.mkv exists already; add force=True to replace it"):
        video.save("a.mkv")
    assert video.save("a.mkv", force=True) == Path("a.mkv")
    with pytest.raises(sora.UsageError, match="holds one frame, and the film has 5"):
        video.save("a.png")


def test_a_model_stays_in_memory_until_it_is_unloaded(stand_in: list[str]):
    for seed in (1, 2):
        sora.generate("a red ball", seed=seed, **FEW)
    assert stand_in == ["mini"]
    sora.unload()
    sora.generate("a red ball", seed=3, **FEW)
    assert stand_in == ["mini", "mini"]


def test_a_loaded_model_paints_with_its_own_options(stand_in: list[str]):
    session = sora.load(model="mini", dtype="bfloat16")
    assert stand_in == ["mini"]
    video = session.generate("a red ball", seed=1, **FEW)
    assert stand_in == ["mini"] and video.recipe["dtype"] == "bfloat16"
    assert np.array_equal(video.frames, session.generate("a red ball", seed=1, **FEW).frames)
    assert session.generate("a red ball", dtype="float32", **FEW).recipe["dtype"] == "float32"
    assert len(stand_in) == 2
    session.close()
    session.generate("a red ball", dtype="float32", **FEW)
    assert len(stand_in) == 3


def test_progress_is_reported_in_order():
    events: list[sora.ProgressEvent] = []
    sora.generate("a red ball", on_progress=events.append, **FEW)
    phases = [event.phase for event in events]
    assert list(dict.fromkeys(phases)) == ["load", "encode", "sample", "decode"]
    assert [(e.done, e.total) for e in events if e.phase == "sample"] == [(1, 2), (2, 2)]
    assert (events[-1].phase, events[-1].done, events[-1].total) == ("decode", 5, 5)


@pytest.mark.parametrize("error", [ValueError("enough"), KeyboardInterrupt(), MemoryError("out of memory")])
@pytest.mark.parametrize("phase", ["load", "encode", "sample", "decode"])
def test_what_a_callback_raises_stops_the_painting_and_arrives(error: BaseException, phase: str):
    def stop(event: sora.ProgressEvent) -> None:
        if event.phase == phase:
            raise error

    with pytest.raises(type(error)) as caught:
        sora.generate("a red ball", seed=1, on_progress=stop, **FEW)
    assert caught.value is error
    after = sora.generate("a red ball", seed=1, **FEW)
    assert np.array_equal(after.frames, sora.generate("a red ball", seed=1, **FEW).frames)


def test_alternatives_are_painted_one_by_one():
    with pytest.raises(sora.UsageError, match="stands for 2 films"):
        sora.generate("a {red|blue} ball", **FEW)
    films = sora.paint_all(
        sora.Request(verb="generate", prompt="a {red|blue} ball", seed=1, size="64x48", frames=5), count=2
    )
    assert [(film.prompt, film.seed) for film in films] == [
        ("a red ball", 1),
        ("a red ball", 2),
        ("a blue ball", 1),
        ("a blue ball", 2),
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"seed": -2}, "^seed -2 is out of range"),
        ({"seed": "three"}, "^seed='three' is of the wrong kind; expected a whole number"),
        ({"steps": 2.5}, "^steps=2.5 is of the wrong kind"),
        ({"draft": 1}, "^draft=1 is of the wrong kind; expected True or False"),
        ({"size": (64,)}, r"^size=\(64,\) is not 2 whole numbers"),
        ({"sampler": "magic"}, "^sampler 'magic' is not known; expected euler"),
        ({"seconds": 1, "frames": 8}, "^seconds and frames both say how long"),
        ({"then": 3}, "^then=3 is of the wrong kind"),
    ],
)
def test_a_wrong_value_is_refused_in_the_words_of_python(options: dict[str, Any], complaint: str):
    with pytest.raises(sora.UsageError, match=complaint):
        sora.generate("a red ball", **options)


def test_a_wrong_keyword_is_refused_with_the_nearest_one():
    with pytest.raises(TypeError, match="unexpected keyword argument 'sede'; did you mean 'seed'"):
        sora.generate("a red ball", sede=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'strength'"):
        sora.load(strength=1)  # type: ignore[call-arg]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]):
    video = sora.generate("in the snow", then=["at night"], subject="a red ball", camera="pan-left", **FEW)
    assert capfd.readouterr() == ("", "")
    assert video.notes == ()


def test_what_a_person_should_know_is_noted():
    video = sora.generate("a red zebra-striped ball", **FEW)
    assert any("zebra" in note for note in video.notes)
    with pytest.raises(sora.UsageError, match="anyway=True paints this all the same"):
        sora.generate("zzzz", **FEW)
    assert sora.generate("zzzz", anyway=True, **FEW).notes
