"""The verbs as commands: how many frames, of what size, which of them are the source's own, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import SMALL_MINI, Footage, Studio
from sora import media, models
from sora.plan.clip import Clip

pytestmark = pytest.mark.usefixtures("small_mini")

DEFAULTS = SMALL_MINI.defaults
SHAPES = {"9:16": (64, 36), "16:9": (36, 64), "1:1": (48, 48), "21:9": (36, 84)}
QUICK = ("--steps", 1, "--seed", 1)


def names() -> list[str]:
    return sorted(p.name for p in Path().iterdir())


def recipe(path: str | Path) -> dict[str, Any]:
    return json.loads(media.read_recipe(path) or "{}")


def made(studio: Studio, *argv: object) -> Clip:
    """The film a command makes, lossless."""
    result = studio(*argv, *QUICK, "-o", "made.mkv", "--force")
    assert (result.exit_code, result.stdout) == (0, "made.mkv\n"), f"{result.stderr}{result.exception!r}"
    return media.read_clip("made.mkv")


def same(a: np.ndarray | Clip, b: np.ndarray | Clip) -> bool:
    first, second = (x.frames_FYXC if isinstance(x, Clip) else x for x in (a, b))
    return np.array_equal(first, second)


# --- a clip's own frames stay ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
def test_extend_keeps_the_clip_and_paints_what_is_asked(studio: Studio, footage: Footage, size: tuple[int, int]):
    path = footage(size=size, fps=12)
    clip = media.read_clip(path)
    film = made(studio, "extend", path, "a ball", "--frames", 5)
    assert (len(film), film.size, film.fps) == (11, size, 12)
    assert same(film[:6], clip)
    film = made(studio, "extend", path, "a ball", "--seconds", 0.5, "--backward")
    assert len(film) == 12
    assert same(film[6:], clip)


@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
def test_loop_keeps_the_clip_and_paints_the_way_back(studio: Studio, footage: Footage, size: tuple[int, int]):
    path = footage(size=size)
    film = made(studio, "loop", path)
    back = max(16, DEFAULTS.window - DEFAULTS.context - DEFAULTS.context_after)
    assert (len(film), film.size) == (6 + back, size)
    assert same(film[:6], media.read_clip(path))
    assert len(made(studio, "loop", path, "--frames", 5, "--prompt", "a ball")) == 11


@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
def test_bridge_keeps_both_clips(studio: Studio, footage: Footage, size: tuple[int, int]):
    a, b = footage("a.mkv", size=size), footage("b.mkv", 7, size=size)
    film = made(studio, "bridge", a, b, "--seconds", 1)
    assert (len(film), film.size) == (6 + 8 + 7, size)
    assert same(film[:6], media.read_clip(a))
    assert same(film[14:], media.read_clip(b))


def test_bridge_fits_the_second_clip_to_the_first(studio: Studio, footage: Footage):
    a, b = footage("a.mkv", size=(48, 64), fps=8), footage("b.mkv", 12, size=(90, 60), fps=24)
    result = studio("bridge", a, b, "--frames", 4, *QUICK, "-o", "made.mkv")
    assert f"{b} is brought from 24 to 8 frames a second, the rate of {a}" in result.stderr
    assert f"{b} is fitted from 60x90 to 64x48, the size of {a}" in result.stderr
    film = media.read_clip("made.mkv")
    assert (len(film), film.size, film.fps) == (6 + 4 + 4, (48, 64), 8)
    assert same(film[10:], Clip(media.read_clip(b).frames_FYXC[1::3], 8).fitted(48, 64))


@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
def test_edit_of_a_region_leaves_the_rest_alone(studio: Studio, footage: Footage, size: tuple[int, int]):
    path = footage(size=size)
    clip = media.read_clip(path)
    film = made(studio, "edit", path, "a ball", "--region", "8,4,20,24")
    inside = np.zeros(size, bool)
    inside[4:28, 8:28] = True
    assert (len(film), film.size, film.fps) == (6, size, 8)
    assert same(film.frames_FYXC[:, ~inside], clip.frames_FYXC[:, ~inside])
    assert not same(film.frames_FYXC[:, inside], clip.frames_FYXC[:, inside])


def test_a_region_is_cut_at_the_frames_edge(studio: Studio, footage: Footage):
    path = footage()
    film, clip = made(studio, "edit", path, "a ball", "--region", "-10,40,20,100"), media.read_clip(path)
    assert same(film.frames_FYXC[:, :40], clip.frames_FYXC[:, :40])
    assert same(film.frames_FYXC[:, :, 10:], clip.frames_FYXC[:, :, 10:])
    assert not same(film, clip)


def test_edit_where_a_mask_is_white(studio: Studio, footage: Footage, tmp_path: Path):
    path, mask = footage(), tmp_path / "mask.png"
    Image.fromarray(np.pad(np.full((48, 32), 255, np.uint8), ((0, 0), (0, 32)))).save(mask)
    film, clip = made(studio, "edit", path, "a ball", "--mask", mask), media.read_clip(path)
    assert same(film.frames_FYXC[:, :, 32:], clip.frames_FYXC[:, :, 32:])
    assert not same(film, clip)
    assert [file for file, _ in recipe("made.mkv")["inputs"]] == [path.name, mask.name]


@pytest.mark.parametrize(
    ("stretch", "painted"), [("2:4", range(2, 4)), (":2", range(2)), ("4:", range(4, 6)), ("-1:", range(5, 6))]
)
def test_edit_of_a_stretch_leaves_the_other_frames_alone(
    studio: Studio, footage: Footage, stretch: str, painted: range
):
    path = footage()
    film, clip = made(studio, "edit", path, "a ball", "--frames", stretch), media.read_clip(path)
    changed = [i for i in range(6) if not same(film[i : i + 1], clip[i : i + 1])]
    assert changed == list(painted)


def test_strength_of_an_edit(studio: Studio, footage: Footage):
    path = footage()
    clip = media.read_clip(path)
    assert same(made(studio, "edit", path, "a ball", "--strength", 0), clip)
    assert not same(made(studio, "edit", path, "a ball"), clip)
    assert recipe("made.mkv")["request"]["strength"] == DEFAULTS.noise_strength
    made(studio, "edit", path, "a ball", "--frames", "2:3")
    assert recipe("made.mkv")["request"]["strength"] == 1


def test_edit_by_flow_starts_from_the_words_of_the_clips_recipe(studio: Studio):
    made(studio, "generate", "a red ball", "--frames", 5, "--size", "64x64")
    Path("made.mkv").rename("source.mkv")
    made(studio, "edit", "source.mkv", "a blue ball", "--method", "flow")
    assert recipe("made.mkv")["request"]["source_prompt"] == "a red ball"


def test_edit_goes_by_flow_where_the_old_words_are_known(studio: Studio, footage: Footage):
    made(studio, "generate", "a red ball", "--frames", 5, "--size", "64x64")
    Path("made.mkv").rename("source.mkv")
    path, known = str(footage()), "source.mkv"
    cases = (
        ("flow", known),
        ("flow", path, "--source-prompt", "grass"),
        ("noise", path),
        ("noise", known, "--strength", 1),
        ("noise", known, "--frames", "1:3"),
    )
    for method, source, *flags in cases:
        made(studio, "edit", source, "a blue ball", *flags)
        assert recipe("made.mkv")["request"]["method"] == method


def test_a_part_of_a_clip(studio: Studio, footage: Footage):
    path = footage(frames=16)
    clip = media.read_clip(path)
    film = made(studio, "extend", path, "--start", 0.5, "--end", 1.25, "--frames", 4)
    assert len(film) == 6 + 4
    assert same(film[:6], clip[4:10])
    b = footage("b.mkv", frames=16)
    film = made(studio, "bridge", path, b, "--end", 0.5, "--start-b", 1.5, "--frames", 4)
    assert same(film[:4], clip[:4])
    assert same(film[8:], media.read_clip(b)[12:])


def test_a_folder_of_pictures_is_a_clip(studio: Studio, footage: Footage):
    clip = media.read_clip(footage())
    media.write_clip("shots", clip)
    film = made(studio, "extend", "shots", "--frames", 4)
    assert same(film[:6], clip)
    assert film.fps == 24


# --- pictures and words ------------------------------------------------------------------------------------------


def test_img2vid_from_one_picture_to_another(studio: Studio, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    first, last = tmp_path / "first.png", tmp_path / "last.png"
    Image.fromarray(noise[0]).save(first)
    Image.fromarray(noise[1]).save(last)
    film = made(studio, "img2vid", first, "a ball", "--last-image", last, "--size", "64x48", "--frames", 9)
    assert (len(film), film.size) == (9, (48, 64))
    assert same(film.frames_FYXC[0], noise[0])
    assert same(film.frames_FYXC[-1], noise[1])


@pytest.mark.parametrize("aspect", SHAPES)
def test_films_from_words_come_in_every_shape(studio: Studio, aspect: str):
    width, height = map(int, aspect.split(":"))
    for verb, *argv in (["generate", "a ball", "--frames", 2], ["loop", "--prompt", "a ball", "--frames", 8]):
        size = made(studio, verb, *argv, "--aspect", aspect).size
        assert abs(np.log(size[1] / size[0] / (width / height))) < 0.12
        assert 0.7 < size[0] * size[1] / DEFAULTS.area < 1.4


def test_films_come_out_in_exactly_the_size_asked(studio: Studio):
    assert made(studio, "generate", "a ball", "--frames", 2, "--size", "64x64").size == (64, 64)
    assert made(studio, "generate", "a ball", "--frames", 1, "--size", "1920x1080").size == (1080, 1920)
    result = studio("image", "a ball", "--size", "1080x1920", *QUICK, "-o", "a.png")
    assert Image.open(result.stdout.strip()).size == (1080, 1920)


def test_a_large_clip_is_extended_at_its_size(studio: Studio, footage: Footage):
    path = footage(frames=2, size=(1080, 1920))
    film = made(studio, "extend", path, "--frames", 1)
    assert (len(film), film.size) == (3, (1080, 1920))
    assert same(film[:2], media.read_clip(path))


def test_refine_paints_a_picture_at_its_size(studio: Studio):
    plain, refined = (studio("image", "a ball", "--size", "300x200", *QUICK, "--refine", r) for r in (0, 0.3))
    assert refined.exit_code == 0, refined.stderr
    a, b = (np.asarray(Image.open(r.stdout.strip())) for r in (plain, refined))
    assert a.shape == b.shape == (200, 300, 3)
    assert not same(a, b)


def test_shots_share_a_film_and_a_subject(studio: Studio):
    shots = ("generate", "in the snow", "--then", "in the desert", "--then", "at night", "--subject", "a red ball")
    result = studio(*shots, *QUICK, "--json", "--size", "16x16")
    told = json.loads(result.stdout)
    assert (told["frames"], told["prompt"]) == (3 * DEFAULTS.frames, "a red ball in the snow")
    assert recipe(told["path"])["request"]["then"] == ["in the desert", "at night"]
    told = json.loads(studio(*shots, "--transition", "flow", *QUICK, "--json", "--size", "16x16").stdout)
    assert told["frames"] == 3 * DEFAULTS.frames + 2 * 8
    assert len(made(studio, *shots, "--frames", 20, "--size", "16x16")) == 20


def test_every_choice_of_every_shot_makes_a_film(studio: Studio):
    result = studio("generate", "a {red|blue} ball", "--then", "{snow|night}", "--frames", 2, *QUICK, "-o", "a.gif")
    assert result.stdout.split() == ["a-1.gif", "a-2.gif", "a-3.gif", "a-4.gif"]


def test_a_loop_from_words_has_whole_latents(studio: Studio):
    assert len(made(studio, "loop", "--prompt", "a ball", "--size", "16x16")) == DEFAULTS.loop_frames
    result = studio("loop", "--prompt", "a ball", "--seconds", 1.3, "--size", "16x16", *QUICK, "-o", "a.mkv")
    assert "a loop from words has a multiple of 4 frames: 12 instead of 10" in result.stderr
    assert len(media.read_clip("a.mkv")) == 12


def test_moves_become_words(studio: Studio):
    argv = ("--frames", 2, "--camera", "pan-left", "--motion", "up")
    made(studio, "generate", "a ball", *argv)
    assert recipe("made.mkv")["prompts"][0] == "a ball moving up, the camera pans left"
    made(studio, "generate", "a ball", "--frames", 2, "--camera", "static")
    assert recipe("made.mkv")["prompts"][0] == "a ball"


# --- what a person is told ---------------------------------------------------------------------------------------


def test_variants_of_one_clip(studio: Studio, footage: Footage):
    path = footage("my clip.mkv")
    result = studio("extend", path, "--frames", 4, "--variants", 2, "--seed", 5, "--steps", 1)
    assert result.stdout.split() == ["my-clip-extend-1.mp4", "my-clip-extend-2.mp4"], result.stderr
    first, second = (media.read_clip(name) for name in result.stdout.split())
    assert not same(first, second)
    assert [recipe(name)["request"]["seed"] for name in result.stdout.split()] == [5, 6]


def test_names_say_the_clip_and_the_verb(studio: Studio, footage: Footage):
    a = footage("a.mkv")
    for verb, *rest in (["loop"], ["bridge", a], ["edit", "a ball"]):
        assert studio(verb, a, *rest, *QUICK).stdout == f"a-{verb}.mp4\n"


def test_words_are_taken_from_the_clips_own_recipe(studio: Studio):
    made(studio, "generate", "a {red} ball", "--frames", 2, "--size", "64x64", "--motion", "up")
    Path("made.mkv").rename("source.mkv")
    result = studio("extend", "source.mkv", "--frames", 4, *QUICK, "--json")
    assert "the prompt of source.mkv: a red ball moving up\n" in result.stderr
    assert json.loads(result.stdout)["prompt"] == "a red ball moving up"
    assert studio("extend", "source.mkv", "--frames", 4, *QUICK, "-q").stderr == ""


def test_an_odd_clip_fits_every_kind_of_file(studio: Studio, footage: Footage):
    path = footage(size=(45, 63))
    assert same(made(studio, "extend", path, "--frames", 2)[:6], media.read_clip(path))
    result = studio("extend", path, "--frames", 2, *QUICK)
    assert f"{path} is 63x45; an .mp4 holds 62x44 of it, -o in .mkv keeps all" in result.stderr
    assert media.read_clip(result.stdout.strip()).size == (44, 62)


def test_sound_stays_with_its_frames(studio: Studio, footage: Footage):
    loud, silent = footage("a.mkv", 16, sound=True), footage("b.mkv", 8)
    kept = f"the sound of {loud} stays with its frames; the rest is silent"
    for argv, told in (
        (["extend", loud, "--frames", 8], kept),
        (["extend", loud, "--frames", 8, "--backward"], kept),
        (["loop", loud], kept),
        (["bridge", silent, loud], kept),
        (["edit", loud, "a ball"], ""),
    ):
        result = studio(*argv, *QUICK, "-o", "a.mp4", "--force")
        assert result.exit_code == 0, result.stderr
        assert media.probe("a.mp4").sound
        assert told in result.stderr
        assert ("sound" in result.stderr) == bool(told)
    result = studio("loop", loud, *QUICK, "-o", "a.gif")
    assert f"the sound of {loud} is left out; -o in .mp4 or .mkv keeps it" in result.stderr
    assert "sound" not in studio("loop", silent, *QUICK).stderr


# --- what is refused ---------------------------------------------------------------------------------------------

REFUSED = [
    (["generate", "a ball", "--transition", "flow"], 2, "--then"),
    (["generate", "a ball", "--then", "b", "--frames", "1"], 2, "too few for 2 shots; ask for 2"),
    (["generate", "a ball", "--then", "b", "--transition", "flow", "--frames", "9"], 2, "ask for 10"),
    (["generate", "a ball", "--then", ""], 2, "empty"),
    (["generate", "a ball", "--camera", "orbit"], 2, "it knows static, pan-left, pan-right"),
    (["image", "a ball", "--camera", "zoom-in"], 2, "no words for --camera zoom-in"),
    (["image", "a ball", "--refine", "2"], 2, "0 to 1"),
    (["image", "a ball", "--refine", "0.3", "--size", "2049x1024"], 2, "2048x2048"),
    (["img2vid", "CLIP.png", "--last", "none.png"], 3, "none.png"),  # the flag's name in earlier versions
    (["img2vid", "CLIP.png", "--last-image", "none.png"], 3, "none.png"),
    (["img2vid", "CLIP.png", "--last", "CLIP.png", "--frames", "1"], 2, "2 frames at least"),
    (["extend", "none.mkv"], 3, "none.mkv"),
    (["extend", "CLIP.png"], 3, "still picture"),
    (["extend", "CLIP.txt"], 3, "CLIP.txt"),
    (["extend", "CLIP.mkv", "--frames", "0"], 2, "1 to 100000"),
    (["extend", "CLIP.mkv", "--seconds", "nan"], 2, "more than 0"),
    (["extend", "CLIP.mkv", "--start", "9"], 2, "--start 9"),
    (["extend", "CLIP.mkv", "--start", "0.5", "--end", "0.25"], 2, "--end"),
    (["extend", "CLIP.mkv", "--variants", "0"], 2, "1 to 1000"),
    (["extend", "CLIP.mkv", "-o", "a.png"], 2, "one frame"),
    (["loop"], 2, "CLIP or --prompt"),
    (["loop", "CLIP.mkv", "--size", "64x64"], 2, "leave --size out"),
    (["loop", "CLIP.mkv", "--fps", "8"], 2, "leave --fps out"),
    (["loop", "--prompt", "a ball", "--start", "1"], 2, "--start"),
    (["loop", "--prompt", "a ball", "--frames", "1000"], 2, "at most 128"),
    (["bridge", "CLIP.mkv", "none.mkv"], 3, "none.mkv"),
    (["edit", "CLIP.mkv", ""], 2, "empty"),
    (["edit", "CLIP.mkv", "a", "--strength", "1.5"], 2, "0 to 1"),
    (["edit", "CLIP.mkv", "a", "--strength", "nan"], 2, "0 to 1"),
    (["edit", "CLIP.mkv", "a", "--region", "1,2,3"], 2, "40,0,64,64"),
    (["edit", "CLIP.mkv", "a", "--region", "64,0,9,9"], 2, "64x48"),
    (["edit", "CLIP.mkv", "a", "--region", "0,0,0,9"], 2, "no pixel"),
    (["edit", "CLIP.mkv", "a", "--region", "0,0,9,9", "--mask", "CLIP.png"], 2, "one of them"),
    (["edit", "CLIP.mkv", "a", "--mask", "none.png"], 3, "none.png"),
    (["edit", "CLIP.mkv", "a", "--frames", "9:"], 2, "has 6"),
    (["edit", "CLIP.mkv", "a", "--frames", "3"], 2, "8:16"),
    (["edit", "CLIP.mkv", "a", "--was", "b", "--method", "noise"], 2, "--method flow"),  # as in earlier versions
    (["edit", "CLIP.mkv", "a", "--source-prompt", "b", "--method", "noise"], 2, "--method flow"),
    (["edit", "CLIP.mkv", "a", "--source-prompt", "b", "--region", "0,0,9,9"], 2, "--method flow"),
]


@pytest.mark.parametrize(("argv", "status", "fragment"), REFUSED, ids=[" ".join(argv) for argv, _, _ in REFUSED])
def test_what_cannot_be_gets_one_line_and_leaves_nothing(
    studio: Studio, footage: Footage, monkeypatch: pytest.MonkeyPatch, argv: list[str], status: int, fragment: str
):
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("the model was loaded for a wish that cannot be"))
    clip = footage("CLIP.mkv")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(clip.with_suffix(".png"))
    clip.with_suffix(".txt").write_text("words")
    result = studio(*(a.replace("CLIP.", f"{clip.parent}/CLIP.") for a in argv))
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("sora: ")
    assert len(result.stderr.splitlines()) == 1
    assert fragment in result.stderr
    assert names() == []


def test_it_is_refused_before_torch_is_imported(footage: Footage, tmp_path: Path):
    code = (
        "import json, sys\nfrom typer.testing import CliRunner\nfrom sora.cli import app\n"
        "for argv in json.load(sys.stdin):\n"
        "    assert CliRunner().invoke(app, argv).exit_code in (2, 3), argv\n"
        "    assert 'torch' not in sys.modules, argv\n"
    )
    clip = footage("CLIP.mkv")
    wishes = [[a.replace("CLIP.mkv", str(clip)) for a in argv] for argv, _, _ in REFUSED]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(wishes),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("argv", [["extend"], ["loop"], ["bridge", "CLIP"], ["edit", "a ball"]])
def test_what_goes_wrong_while_painting_leaves_nothing(
    studio: Studio, footage: Footage, monkeypatch: pytest.MonkeyPatch, argv: list[str]
):
    from conftest import Blotches

    def fail(self: Blotches, latents_BCTHW: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Blotches, "decode", fail)
    clip = footage()
    verb, *rest = (str(clip) if a == "CLIP" else a for a in argv)
    result = studio(verb, clip, *rest, *QUICK)
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.splitlines()[-1].startswith("sora: ")
    assert names() == []
