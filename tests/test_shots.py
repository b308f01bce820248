"""Films of several shots: files of shots, their lengths and transitions, and what later shots are shown."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import sora
from conftest import Studio
from sora import media
from sora.engine.subject import CANDIDATES, candidates, sharpness
from sora.errors import UsageError
from sora.jobs.arguments import shots_in
from sora.jobs.delivery import InMemory
from sora.jobs.resolve import resolve
from sora.plan import operations, retiming, shot_lines, shot_spans
from sora.plan.plan import Format
from sora.plan.recipe import from_record
from sora.plan.request import Request, from_data, to_data
from sora.plan.shot import Shot

FORMAT = Format((64, 64), (64, 64), 8.0, 33, 9, 8, 4)
FILE = """\
# two shots of one fox
a red fox trots over the snow --seconds 2

the fox stands still by a lake --seconds=1.5 --transition flow --camera pan-left --motion still
"""
SHOTS = (
    Shot(prompt="a red fox trots over the snow", seconds=2.0),
    Shot(prompt="the fox stands still by a lake", seconds=1.5, transition="flow", camera="pan-left", motion="still"),
)


def test_a_file_holds_a_shot_on_each_line():
    assert shot_lines.parse(FILE, "film.txt") == SHOTS
    assert shot_lines.parse("\n".join(map(shot_lines.spelled, SHOTS)), "film.txt") == SHOTS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "film.txt holds no shot"),
        ("# a\n\n", "film.txt holds no shot"),
        ("a ball\n\nb --size 9x9", "film.txt, line 3: a shot takes no --size; .*--transition.*command line"),
        ("a ball --second 2", "line 1: a shot takes no --second; did you mean --seconds"),
        ("a ball --seconds 0", "line 1: --seconds 0 is no length"),
        ("a ball --seconds nan", "line 1: --seconds nan is no length"),
        ("a ball --frames 2 --seconds 1", "line 1: --seconds and --frames both"),
        ("a ball\nb --transition fade", "line 2: --transition 'fade' is not known; expected cut, flow"),
        ("a ball --transition flow", "line 1: --transition leads from the shot before"),
        ("a ball\nb --seconds 'x", "line 2: its options cannot be read"),
        ("a ball\nb --seconds 2 c", "line 2: 'c' stands behind the options"),
        ("a ball\n{a", "line 2: a { has no }"),
        ("a ball\n" * 257, "holds 257 shots; expected at most 256"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(text: str, says: str):
    with pytest.raises(UsageError, match=says):
        shot_lines.parse(text, "film.txt")


def spans(*shots: Shot, total: int | None = None, transition: str = "cut") -> list[tuple[int, int]]:
    found = shot_spans.of(shots, fps=8.0, default=17, total=total, transition=transition)
    return [(span.start, span.stop) for span in found]


def long(seconds: float | None = None, frames: int | None = None, transition: str | None = None) -> Shot:
    return Shot(prompt="a", seconds=seconds, frames=frames, transition=transition)  # type: ignore[arg-type]


def test_lengths_of_shots():
    assert spans(long(2), long(frames=5), long()) == [(0, 16), (16, 21), (21, 38)]
    assert spans(long(2), long(), long(), total=32) == [(0, 16), (16, 24), (24, 32)]
    # Frames that flow into a shot are of its own length, where it says one, and come before what is shared.
    assert spans(long(2), long(2, transition="flow")) == [(0, 16), (24, 32)]
    assert spans(long(2), long(), transition="flow") == [(0, 16), (24, 41)]
    assert spans(long(), long(transition="flow"), long(transition="cut"), total=38) == [(0, 10), (18, 28), (28, 38)]
    assert spans(long(0.3), long(0.3), long(0.3))[-1] == (5, 7)  # 0.9 s in all


@pytest.mark.parametrize(
    ("shots", "total", "says"),
    [
        ([long(2), long(1, transition="flow")], None, "shot 2 has 8 frames; expected 9 or more"),
        ([long(0.01), long()], None, "shot 1 has 0 frames; expected 1 or more"),
        ([long(2), long(2)], 30, "every shot says its length, 32 frames together, and the film 30"),
        ([long(2), long()], 16, "16 frames leave too few"),
        ([long(1e5), long(1e5)], None, "shot 1: 800000 frames are too many"),
        ([long(9e3), long(9e3)], None, "144000 frames; expected at most 100000"),
    ],
)
def test_lengths_that_cannot_be(shots: list[Shot], total: int | None, says: str):
    with pytest.raises(UsageError, match=says):
        spans(*shots, total=total)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(9, 70), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([8.0, 24.0, 30.0, 5.0]),
)
def test_every_frame_is_painted_once_by_the_shot_that_it_is_of(shots: list[tuple[int, bool]], fps: float):
    """At the model's rate, and at others."""
    asked = [long(frames=n, transition="flow" if flows and i else None) for i, (n, flows) in enumerate(shots)]
    found = shot_spans.of(asked, fps=fps, default=17, total=None)
    assert found[-1].stop == sum(n for n, _ in shots)
    words = [f"shot {n}" for n in range(len(shots))]
    plain = operations.film(words, found, format=FORMAT)
    retimed = retiming.film(words, found, fps=fps, format=FORMAT)
    for plan in (plain, retimed):
        assert sorted(i for window in plan.windows for i in window.kept) == list(range(plan.frames))
    for n, span in enumerate(found):
        assert {w.shot for w in plain.windows for i in w.kept if i in span} == {n}
    assert retimed.film_frames == plain.frames and retimed.retiming is not None
    assert [i for stretch in retimed.retiming.stretches for i in stretch.film] == list(range(plain.frames))
    assert [i for stretch in retimed.retiming.stretches for i in stretch.painted] == list(range(retimed.frames))


@pytest.mark.parametrize("transition", ["cut", "flow"])
@pytest.mark.parametrize("frames", [40, 77, 130])
def test_shots_of_one_length_are_the_film_that_then_makes(transition: str, frames: int):
    shots = [long() for _ in range(3)]
    found = shot_spans.of(shots, fps=8.0, default=17, total=frames, transition=transition)
    assert found == shot_spans.even(frames, 3, transition)


def test_a_request_with_shots_is_data():
    request = Request(verb="generate", shots=SHOTS, subject="a fox", seed=1)
    assert from_data(json.loads(json.dumps(to_data(request))), "it") == request
    resolved = resolve(request, InMemory())
    (variant,) = resolved.variants
    assert variant.texts[1].startswith("a fox the fox stands still") and "pans left" in variant.texts[1]
    assert [shot.frames for shot in resolved.request_of(variant).shots] == [16, 12]
    again = resolve(resolved.request_of(variant), InMemory())
    assert (again.plan.windows, again.variants[0].texts) == (resolved.plan.windows, variant.texts)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": "a ball"}, "a prompt and --shots both say what to paint"),
        ({"then": ("a ball",)}, "--then and --shots both say what to paint"),
        ({"frames": 7}, "every shot says its length"),
        ({"shots": (Shot(prompt="a red ball", transition="cut"),)}, "shot 1: --transition leads"),
        ({"shots": (Shot(prompt="a red ball"),), "subject_reference": False}, "several shots"),
        ({"shots": (*SHOTS, Shot(prompt="x", camera="orbit"))}, "shot 3: mini has no words for --camera orbit"),
        ({"shots": (*SHOTS, Shot(prompt="x", camera="no"))}, "--camera 'no' is not known"),  # type: ignore[arg-type]
    ],
)
def test_shots_that_are_refused(values: dict[str, object], says: str):
    with pytest.raises(UsageError, match=says):
        resolve(msgspec.structs.replace(Request(verb="generate", shots=SHOTS), **values), InMemory())


def test_alternatives_in_a_shot_stand_for_several_films():
    shots = (Shot(prompt="a {red|blue} ball", frames=9), Shot(prompt="at night", frames=9))
    resolved = resolve(Request(verb="generate", shots=shots, seed=1), InMemory())
    assert [variant.shots[0] for variant in resolved.variants] == ["a red ball", "a blue ball"]


def test_python_says_shots_as_words_mappings_or_a_file(tmp_path: Path):
    (tmp_path / "film.txt").write_text(FILE, encoding="utf-8")
    same = [SHOTS[0], {"prompt": SHOTS[1].prompt, "seconds": 1.5}]
    assert shots_in(tmp_path / "film.txt") == SHOTS
    assert shots_in(same)[0] == SHOTS[0] and shots_in(["a ball"]) == (Shot(prompt="a ball"),)
    for wrong in (
        3,
        {"prompt": "a"},
        [3],
        [{"prompt": "a", "size": 3}],
        [{"seconds": 2}],
        [{"prompt": "a", "seconds": "2"}],
    ):
        with pytest.raises(UsageError, match="shot"):
            shots_in(wrong)


def test_shots_on_the_command_line_and_again_from_the_recipe(studio: Studio):
    text = "a red ball --frames 5\nat night --frames 4\n"
    Path("film.txt").write_text(text, encoding="utf-8")
    size = ("--size", "64x64", "--seed", "3", "--steps", "2")
    assert studio("generate", "--shots", "film.txt", *size, "-o", "a.mkv").exit_code == 0
    assert studio("generate", "--shots", "-", *size, "-o", "b.mkv", stdin=text).exit_code == 0
    Path("film.txt").unlink()
    assert studio("remake", "a.mkv", "-o", "c.mkv").exit_code == 0
    films = [media.read_clip(f"{name}.mkv").frames_FYXC for name in "abc"]
    assert len(films[0]) == 9 and all(np.array_equal(film, films[0]) for film in films)
    shown = json.loads(studio("info", "a.mkv", "--json").stdout)["recipe"]["request"]
    assert shown["shots"] == [{"prompt": "a red ball", "frames": 5}, {"prompt": "at night", "frames": 4}]
    assert "a red ball --frames 5" in studio("info", "a.mkv").stdout
    Path("other.txt").write_text("a blue ball --frames 6\nin the snow --frames 3\n", encoding="utf-8")
    assert studio("remake", "a.mkv", "--shots", "other.txt", "-o", "d.mkv").exit_code == 0
    for words, status in (
        (("generate", "a ball", "--shots", "other.txt"), 2),
        (("generate", "-f", "other.txt", "--shots", "other.txt"), 2),
        (("generate", "--shots", "nothing.txt"), 3),
        (("remake", "a.mkv", "--prompt", "a blue ball"), 2),
        (("image", "--shots", "other.txt"), 2),
    ):
        result = studio(*words)
        assert result.exit_code == status and len(result.stderr.strip().splitlines()) == 1, result.stderr


@pytest.mark.parametrize(
    ("model", "values", "shown"),
    [
        ("wan2.1-vace-1.3b", {}, True),
        ("wan2.1-vace-1.3b", {"subject_reference": False}, False),
        ("wan2.1-1.3b", {}, False),
        ("mini", {"subject_reference": True}, False),
    ],
)
def test_which_films_show_their_first_shot_to_the_others(model: str, values: dict[str, bool], shown: bool):
    request = Request(verb="generate", prompt="a red ball", then=("at night",), model=model, seed=1)
    request = msgspec.structs.replace(request, **values)
    resolved = resolve(request, InMemory())
    assert resolved.plan.shows_first_shot is shown
    assert resolved.request.subject_reference is values.get("subject_reference", True)
    alone = resolve(msgspec.structs.replace(request, then=(), subject_reference=None), InMemory())
    assert not alone.plan.shows_first_shot and alone.request.subject_reference is None


def test_a_recipe_from_before_there_were_such_references_has_none():
    video = sora.generate("a red ball", then=["at night"], seed=1, size=(64, 64), steps=1, frames=2)
    record = video.recipe
    assert record["request"].pop("subject_reference") is True
    assert from_record(record).request.subject_reference is False


def test_the_sharpest_frame_is_the_one_with_most_edges():
    flat = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    soft = torch.linspace(0, 255, 32).to(torch.uint8).expand(3, 32, 32)
    hard = (torch.arange(32) % 2 * 255).to(torch.uint8).expand(3, 32, 32)
    assert sharpness(flat) == 0 < sharpness(soft) < sharpness(hard)


def test_candidates_lie_evenly_in_the_first_shot():
    plan = operations.generate(("a", "b"), frames=200, format=FORMAT)
    found = sorted(candidates(plan))
    assert len(found) == CANDIDATES and found[0] >= 0 and found[-1] < 100
    steps = np.diff(found)
    assert steps.max() - steps.min() <= 1
    assert candidates(operations.generate(("a", "b"), frames=6, format=FORMAT)) == {0, 1, 2}


def test_the_shown_frame_counts_in_dry_runs_and_memory_plans(studio: Studio):
    words = (
        "generate",
        "a cat",
        "--then",
        "a boat",
        "--model",
        "wan2.1-vace-1.3b",
        "--frames",
        42,
        "--dry-run",
        "--json",
    )
    given, plain = (json.loads(studio(*words, "--json", *more).stdout) for more in ((), ("--no-subject-reference",)))
    a_latent = given["tokens"] - plain["tokens"]
    assert a_latent > 0 and plain["tokens"] == 6 * a_latent  # 21 frames are 6 latents
    assert any("--no-subject-reference" in note for note in given["notes"]) and not plain["notes"]


def test_references_of_a_persons_own_are_those_of_all_shots(tmp_path: Path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    request = Request(
        verb="generate", shots=SHOTS, model="wan2.1-vace-1.3b", references=(str(tmp_path / "cat.png"),), seed=1
    )
    plan = resolve(request, InMemory()).plan
    assert not plan.shows_first_shot and len(plan.references) == plan.reference_count == 1
