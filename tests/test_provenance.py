"""What a file says of where it came from: that a model made it, in every kind of file, and nothing else where a person
wants that."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import sora
from conftest import Footage, Studio
from sora import media
from sora.jobs import input_paths
from sora.media import COMPOSITE, GENERATED, Provenance, provenance
from sora.plan.clip import Clip

pytestmark = pytest.mark.usefixtures("small_mini")

KINDS = ["c.mp4", "c.mkv", "c.gif", "c.webp", "s.png", "s.jpg", "f"]
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
SMALL = ("--size", "64x48", "--frames", "5", "--steps", "1", "--seed", "3")
ORIGIN = Provenance(COMPOSITE, "sora 0.1")
URI = f"http://cv.iptc.org/newscodes/digitalsourcetype/{COMPOSITE}"


def frames_for(name: str) -> np.ndarray:
    return FRAMES[:1] if Path(name).suffix in (".png", ".jpg") else FRAMES


def pixels(path: Path) -> np.ndarray:
    return media.read_image(path) if path.suffix in (".png", ".jpg") else media.read_clip(path).frames_FYXC


def write(path: Path, recipe: str = "", origin: Provenance | None = ORIGIN) -> Path:
    with media.writer(path, 8.0, (32, 48), recipe, provenance=origin) as file:
        file.write(frames_for(path.name))
    return path


def shown_by_ffmpeg(path: Path, *options: str) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *options, "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


# --- in every kind of file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("recipe", ["", '{"a": "é"}'])
def test_every_kind_of_file_carries_the_mark_beside_its_recipe(tmp_path: Path, name: str, recipe: str) -> None:
    marked = write(tmp_path / name, recipe)
    plain = write(tmp_path / f"plain-{name}", recipe, None)
    found, before = media.probe(marked), media.probe(plain)
    assert (found.source_type, found.recipe) == (COMPOSITE, recipe or None)
    assert (before.source_type, before.recipe) == (None, recipe or None)
    assert np.array_equal(pixels(marked), pixels(plain))


def test_other_programs_find_the_mark(tmp_path: Path) -> None:
    for name in ("s.png", "s.jpg", "c.webp"):
        with Image.open(write(tmp_path / name, "{}")) as image:
            assert URI.encode() in image.info["xmp"], name
    assert URI in shown_by_ffmpeg(write(tmp_path / "c.mp4", "{}"), "-export_xmp", "1")
    assert URI in shown_by_ffmpeg(write(tmp_path / "c.mkv", "{}"))
    # A reader of GIFs that knows no XMP takes the packet for blocks, and comes out at the end of them.
    with Image.open(write(tmp_path / "c.gif", "{}")) as image:
        image.seek(2)
        with pytest.raises(EOFError):
            image.seek(3)


def test_an_mp4_with_sound_still_begins_with_its_tables(tmp_path: Path, footage: Footage) -> None:
    loud, path = footage(sound=True), tmp_path / "loud.mp4"
    sounds = [media.Sound(loud, 0.0, 0.25, 0.0)]
    with media.writer(path, 8.0, (32, 48), "{}", sounds=sounds, provenance=Provenance(GENERATED)) as file:
        file.write(FRAMES)
    with path.open("rb") as opened:
        names = [name for name, _, _ in provenance.boxes(opened)]
    assert names.index(b"moov") < names.index(b"mdat") < names.index(b"uuid") == len(names) - 1
    assert (media.probe(path).source_type, media.probe(path).sound) == (GENERATED, True)


def test_each_picture_of_a_folder_carries_the_mark(tmp_path: Path) -> None:
    folder = write(tmp_path / "f")
    assert [media.probe(file).source_type for file in sorted(folder.iterdir())] == [COMPOSITE] * 3


def test_a_file_that_came_out_without_its_mark_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sora.media.write.append_box", lambda file, packet: None)
    with pytest.raises(sora.InputError, match="without the mark"):
        write(tmp_path / "c.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'<a Iptc4xmpExt:DigitalSourceType="{URI}"/>', COMPOSITE),
        (f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{URI}"/>', COMPOSITE),
        (f"<plus:DigitalSourceType>\n  {URI.replace('http', 'https')}\n</plus:DigitalSourceType>", COMPOSITE),
        ("<x:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/\x1b[2J</x>", None),
        ("<x:DigitalSourceType>http://example.org/trainedAlgorithmicMedia</x>", None),
        ("DigitalSourceType" * 100_000, None),
        ("DigitalSourceType=" + " " * 1_000_000, None),
    ],
)
def test_a_packet_of_any_program_is_read_as_text(text: str, found: str | None) -> None:
    assert provenance.source_type_in(text.encode()) == found


def test_boxes_of_a_damaged_film_come_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    head = b"\0\0\0\x08ftyp"
    for size in (b"\0\0\0\0", b"\0\0\0\x01", b"\0\0\0\x04", b"\0\0\0\x08", b"\xff\xff\xff\xff"):
        path.write_bytes(head + (size + b"uuid") * 99)
        assert provenance.in_mp4(path) is None
    path.write_bytes(head + b"\0\0\0\x01uuid" + b"\xff" * 8 + b"x" * 99)
    assert provenance.in_mp4(path) is None


# --- which mark, and how it is shown -----------------------------------------------------------------------------

VERBS = [
    (["generate", "a ball"], GENERATED),
    (["loop", "--prompt", "a ball", "--size", "64x48"], GENERATED),
    (["img2vid", "PNG"], COMPOSITE),
    (["img2vid", "PAINTED"], GENERATED),
    (["extend", "OWN", "--frames", "2"], COMPOSITE),
    (["extend", "FILM", "--frames", "2"], GENERATED),
    (["loop", "OWN"], COMPOSITE),
    (["bridge", "FILM", "OWN", "--frames", "2"], COMPOSITE),
    (["bridge", "FILM", "FILM", "--frames", "2"], GENERATED),
    (["edit", "OWN", "a ball"], GENERATED),
    (["edit", "LOUD", "a ball"], COMPOSITE),
    (["edit", "OWN", "a ball", "--region", "0,0,20,20"], COMPOSITE),
    (["edit", "OWN", "a ball", "--frames", "1:3"], COMPOSITE),
]


def test_the_mark_follows_whether_anything_of_a_persons_own_is_in_the_film(studio: Studio, footage: Footage) -> None:
    own = footage("own.mkv")
    Image.fromarray(FRAMES[0]).save("own.png")
    files = {"OWN": own, "LOUD": footage(sound=True), "PNG": "own.png", "FILM": "film.webp", "PAINTED": "painted.png"}
    assert studio("generate", "a ball", *SMALL, "-o", "film.webp").exit_code == 0
    assert studio("image", "a ball", "--steps", 1, "--size", "64x48", "-o", "painted.png").exit_code == 0
    for number, (argv, expected) in enumerate(VERBS):
        result = studio(*(files.get(word, word) for word in argv), "--steps", 1, "-o", f"{number}.mkv")
        assert result.exit_code == 0, result.stderr
        assert media.probe(f"{number}.mkv").source_type == expected, argv


def test_info_shows_who_made_a_file(studio: Studio, footage: Footage) -> None:
    studio("generate", "a ball", *SMALL, "-o", "a.mp4")
    studio("extend", footage("own.mkv"), "--steps", 1, "-o", "b.mkv", "--no-recipe")
    shown = [studio("info", path).stdout for path in ("a.mp4", "b.mkv", footage("other.mkv"))]
    assert re.search(rf"source_type +{GENERATED}\nmade by a model +yes\n", shown[0])
    assert re.search(rf"source_type +{COMPOSITE}\nmade by a model +in part\nrecipe +none\n", shown[1])
    assert "made by a model" not in shown[2] and "sora did not make this file" in shown[2]
    assert json.loads(studio("info", "b.mkv", "--json").stdout)["source_type"] == COMPOSITE


# --- names in place of paths, and where the files are found --------------------------------------------------------


@pytest.fixture
def painted(studio: Studio, footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film in the working folder, made from a clip in another, on another machine."""
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "theirs"))
    clip = footage("clip.mkv")
    assert studio("extend", clip, "--frames", 2, "--steps", 1, "--seed", 3, "-o", "film.mkv").exit_code == 0
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "mine"))
    return clip


def remade(studio: Studio, *argv: object) -> None:
    result = studio("remake", "film.mkv", *argv, "-o", "again.mkv", "--force")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(pixels(Path("again.mkv")), pixels(Path("film.mkv")))


def test_no_path_is_in_a_file(studio: Studio, painted: Path, tmp_path: Path) -> None:
    text = Path("film.mkv").read_bytes()
    assert b"clip.mkv" in text and str(tmp_path).encode() not in text and str(Path.home()).encode() not in text


def test_what_a_film_was_made_from_is_found_beside_it_or_where_a_person_says(studio: Studio, painted: Path) -> None:
    result = studio("remake", "film.mkv")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (3, "", 1)
    assert "made from clip.mkv (sha256 " in result.stderr and "--inputs" in result.stderr
    remade(studio, "--inputs", painted.parent)
    Path("again.mkv").unlink()
    painted.rename("another name.mkv")
    Path("clip.mkv").write_bytes(b"something else")
    assert "clip.mkv, which has changed" in studio("remake", "film.mkv", "-o", "x.mkv").stderr
    remade(studio, "--inputs", "another name.mkv")  # by its digest


def test_a_film_moves_with_its_clip(studio: Studio, painted: Path) -> None:
    painted.rename("clip.mkv")
    remade(studio)


def test_this_machine_finds_what_it_painted_from(
    studio: Studio, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "theirs"))
    remade(studio)
    known = tmp_path / "theirs" / "inputs.json"
    assert known.stat().st_mode & 0o077 == 0
    assert list(json.loads(known.read_text()).values()) == [str(painted)]
    for damaged in ("", "{", "[]", '{"a": 1}', "[" * 100_000):
        known.write_text(damaged)
        assert "not found beside it" in studio("remake", "film.mkv").stderr
    remade(studio, "--inputs", painted.parent)  # and is noted anew
    remade(studio)


def test_only_as_many_paths_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORA_STATE", str(tmp_path))
    monkeypatch.setattr(input_paths, "MAX_ENTRIES", 3)
    for number in range(5):
        input_paths.remember([(f"/clips/{number}.mp4", str(number)), ("memory:" + "a" * 64, "a" * 64)])
    input_paths.remember([("/moved/2.mp4", "2")])
    found = [input_paths.path_of(digest) for digest in ("0", "1", "2", "3", "4", "a" * 64)]
    assert found == [None, None, Path("/moved/2.mp4"), Path("/clips/3.mp4"), Path("/clips/4.mp4"), None]


def test_two_clips_of_one_name_are_told_apart(studio: Studio, footage: Footage, tmp_path: Path) -> None:
    for folder, name in (("a", "one.mkv"), ("b", "two.mkv")):
        (tmp_path / folder).mkdir()
        footage(name).rename(tmp_path / folder / "clip.mkv")
    studio("bridge", tmp_path / "a/clip.mkv", tmp_path / "b/clip.mkv", "--steps", 1, "--seed", 3, "-o", "film.mkv")
    input_paths.remember([])
    remade(studio, "--inputs", tmp_path / "b", "--inputs", tmp_path / "a")


def test_what_is_replaced_need_not_be_there(studio: Studio, painted: Path, footage: Footage) -> None:
    other = footage("other.mkv")
    assert studio("remake", "film.mkv", "--clip", other, "-o", "other-longer.mkv").exit_code == 0
    assert studio("remake", "film.mkv", "--inputs", "nowhere").exit_code == 3


# --- without a recipe --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_without_a_recipe_nothing_but_the_mark_is_in_the_file(studio: Studio, name: str) -> None:
    verb, options = ("image", (*SMALL[:2], *SMALL[4:])) if name.startswith("s.") else ("generate", SMALL)
    words = ("a SECRETWORD ball", "--negative-prompt", "SECRETNEGATIVE")
    output = name if Path(name).suffix else f"{name}/"
    result = studio(verb, *words, *options, "-o", output, "--no-recipe")
    assert result.exit_code == 0, result.stderr
    assert (media.probe(name).recipe, media.probe(name).source_type) == (None, GENERATED)
    files = list(Path(name).iterdir()) if Path(name).is_dir() else [Path(name)]
    for file in files:
        assert file.suffix != ".json" and b"SECRET" not in file.read_bytes()


def test_the_mark_holds_no_words_either_way(studio: Studio) -> None:
    studio("generate", "a SECRETWORD ball", *SMALL, "-o", "a.mp4")
    packet = provenance.in_mp4(Path("a.mp4"))
    assert packet is not None and b"SECRETWORD" not in packet and f"sora {sora.__version__}".encode() in packet


def test_python_marks_what_it_saves_and_leaves_the_recipe_out_where_asked(stand_in: list[str]) -> None:
    own = Clip(FRAMES, 8.0)
    longer = sora.extend(own, "a ball", frames=2, steps=1)
    assert longer.source_type == COMPOSITE
    assert sora.extend(sora.generate("a ball", frames=2, steps=1), frames=2, steps=1).source_type == GENERATED
    for name, recipe in (("a.mkv", True), ("b.mkv", False)):
        found = media.probe(longer.save(name, recipe=recipe))
        assert (found.source_type, found.recipe is not None) == (COMPOSITE, recipe)
