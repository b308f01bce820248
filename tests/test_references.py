"""Reference pictures: who takes them, how they are read and cut out. None of it needs torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sora import catalog, media
from sora.errors import InputError, UsageError
from sora.jobs import references
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.plan import prompts
from sora.plan.options import MAX_REFERENCES
from sora.plan.recipe_names import with_paths
from sora.plan.request import Request, files_of, from_data, to_data, with_files

VACE = "wan2.1-vace-1.3b"


def resolved(*paths: str, model: str = VACE, **more: Any) -> ResolvedRequest:
    return resolve(Request(verb="generate", prompt="a red cat", model=model, references=paths, **more))


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save("a.png")


def in_a_room(shape: str, box: tuple[int, int, int, int]) -> tuple[Image.Image, np.ndarray]:
    """(a red thing in front of a grey wall and a brown floor, where it is)."""
    room = Image.new("RGB", (180, 120), (110, 115, 120))
    ImageDraw.Draw(room).rectangle((0, 85, 180, 120), fill=(120, 90, 60))
    mark = Image.new("1", room.size)
    for picture, colour in ((room, (220, 40, 30)), (mark, 1)):
        getattr(ImageDraw.Draw(picture), shape)(box, fill=colour)
    noisy = np.asarray(room) + np.random.default_rng(1).normal(0, 6, (120, 180, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), np.asarray(mark)


def test_each_is_read_as_it_is_and_is_an_input():
    Image.fromarray(np.full((30, 20), 100, np.uint8)).save("grey.png")
    found = resolved("a.png", "grey.png")
    assert np.array_equal(found.plan.references[0], np.asarray(Image.open("a.png")))
    assert [picture.shape for picture in found.plan.references] == [(40, 60, 3), (30, 20, 3)]
    assert found.inputs == (Path("a.png"), Path("grey.png"))
    assert found.source_type == media.GENERATED  # none of their pixels is in the film
    assert found.request.references == tuple(str(Path(name).absolute()) for name in ("a.png", "grey.png"))


@pytest.mark.parametrize("row", [name for name, row in catalog.MODELS.items() if row.conditioning != "control"])
def test_a_model_that_takes_none_names_those_that_do(row: str):
    with pytest.raises(UsageError, match=rf"^{row} takes no --reference; --model can be .*{VACE}") as caught:
        resolved("not-even-there.png", model=row)
    named = str(caught.value).split("can be ")[1].split(", ")
    assert named and all(catalog.MODELS[name].conditioning == "control" for name in named)


def test_a_refusal_comes_before_torch():
    code = (
        "import sys; sys.argv[1:] = ['generate', 'a cat', '--reference', 'a.png']\n"
        "from sora.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as stop: sys.exit(10 * ('torch' in sys.modules) + stop.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "takes no --reference" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("paths", "more", "expected"),
    [
        (["a.png"] * (MAX_REFERENCES + 1), {}, "9 references are too many; expected at most 8"),
        ([], {"reference_background": "white"}, "add --reference, or leave it out"),
        (["a.png"], {"reference_background": "blue"}, "expected keep, white"),
    ],
)
def test_what_makes_no_sense_is_refused(paths: list[str], more: dict[str, Any], expected: str):
    with pytest.raises(UsageError, match=expected):
        resolved(*paths, **more)


def test_what_cannot_be_a_reference_is_refused():
    Path("words.txt").write_text("a cat", encoding="utf-8")
    Image.new("RGB", (17, 1)).save("line.png")
    for name, expected in {"words.txt": "not a picture", "gone.png": "cannot read", "line.png": "too long"}.items():
        with pytest.raises(InputError, match=expected):
            resolved(name)


def test_a_file_that_was_changed_is_read_again():
    (before,) = resolved("a.png").plan.references
    Image.new("RGB", (8, 8), "red").save("a.png")
    (after,) = resolved("a.png").plan.references
    assert before.shape == (40, 60, 3) and after.shape == (8, 8, 3)


def test_a_large_picture_is_made_smaller_and_one_of_the_limit_is_not():
    sizes = {"limit.png": (2048, 1024), "large.png": (4096, 1024 + 512)}
    for name, (width, height) in sizes.items():
        Image.new("RGB", (width, height), "red").save(name)
    limit, large = resolved(*sizes).plan.references
    assert limit.shape == (1024, 2048, 3)
    assert large.shape[0] * large.shape[1] <= references.MAX_PIXELS < 1.01 * large.shape[0] * large.shape[1]
    assert large.shape[1] / large.shape[0] == pytest.approx(4096 / 1536, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "box"),
    [("ellipse", (50, 30, 130, 95)), ("rectangle", (60, 30, 120, 120))],
    ids=["in the middle", "down to the lower edge"],
)
def test_a_subject_is_cut_out_on_white(shape: str, box: tuple[int, int, int, int]):
    picture, subject_YX = in_a_room(shape, box)
    picture.save("subject.png")
    (kept,), (cut,), (again,) = (
        resolved("subject.png", reference_background=way).plan.references for way in ("keep", "white", "white")
    )
    assert np.array_equal(kept, np.asarray(picture)) and np.array_equal(cut, again)
    is_white = (cut == 255).all(axis=-1)
    assert (is_white == ~subject_YX).mean() > 0.97
    inside = subject_YX & (np.abs(cut.astype(int) - kept).max(axis=-1) == 0)
    assert inside.sum() > 0.9 * subject_YX.sum()


def test_a_picture_of_nothing_in_particular_is_refused():
    Image.new("RGB", (60, 40), "grey").save("plain.png")
    with pytest.raises(InputError, match="no subject is found in plain"):
        resolved("plain.png", reference_background="white")


@pytest.mark.parametrize("way", [None, "keep", "white"])
def test_a_transparent_background_is_white_whatever_is_asked_for(way: Any):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    picture[..., 3] = 0
    picture[10:30, 20:40, 3] = 255
    Image.fromarray(picture).save("cut.png")
    found = resolved("cut.png", reference_background=way)
    (shown,) = found.plan.references
    assert np.array_equal(shown[10:30, 20:40], picture[10:30, 20:40, :3])
    assert (shown[:10] == 255).all() and (shown[:, 40:] == 255).all()
    assert not any("--background" in note for note in found.notes)


def test_without_opencv_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"pip install 'sora-video\[control\]'"):
        resolved("a.png", reference_background="white")
    assert resolved("a.png").plan.references


def test_a_dry_run_counts_a_latent_for_each():
    from typer.testing import CliRunner

    from sora.cli import app

    def facts(*words: str) -> dict[str, Any]:
        said = ["image", "a red cat", "--model", "wan2.1-vace-14b", "--dry-run", "--json", "--device", "cpu", *words]
        result = CliRunner().invoke(app, [*said, "--dtype", "float32", "--memory", "streamed"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    plain, shown = facts(), facts(*["--reference", "a.png"] * MAX_REFERENCES)
    assert shown["tokens"] == plain["tokens"] * (1 + MAX_REFERENCES)
    gigabytes = [float(re.search(r"([\d.]+) of", row["memory"])[1]) for row in (plain, shown)]  # type: ignore[index]
    assert gigabytes[1] > gigabytes[0] + 0.5


def test_a_request_holds_them_wherever_it_travels():
    request = Request(verb="edit", prompt="x", clip="/c.mp4", mask="/m.png", references=("/b/a.png", "/d/a.png"))
    assert from_data(json.loads(json.dumps(to_data(request))), "it") == request
    assert files_of(request) == {
        "clip": ("/c.mp4",),
        "references": ("/b/a.png", "/d/a.png"),
        "mask": ("/m.png",),
    }
    named = with_paths(request, {"/b/a.png": "a.png", "/d/a.png": "a.png#2"})
    assert named.references == ("a.png", "a.png#2") and named.clip == "c.mp4"
    assert files_of(with_files(request, str.upper))["references"] == ("/B/A.PNG", "/D/A.PNG")
    too_many = to_data(request) | {"references": ["/a.png"] * (MAX_REFERENCES + 1)}
    with pytest.raises(InputError):
        from_data(too_many, "it")


def test_a_line_of_a_prompt_file_brings_its_own():
    (line,) = prompts.parse_file("a cat --reference a.png --reference b.png")
    assert list(line.words) == ["--reference", "a.png", "--reference", "b.png"]


def test_the_catalog_says_who_takes_them():
    from typer.testing import CliRunner

    from sora.cli import app

    for name, row in catalog.MODELS.items():
        shown = json.loads(CliRunner().invoke(app, ["models", "show", name, "--json"]).stdout)
        assert bool(shown["references"]) == row.takes_references == (row.conditioning == "control")
