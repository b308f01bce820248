"""How far films move from how they began: the measure itself, ``sora info --drift``, and the end of a long painting."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageStat

from conftest import Footage, Studio
from sora import media
from sora.errors import InputError
from sora.jobs import drift as windows
from sora.jobs.delivery import InMemory
from sora.jobs.resolve import resolve
from sora.media import drift
from sora.media.drift import DriftMeter, FilmWindow
from sora.plan.clip import Clip
from sora.plan.request import Request
from sora.plan.shot import Shot
from sora.plan.shot_spans import TRANSITION_FRAMES

pytestmark = pytest.mark.usefixtures("small_mini")

SECONDS = 2 * 8  # frames of a window where nothing says how a film was painted, at 8 frames a second


def scene(frames: int = 1, side: int = 48) -> np.ndarray:
    """A still of soft blotches, uint8 RGB (F, Y, X, 3) between 60 and 190, so that it can move without being cut."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    large = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    return np.repeat((60 + 0.5 * np.asarray(large, np.float32))[None], frames, axis=0).round().astype(np.uint8)


def of(*parts: np.ndarray, each: int = 4) -> drift.Drift:
    """Of a film whose windows show one picture each for so many frames."""
    meter = DriftMeter([FilmWindow(range(n * each, (n + 1) * each)) for n in range(len(parts))])
    for part in parts:
        meter.add(np.repeat(part[:1], each, axis=0))
    found = meter.drift()
    assert found is not None
    return found


def changed(later: np.ndarray) -> drift.Changes:
    found = of(scene(), later).from_first
    assert found is not None
    return found


def blurred(radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(scene()[0]).filter(ImageFilter.GaussianBlur(radius)))[None]


def test_a_still_is_steady():
    changes = changed(scene())
    assert changes.summary == "steady"
    assert changes.last.colour == (0, 0, 0) and (changes.last.contrast, changes.last.sharpness) == (0, 0)


@pytest.mark.parametrize(
    ("shift", "word"),
    [
        ((-3, -3, -3), "steady"),
        ((-10, -10, -10), "slightly darker"),
        ((10, 10, 10), "slightly brighter"),
        ((9, 0, -9), "slightly warmer"),
        ((-9, 0, 9), "slightly cooler"),
        ((-5, 9, -5), "slightly greener"),
        ((5, -9, 5), "slightly more purple"),
        ((-40, -40, -40), "drifts: darker"),
    ],
)
def test_colours_move_by_grey_levels_and_have_a_plain_word(shift: tuple[int, int, int], word: str):
    changes = changed((scene().astype(int) + shift).astype(np.uint8))
    assert changes.last.colour == pytest.approx(shift, abs=1e-3) and changes.summary == word
    assert changes.last.sharpness == pytest.approx(0, abs=1e-3)


def test_contrast_and_sharpness_are_shares():
    middle = scene().astype(np.float32).mean()
    flatter = changed((middle + 0.5 * (scene() - middle)).round().astype(np.uint8))
    assert flatter.last.contrast == pytest.approx(-0.5, abs=0.01) and "weaker in contrast" in flatter.summary
    softer = changed(blurred(2))
    assert softer.last.sharpness < -0.15 and "softer" in softer.summary
    back = of(blurred(2), scene()).from_first
    assert back is not None and "sharper" in back.summary


def test_numbers_are_those_of_pillow_and_of_plain_loops():
    noise = np.random.default_rng(1).integers(0, 256, (1, 9, 13, 3), np.uint8)
    (measured,) = of(noise).windows
    assert measured.colour == pytest.approx(ImageStat.Stat(Image.fromarray(noise[0])).mean, abs=1e-3)
    y = noise[0].astype(float) @ (0.2126, 0.7152, 0.0722)
    squares = [
        (4 * y[r, c] - y[r - 1, c] - y[r + 1, c] - y[r, c - 1] - y[r, c + 1]) ** 2
        for r in range(1, 8)
        for c in range(1, 12)
    ]
    assert measured.contrast == pytest.approx(float(y.std()), rel=1e-5)
    assert measured.sharpness == pytest.approx(sum(squares) / len(squares), rel=1e-5)


def test_how_frames_arrive_changes_nothing():
    frames = np.random.default_rng(2).integers(0, 256, (23, 8, 8, 3), np.uint8)
    cut = drift.even_windows(range(2, 20), 7, 5)
    found = []
    for step in (1, 4, 23):
        meter = DriftMeter(cut)
        for begin in range(0, 23, step):
            meter.add(frames[begin : begin + step])
        found.append(meter.drift())
    assert found[0] == found[1] == found[2]
    assert found[0] is not None
    assert [each.window.frames for each in found[0].windows] == [range(2, 9), range(9, 14), range(14, 20)]


def test_a_film_that_begins_black_has_finite_numbers():
    found = of(np.zeros((1, 8, 8, 3), np.uint8), scene(side=8)).from_first
    assert found is not None and found.summary.startswith("drifts: brighter")
    assert np.isfinite(found.last.contrast) and np.isfinite(found.last.sharpness)


def test_large_frames_are_measured_small():
    tall = np.tile(scene(side=64), (1, 33, 17, 1))
    assert tall.shape[1] * tall.shape[2] > drift.MAX_PIXELS
    (small,), (large,) = of(scene(side=64)).windows, of(tall).windows
    assert large.colour == pytest.approx(small.colour, abs=0.2)
    assert large.contrast == pytest.approx(small.contrast, rel=0.05)


def test_a_film_of_others_is_cut_by_seconds(footage: Footage, tmp_path: Path):
    frames = np.concatenate([scene(2 * SECONDS), scene(SECONDS) - 20])
    media.write_clip(tmp_path / "a.mkv", Clip(frames, 8.0))
    found = drift.measure(tmp_path / "a.mkv")
    assert [len(each.window.frames) for each in found.windows] == [SECONDS] * 3
    assert found.from_first is not None and found.from_shots is None
    assert found.from_first.all[0].colour == (0, 0, 0)
    assert found.from_first.last.colour == pytest.approx((-20, -20, -20), abs=1e-3)


@pytest.mark.parametrize("transition", ["cut", "flow"])
@pytest.mark.parametrize("fps", [8, 24])
def test_the_recipe_knows_the_windows_that_were_painted(fps: int, transition: Literal["cut", "flow"]):
    request = Request(
        verb="generate", prompt="a ball", then=("a dog", "a cat"), seconds=15, fps=fps, transition=transition, seed=1
    )
    resolved = resolve(request, InMemory(anyway=True))
    plan = resolved.plan
    found = windows.windows_of(plan)
    assert windows.windows_in(resolved.request_of(resolved.variants[0]), plan.film_frames, plan.film_fps) == found
    assert {each.shot for each in found} == {0, 1, 2}
    assert all(a.frames.stop <= b.frames.start for a, b in pairwise(found))
    assert found[0].frames.start == 0 and found[-1].frames.stop == plan.film_frames
    covered = sum(len(each.frames) for each in found)
    gaps = 2 * round(8 * fps / 8) if transition == "flow" else 0
    assert covered == pytest.approx(plan.film_frames - gaps, abs=2 * fps / 8)


@pytest.mark.parametrize("fps", [8, 24])
def test_shots_of_any_length_are_known(fps: int):
    shots = (Shot(prompt="a ball", seconds=6), Shot(prompt="a dog", seconds=5, transition="flow"), Shot(prompt="a cat"))
    resolved = resolve(Request(verb="generate", shots=shots, fps=fps, seed=1), InMemory(anyway=True))
    plan = resolved.plan
    found = windows.windows_of(plan)
    assert windows.windows_in(resolved.request_of(resolved.variants[0]), plan.film_frames, plan.film_fps) == found
    begins = [next(each.frames.start for each in found if each.shot == shot) for shot in range(3)]
    assert begins == pytest.approx([0, 6 * fps + TRANSITION_FRAMES, 11 * fps], abs=fps / 4)


def test_windows_are_those_of_the_plan():
    resolved = resolve(
        Request(verb="generate", prompt="a ball", frames=33 + 28 + 28 + 5, seed=1), InMemory(anyway=True)
    )
    *all_but_last, last = [window.kept for window in resolved.plan.windows]
    *found, joined = [window.frames for window in windows.windows_of(resolved.plan)]
    assert found == all_but_last[:-1]
    assert joined == range(all_but_last[-1].start, last.stop)  # 5 frames are too few to be measured alone


@pytest.mark.parametrize(
    "request_",
    [
        Request(verb="extend", model="mini", clip="a.mp4", frames=5),
        Request(verb="generate", model="/none/of/ours.safetensors", prompt="a"),
        Request(verb="generate", prompt="a", then=("b",) * 99),  # more shots than the film has frames
        Request(verb="generate", prompt="a", frames=10**9, fps=1e-3, size="1x1"),
    ],
)
def test_any_recipe_has_windows(request_: Request):
    for frames, fps in ((40, 8.0), (90_000, 1e-3), (40, 999.0)):
        found = windows.windows_in(request_, frames, fps)
        assert found and found[0].frames.start == 0 and found[-1].frames.stop == frames


def test_shots_are_compared_with_their_own_first_window():
    cut = [FilmWindow(range(n, n + 1), shot) for n, shot in enumerate((0, 0, 1, 1))]
    meter = DriftMeter(cut)
    meter.add(np.concatenate([scene(), scene(), scene() // 2, scene() // 2]))
    found = meter.drift()
    assert found is not None and found.from_first is not None and found.from_shots is not None
    assert found.from_first.summary.startswith("drifts") and found.from_shots.summary == "steady"
    assert found.changes is found.from_shots


LONG = (
    "generate",
    "a ball",
    "--then",
    "a dog",
    "--frames",
    140,
    "--size",
    "16x16",
    "--steps",
    1,
    "--seed",
    1,
    "--anyway",
)


def test_a_long_painting_ends_with_its_drift(studio: Studio):
    shown = studio(*LONG, "-o", "a.mkv")
    assert shown.exit_code == 0, shown.stderr
    (line,) = [each for each in shown.stderr.splitlines() if each.startswith("drift: ")]
    assert "from the first window of each shot" in line and "grey levels" in line
    quiet = studio(*LONG, "-o", "b.mkv", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    painted = json.loads(studio(*LONG, "-o", "c.mkv", "--json").stdout)["drift"]
    measured = json.loads(studio("info", "--drift", "--json", "a.mkv").stdout)["drift"]
    assert painted == measured
    assert [each["shot"] for each in measured["windows"]] == [1, 1, 1, 2, 2, 2]
    assert measured["from_shots"]["summary"] in line and measured["summary"] == measured["from_shots"]["summary"]


def test_a_film_that_was_cut_since_is_no_longer_measured_by_its_recipe(studio: Studio):
    assert studio(*LONG, "-o", "a.mkv").exit_code == 0
    recipe, clip = media.read_recipe("a.mkv"), media.read_clip("a.mkv")
    media.write_clip("b.mkv", clip[:100], recipe or "")
    measured = json.loads(studio("info", "--drift", "--json", "b.mkv").stdout)["drift"]
    assert measured["from_shots"] is None and measured["windows"][1]["begin"] == drift.WINDOW_SECONDS


def test_a_short_painting_says_nothing_of_drift(studio: Studio):
    short = ("generate", "a ball", "--frames", 5, "--size", "16x16", "--steps", 1, "--seed", 1, "--anyway")
    assert "drift" not in studio(*short, "-o", "a.mkv").stderr
    assert json.loads(studio(*short, "-o", "b.mkv", "--json").stdout)["drift"] is None


def test_python_measures_the_same(stand_in: list[str]):
    import sora

    film = sora.generate("a ball", frames=40, size="16x16", steps=1, seed=1, anyway=True)
    film.save("a.mkv")
    found = drift.measure("a.mkv", windows.windows_in(film.request, 40, 8.0))
    assert film.drift == found and len(found.windows) == 2
    assert sora.generate("a ball", frames=5, size="16x16", steps=1, seed=1, anyway=True).drift is None


def test_info_shows_numbers_with_a_word(studio: Studio, tmp_path: Path):
    frames = np.concatenate([scene(2 * SECONDS), scene(SECONDS) - 20])
    media.write_clip(tmp_path / "a.mkv", Clip(frames, 8.0))
    shown = studio("info", "--drift", tmp_path / "a.mkv")
    first, _, color, contrast, sharpness = shown.stdout.splitlines()
    assert first.endswith("from its first window: drifts: darker") and color.split() == [
        "color",
        "-20.0",
        "4.0",
        "s",
        "-20.0",
    ]
    assert contrast.split()[0] == "contrast" and sharpness.split()[0] == "sharpness"


def test_what_has_no_drift_is_one_line(studio: Studio, tmp_path: Path, footage: Footage):
    Image.fromarray(scene()[0]).save(tmp_path / "a.png")
    media.write_clip(tmp_path / "one.mkv", Clip(scene(1), 8.0))
    media.write_clip(tmp_path / "brief.mkv", Clip(scene(9), 8.0))
    whole = footage("a.mkv", frames=40)
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    (tmp_path / "torn.mkv").write_bytes(whole.read_bytes()[:200])
    (tmp_path / "words.mp4").write_bytes(b"words")
    expected = {
        "a.png": (2, "is a picture"),
        "one.mkv": (0, "one window"),
        "brief.mkv": (0, "one window"),
        "torn.mkv": (3, "torn.mkv"),
        "words.mp4": (3, "words.mp4"),
        "none.mp4": (3, "none.mp4"),
    }
    for name, (status, words) in expected.items():
        shown = studio("info", "--drift", tmp_path / name)
        line = shown.stderr or shown.stdout
        assert shown.exit_code == status and words in line and len(line.splitlines()) == 1, (name, shown.output)
    damaged = studio("info", "--drift", tmp_path / "cut.mkv")
    assert damaged.exit_code == 0 and "furthest" in damaged.stdout and "incomplete" in damaged.stderr


def test_a_film_without_frames_is_refused(monkeypatch: pytest.MonkeyPatch, footage: Footage):
    with pytest.raises(InputError, match="no frame"):
        drift.measure(footage("a.mkv"), [FilmWindow(range(100, 200))])
