"""Files that are painted again from their recipe, and drafts that are finished."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from conftest import MINI, SMALL_MINI, Footage, Studio
from sora import catalog, media
from sora.cli import app

pytestmark = pytest.mark.usefixtures("small_mini")

DEFAULTS = SMALL_MINI.defaults
SIDE, DRAFT = isqrt(DEFAULTS.area), isqrt(DEFAULTS.draft_area)
QUICK = ("--steps", "1", "--seed", "3")
SMALL = ("--size", "64x48", "--frames", "5")


def recipe(path: str | Path) -> dict[str, Any]:
    return json.loads(media.read_recipe(path) or "{}")


def frames(path: str) -> np.ndarray:
    return media.read_clip(path).frames_FYXC


def paint(studio: Studio, *argv: object, to: str = "film.mkv") -> str:
    result = studio(*argv, *QUICK, "-o", to)
    assert (result.exit_code, result.stdout) == (0, to.removesuffix("/") + "\n"), f"{result.stderr}{result.exception!r}"
    return to


def again(studio: Studio, *argv: object) -> str:
    """The path of what remake or finish makes."""
    result = studio(*argv)
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return result.stdout.strip()


# --- remake ------------------------------------------------------------------------------------------------------

FILMS = [
    [
        "generate",
        r"a \{red\} ball",
        "--then",
        "by \\|night",
        "--transition",
        "flow",
        "--frames",
        "12",
        "--motion",
        "up",
    ],
    ["generate", "a ball", "--aspect", "21:9", "--seconds", "0.5", "--negative-prompt", "- snow", "--guidance", "2.5"],
    ["img2vid", "PNG", "--last-image", "PNG", *SMALL, "--camera", "pan-left"],
    ["extend", "A", "-- a ball", "--backward", "--frames", "4", "--sampler", "heun", "--shift", "2"],
    ["extend", "A", "--draft", "--frames", "4", "--start", "0.25", "--end", "0.7"],
    ["loop", "A", "--prompt", "a ball"],
    ["loop", "--prompt", "-5 balls", "--seconds", "1", "--size", "64x48"],
    ["bridge", "A", "B", "--frames", "4", "--start-b", "0.1"],
    ["edit", "A", "a ball", "--region", "-4,0,30,30", "--frames", "-3:", "--strength", "0.8"],
    ["edit", "A", "a ball", "--mask", "PNG", "--method", "flow", "--source-prompt", "grass"],
]


@pytest.mark.parametrize("argv", FILMS, ids=[" ".join(argv[:4]) for argv in FILMS])
def test_a_film_made_again_is_the_same(studio: Studio, footage: Footage, argv: list[str]):
    clip = footage("a.mkv")
    files = {"A": clip, "B": footage("b.mkv"), "PNG": clip.with_suffix(".png")}
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(files["PNG"])
    words = [os.path.relpath(files[a]) if a in files else a for a in argv]
    if "-- a ball" in words:  # words that begin with a dash
        words = [*(w for w in words if w != "-- a ball"), *QUICK, "-o", "film.mkv", "--", "- a ball"]
        words.insert(1, words.pop(words.index(os.path.relpath(files["A"]))))
        assert studio(*words).exit_code == 0
    else:
        paint(studio, *words)
    assert again(studio, "remake", "film.mkv") == "film-remake.mkv"
    assert np.array_equal(frames("film-remake.mkv"), frames("film.mkv"))
    assert recipe("film-remake.mkv") == recipe("film.mkv")


def test_a_picture_made_again_is_the_same(studio: Studio):
    paint(studio, "image", "a ball", "--size", "200x150", "--refine", "0.3", to="a.png")
    assert again(studio, "remake", "a.png", "-q") == "a-remake.png"
    assert np.array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("a-remake.png")))


def test_a_folder_made_again_is_a_folder(studio: Studio):
    paint(studio, "generate", "a ball", *SMALL, to="shots/")
    assert again(studio, "remake", "shots") == "shots-remake"
    assert np.array_equal(frames("shots-remake"), frames("shots"))


def test_one_of_several_is_made_again_alone(studio: Studio):
    studio("generate", "a {red|blue} ball", "--count", 2, *SMALL, *QUICK, "-o", "a.mkv")
    again(studio, "remake", "a-4.mkv")
    assert np.array_equal(frames("a-4-remake.mkv"), frames("a-4.mkv"))
    assert (recipe("a-4-remake.mkv")["prompts"], recipe("a-4-remake.mkv")["request"]["seed"]) == (["a blue ball"], 4)


def test_options_after_the_file_change_what_is_painted(studio: Studio):
    paint(studio, "generate", "a ball", "--then", "at night", *SMALL)
    again(studio, "remake", "film.mkv", "--seed", 4, "-o", "seed.mkv")
    assert frames("seed.mkv").shape == frames("film.mkv").shape
    assert not np.array_equal(frames("seed.mkv"), frames("film.mkv"))
    again(studio, "remake", "film.mkv", "--seconds", 1, "--aspect", "1:1", "-o", "shape.mkv")
    assert frames("shape.mkv").shape == (8, SIDE, SIDE, 3)
    again(studio, "remake", "film.mkv", "--prompt", "a red ball", "--then", "a", "--then=b", "-o", "words.mkv")
    asked = recipe("words.mkv")["request"]
    assert (asked["prompt"], asked["then"]) == ("a red ball", ["a", "b"])
    result = studio("remake", "film.mkv", "--json", "-q", "--count", 2)
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == [
        "film-remake-1.mkv",
        "film-remake-2.mkv",
    ]


def first_format(made: dict[str, Any], argv: list[str]) -> str:
    """A recipe of today as the first version of sora would have written it."""
    asked = made["request"]
    old = {
        key: made[key] for key in ("sora", "weights", "frames", "fps", "painted", "size", "device", "dtype", "torch")
    }
    old |= {key: asked[key] for key in ("verb", "model", "seed", "steps", "guidance", "shift") if key in asked}
    return json.dumps(
        old
        | {
            "negative": asked["negative_prompt"],
            "prompt": made["prompts"][0],
            "step": asked["sampler"],
            "inputs": made["inputs"],
            "argv": argv,
        }
    )


def test_recipes_of_the_first_format(studio: Studio, footage: Footage):
    paint(studio, "generate", r"a \{red\} ball", *SMALL)
    made, film = recipe("film.mkv"), media.read_clip("film.mkv")
    media.write_clip("older.mkv", film, first_format(made, []))
    media.write_clip("old.mkv", film, first_format(made, ["generate", *SMALL, *QUICK, "--", r"a \{red\} ball"]))
    for name in ("older", "old"):
        again(studio, "remake", f"{name}.mkv")
        assert np.array_equal(frames(f"{name}-remake.mkv"), frames("film.mkv")), name
    made["request"]["verb"] = "img2vid"
    media.write_clip("older.mkv", film, first_format(made, []), force=True)
    result = studio("remake", "older.mkv")
    assert result.exit_code == 3
    assert "older sora" in result.stderr and "--seed 3" in result.stderr


def test_a_draft_that_was_finished_in_the_first_format(studio: Studio):
    paint(studio, "generate", "a ball", *SMALL, "--draft", to="draft.mkv")
    again(studio, "finish", "draft.mkv", "--steps", 2, "-o", "film.mkv")
    argv = [
        "finish",
        "--strength",
        "0.6",
        "--size",
        "64x48",
        "--steps",
        "2",
        "--seed",
        "3",
        "--",
        str(Path("draft.mkv").absolute()),
    ]
    made = recipe("film.mkv")
    made["inputs"] = [[str(Path("draft.mkv").absolute()), made["inputs"][0][1]]]
    media.write_clip("old.mkv", media.read_clip("film.mkv"), first_format(made, argv))
    again(studio, "remake", "old.mkv")
    assert np.array_equal(frames("old-remake.mkv"), frames("film.mkv"))


def test_changes_that_will_show_are_said(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    film = paint(studio, "generate", "a ball", *SMALL)
    assert "will differ" not in studio("remake", film).stderr
    monkeypatch.setattr("sora.jobs.replay.sha256_of", lambda _: "0" * 64)
    assert "made with other weights" in studio("remake", film).stderr


def test_a_film_is_not_written_over_what_it_is_made_of(studio: Studio):
    film = paint(studio, "generate", "a ball", *SMALL)
    result = studio("extend", film, *QUICK, "-o", film, "--force")
    assert result.exit_code == 2 and "made from" in result.stderr
    assert len(frames(film)) == 5


def test_inputs_must_be_what_they_were(studio: Studio, footage: Footage):
    clip = footage()
    paint(studio, "extend", clip, "--frames", 2)
    clip.rename(clip.with_name("moved.mkv"))
    result = studio("remake", "film.mkv")
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 1)
    digest = recipe("film.mkv")["inputs"][0][1]
    assert f"film.mkv was made from clip.mkv (sha256 {digest[:12]}), which is not found beside it" in result.stderr
    footage(frames=5)
    result = studio("remake", "film.mkv")
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 1)
    assert f"clip.mkv, which has changed since ({clip})" in result.stderr
    assert sorted(p.name for p in Path().iterdir()) == ["film.mkv"]


@pytest.mark.parametrize(
    ("argv", "status", "fragment"),
    [
        (["remake", "none.mkv"], 3, "none.mkv"),
        (["remake", "plain.mkv"], 3, "holds no recipe"),
        (["remake", "film.mkv", "--seed", "-2"], 2, "--seed -2"),
        (["remake", "film.mkv", "--region", "0,0,9,9"], 2, "--region"),
        (["remake", "--seed", "5", "film.mkv"], 2, "name it first"),
        (["remake", "film.mkv", "again"], 2, "unexpected extra argument"),
        (["finish", "film.mkv"], 3, "film.mkv is not a draft"),
        (["finish", "plain.mkv"], 3, "holds no recipe"),
        (["finish", "draft.mkv", "--strength", "0"], 2, "0.01 to 1"),
        (["finish", "draft.mkv", "--size", "9x9"], 2, "16 to 8192"),
        (["finish", "cut.mkv"], 3, "cut.mkv has 3 frames and its recipe makes 5"),
        (["finish", "extended.mkv", "--size", "64x64"], 2, "extend keeps its clip's own size"),
    ],
)
def test_what_cannot_be_made_again(studio: Studio, footage: Footage, argv: list[str], status: int, fragment: str):
    files: dict[str, Callable[[], object]] = {
        "film.mkv": lambda: paint(studio, "generate", "a ball", *SMALL),
        "draft.mkv": lambda: paint(studio, "generate", "a ball", *SMALL, "--draft", to="draft.mkv"),
        "extended.mkv": lambda: paint(studio, "extend", footage(), "--frames", 2, "--draft", to="extended.mkv"),
        "plain.mkv": lambda: footage().rename("plain.mkv"),
        "cut.mkv": lambda: cut(files["draft.mkv"](), "cut.mkv"),
    }

    def cut(path: object, name: str) -> None:
        media.write_clip(name, media.read_clip(str(path))[:3], media.read_recipe(str(path)) or "")

    for name in argv:
        files.get(name, lambda: None)()
    before = sorted(p.name for p in Path().iterdir())
    result = studio(*argv)
    assert (result.exit_code, result.stdout) == (status, ""), result.stderr
    assert fragment in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(p.name for p in Path().iterdir()) == before


# --- drafts ------------------------------------------------------------------------------------------------------


def test_a_draft_is_small_and_quick(studio: Studio):
    result = studio("generate", "a ball", "--draft", "--seed", 3, "-o", "draft.mkv")
    assert result.exit_code == 0, result.stderr
    made = recipe("draft.mkv")
    assert (made["painted"], made["size"]) == ([DRAFT, DRAFT], [SIDE, SIDE])
    assert (made["request"]["steps"], made["request"]["draft"]) == (DEFAULTS.draft_steps, True)


BACK = max(8, DEFAULTS.window - DEFAULTS.context - DEFAULTS.context_after)  # frames in which a loop finds back

DRAFTS = [
    (["generate", "a ball", "--then", "at night", *SMALL], (5, 48, 64)),
    (["img2vid", "PNG", *SMALL], (5, 48, 64)),
    (["extend", "A", "--frames", "4"], (10, 48, 64)),
    (["loop", "A"], (6 + BACK, 48, 64)),
    (["loop", "--prompt", "a ball", "--frames", "8", "--size", "64x48"], (8, 48, 64)),
    (["bridge", "A", "A", "--frames", "4"], (16, 48, 64)),
    (["edit", "A", "a ball", "--region", "0,0,20,20"], (6, 48, 64)),
]


@pytest.mark.parametrize(("argv", "shape"), DRAFTS, ids=[" ".join(argv[:3]) for argv, _ in DRAFTS])
def test_a_draft_of_any_verb_is_finished(
    studio: Studio, footage: Footage, argv: list[str], shape: tuple[int, int, int]
):
    clip = footage()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(clip.with_suffix(".png"))
    files = {"A": clip, "PNG": clip.with_suffix(".png")}
    paint(studio, *(files.get(a, a) for a in argv), "--draft", to="draft.mkv")
    again(studio, "finish", "draft.mkv", "--steps", 2, "-o", "film.mkv")
    assert frames("film.mkv").shape == (*shape, 3)
    made = recipe("film.mkv")
    asked = made["request"]
    assert (asked["verb"], asked["draft_file"], asked["seed"]) == (argv[0], "draft.mkv", 3)
    assert (asked["steps"], "draft" in asked) == (2, False)
    assert made["painted"] != recipe("draft.mkv")["painted"]
    if "A" in argv:
        assert [file for file, _ in made["inputs"]][:2] == ["draft.mkv", "clip.mkv"]
    assert again(studio, "remake", "film.mkv") == "film-remake.mkv"
    assert np.array_equal(frames("film-remake.mkv"), frames("film.mkv"))


def test_finish_takes_all_the_steps_and_another_size(studio: Studio):
    paint(studio, "generate", "a ball", *SMALL, "--draft", to="draft.mkv")
    assert again(studio, "finish", "draft.mkv", "--size", "96x96", "-q") == "draft-finish.mp4"
    assert frames("draft-finish.mp4").shape == (5, 96, 96, 3)
    assert recipe("draft-finish.mp4")["request"]["steps"] == DEFAULTS.steps
    again(studio, "finish", "draft.mkv", "--aspect", "9:16", "-q", "-o", "tall.mkv")
    assert frames("tall.mkv").shape == (5, *catalog.find("mini").grid.nearest_size(9 / 16, DEFAULTS.area), 3)
    assert recipe("tall.mkv")["request"]["draft_strength"] == 0.6


def test_a_pictures_draft_is_finished(studio: Studio):
    paint(studio, "image", "a ball", "--draft", to="draft.png")
    assert again(studio, "finish", "draft.png", "--size", "200x200") == "draft-finish.png"
    assert Image.open("draft-finish.png").size == (200, 200)


# --- the real thing ----------------------------------------------------------------------------------------------


def test_the_model_inside_makes_a_film_again_and_finishes_a_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(catalog.MODELS, "mini", MINI)

    def sora(*argv: str) -> Result:
        return CliRunner().invoke(app, list(argv))

    paint(sora, "generate", "a red ball bounces in the snow", *SMALL, "--draft", to="draft.mkv")
    film = again(sora, "finish", "draft.mkv", "--steps", "2", "-o", "film.mkv")
    assert np.array_equal(frames(again(sora, "remake", film)), frames(film))
    assert np.abs(frames(film).astype(float) - frames("draft.mkv")).mean() < 60  # the same picture, not another
