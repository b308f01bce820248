"""Recipes that somebody crafted: whatever a film's metadata says, `remake`, `finish`, `extend` and `info` run nothing,
delete nothing, fetch nothing, write over nothing and do not hang."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from typer.main import get_command

from crafted_recipes import CRAFTED, HARMLESS, asks, reads, runs
from sora import media, models
from sora.cli import app, run
from sora.media import decoder, embed
from sora.plan.clip import Clip
from sora.plan.recipe import MAX_CHARACTERS, sha256_of

SORA = get_command(app)  # once, since there are hundreds of commands here
PATIENCE = 10  # seconds that one command may take; each takes a tenth of one
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
TURNING = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class Hung(BaseException):
    """Nothing that a command could take for an error of its own."""


@contextmanager
def watched() -> Iterator[None]:
    """Raises Hung in a command that takes too long, also while it waits for a pipe."""

    def late(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_readable(file: Path) -> bool:
    """Whether it is a regular file that is soon read."""
    return file.is_file() and not file.is_symlink() and file.stat().st_size < 1 << 26


@dataclass(frozen=True)
class Result:
    """What a command ended with."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Scene:
    """A folder of a person's own files, a film beside it, and commands that are watched."""

    person: Path
    work: Path
    capture: pytest.CaptureFixture[str]

    def text(self, crafted: str) -> str:
        """A crafted text with the paths and digests of this scene."""
        own = {"PERSON": self.person, "FIFO": self.person / "pipe", "SOCKET": self.person / "socket"}
        own |= {"FILM": self.work / "film.webp", "SHA": sha256_of(self.person / "clip.webp")}
        own |= {"KEEPSAKE": sha256_of(self.person / "keepsake.txt")}
        for name, value in own.items():
            crafted = crafted.replace(f"@{name}@", str(value))
        return crafted

    def film(self, crafted: str, name: str = "film.webp") -> str:
        media.write_clip(name, Clip(FRAMES if Path(name).suffix not in (".png", ".jpg") else FRAMES[:1], 8.0), crafted)
        return name

    def state(self) -> dict[str, object]:
        """Everything that lies here, with what is in it."""
        files = [*self.person.parent.rglob("*")]
        return {
            str(file): sha256_of(file) if is_readable(file) else (file.lstat().st_mode, file.lstat().st_size)
            for file in files
        }

    def run(self, *argv: str) -> Result:
        before = self.state()
        with watched(), pytest.raises(SystemExit) as ended:
            SORA.main(list(argv), prog_name="sora")
        assert self.state() == before, argv
        stdout, stderr = self.capture.readouterr()
        result = Result(int(ended.value.code or 0), stdout, stderr)
        for shown in (result.stdout, result.stderr):
            assert "Traceback" not in shown
            unseen = {c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in TURNING}
            assert unseen <= {"\n"}, argv
        return result

    def refused(self, *argv: str) -> str:
        """The one line in which a command is refused."""
        result = self.run(*argv)
        assert (result.exit_code, result.stdout) == (3, ""), (argv, result.stdout[:300], result.stderr[:300])
        (line,) = result.stderr.splitlines()
        assert line.startswith("sora: ") and len(line) < 3000
        return line


@pytest.fixture
def scene(
    tmp_path: Path, workplace: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Scene:
    person = tmp_path / "person"
    for folder in ("hub/models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers/snapshots/1", "model", "pipes", "deep", "round"):
        (person / folder).mkdir(parents=True)
    (person / "keepsake.txt").write_text("what a person wrote\n")
    (person / "empty").touch()
    (person / "hub/models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers/snapshots/1/model_index.json").write_text("{}")
    (person / "model/pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    (person / "model/model_index.json").write_text("{}")
    media.write_clip(person / "clip.webp", Clip(FRAMES, 8.0))
    os.mkfifo(person / "pipe")
    os.mkfifo(person / "pipes/00000.png")
    (person / "deep/00000.png").symlink_to(person / "clip.webp")
    (person / "deep/more").symlink_to(person / "pipes")
    (person / "round/again").symlink_to(person / "round")
    (person / "zero").symlink_to("/dev/zero")
    monkeypatch.chdir(person)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")  # a short name: the whole path may be too long for one
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(person))
    monkeypatch.setenv("HF_HOME", str(person))
    forbid(monkeypatch)
    return Scene(person, tmp_path / "work", capsys)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights, no network, no words of standard input, and no program but the one that reads films."""

    def never(what: str) -> Callable[..., Any]:
        return lambda *given, **_: pytest.fail(f"{what} {given!r}")

    ffmpeg, start = imageio_ffmpeg.get_ffmpeg_exe(), subprocess.Popen.__init__
    launcher = list(decoder.launcher())

    def started(self: Any, args: Any, *given: Any, **named: Any) -> None:
        launched = list(args[: len(launcher)]) == launcher
        assert args[len(launcher) if launched else 0] == ffmpeg
        start(self, args, *given, **named)

    monkeypatch.setattr(models, "load", never("loaded"))
    monkeypatch.setattr(socket.socket, "connect", never("connected to"))
    monkeypatch.setattr(socket, "getaddrinfo", never("looked up"))
    monkeypatch.setattr(run, "read_stdin", never("read standard input"))
    monkeypatch.setattr(subprocess.Popen, "__init__", started)
    monkeypatch.setattr(os, "system", never("ran"))


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_recipe_is_refused_in_one_line_and_does_nothing(scene: Scene, name: str):
    crafted, fragment = CRAFTED[name]
    film = scene.film(scene.text(crafted))
    assert fragment in scene.refused("remake", film)
    scene.refused("finish", film)
    told = scene.run("info", film)
    assert told.exit_code in (0, 3) and len(told.stderr.splitlines()) == (told.exit_code == 3)
    assert len(told.stdout) < 2 * MAX_CHARACTERS
    assert scene.run("info", film, "--json").exit_code == told.exit_code
    going_on = scene.run("extend", film, "--dry-run")
    assert (going_on.exit_code, going_on.stderr) == (0, "")


@pytest.mark.parametrize("name", HARMLESS)
def test_a_recipe_that_asks_for_much_or_says_more_does_nothing_but_be_told(scene: Scene, name: str):
    film = scene.film(scene.text(HARMLESS[name]))
    for command in ("remake", "extend"):
        result = scene.run(command, film, "--dry-run")
        assert (result.exit_code, result.stdout[:5]) == (0, "model"), (command, result.stderr)
    finished = scene.run("finish", film, "--dry-run")
    assert finished.exit_code == 0 or "has 2 frames and its recipe makes" in finished.stderr
    told = scene.run("info", film)
    assert told.exit_code == 0 and len(told.stdout) < 2 * MAX_CHARACTERS
    facts = json.loads(scene.run("info", film, "--json").stdout, parse_constant=pytest.fail)
    assert facts["recipe"]["format"] == 2


# --- files that are crafted around a recipe ------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(path: Path, made: bytes) -> None:
    """Puts a chunk behind the head of a PNG."""
    data = path.read_bytes()
    path.write_bytes(data[:33] + made + data[33:])


BOMB = zlib.compress(b"{" + b" " * 100_000_000, 9)
LONG = '{"format": 2, "a": "' + "x" * 10_000_000 + '"}'


def png_ztxt_bomb(scene: Scene) -> str:
    with_chunk(Path(scene.film("", "bomb.png")), chunk(b"zTXt", b"comment\0\0" + BOMB))
    return "bomb.png"


def png_itxt_bomb(scene: Scene) -> str:
    with_chunk(Path(scene.film("", "bomb.png")), chunk(b"iTXt", b"comment\0\x01\0\0\0" + BOMB))
    return "bomb.png"


def many_png_bombs(scene: Scene) -> str:
    small = zlib.compress(b"{" + b" " * 1_000_000, 9)
    with_chunk(Path(scene.film("", "bomb.png")), chunk(b"zTXt", b"comment\0\0" + small) * 100)
    return "bomb.png"


def gif_of_a_long_comment(scene: Scene) -> str:
    film = scene.film("", "long.gif")
    embed.add_gif_comment(Path(film), LONG)
    return film


def gif_cut_short(scene: Scene) -> str:
    path = Path(scene.film(asks(force=True), "cut.gif"))
    path.write_bytes(path.read_bytes()[:-700])
    return path.name


def jpeg_of_a_long_comment(scene: Scene) -> str:
    return scene.film(LONG, "long.jpg")


def webp_of_a_long_comment(scene: Scene) -> str:
    return scene.film(LONG, "long.webp")


def mkv_of_a_long_comment(scene: Scene) -> str:
    return scene.film(LONG, "long.mkv")


def mkv_of_escapes(scene: Scene) -> str:
    return scene.film("{" + "=;#\\\n" * 20_000, "escapes.mkv")


def mkv_that_poses_as_a_log(scene: Scene) -> str:
    return scene.film("{Stream #0:0: Video: evil, evil(bt709), 1x1\nInput #0, evil, from\n[STREAM]", "log.mkv")


def mp4_with_a_command(scene: Scene) -> str:
    return scene.film(runs("models", "remove", "mini", "--yes"), "command.mp4")


def bytes_that_are_no_text(scene: Scene) -> str:
    path = Path(scene.film(asks(verb="QQQQ"), "bytes.gif"))
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xff\xfe\x9b\xc3"))
    return path.name


def folder(scene: Scene, make: Callable[[Path], object]) -> str:
    """A folder of pictures whose recipe.json is something else."""
    scene.film("", "shots/")
    make(Path("shots/recipe.json"))
    return "shots"


def sparse(path: Path) -> None:
    """Two gigabytes that take no room."""
    with path.open("wb") as file:
        file.write(b"{")
        file.truncate(2 << 30)


FILES: dict[str, Callable[[Scene], str]] = {
    "PNG zTXt bomb": png_ztxt_bomb,
    "PNG iTXt bomb": png_itxt_bomb,
    "100 PNG bombs": many_png_bombs,
    "GIF, 10 MB": gif_of_a_long_comment,
    "GIF, cut short": gif_cut_short,
    "JPEG, 10 MB": jpeg_of_a_long_comment,
    "WebP, 10 MB": webp_of_a_long_comment,
    "MKV, 10 MB": mkv_of_a_long_comment,
    "MKV, escapes": mkv_of_escapes,
    "MKV, a log": mkv_that_poses_as_a_log,
    "MP4, a command": mp4_with_a_command,
    "GIF, no text": bytes_that_are_no_text,
    "folder, pipe": lambda scene: folder(scene, os.mkfifo),
    "folder, link to a device": lambda scene: folder(scene, lambda path: path.symlink_to("/dev/zero")),
    "folder, link to the kernel's log": lambda scene: folder(scene, lambda path: path.symlink_to("/proc/kmsg")),
    "folder, link to a pipe": lambda scene: folder(scene, lambda path: path.symlink_to(scene.person / "pipe")),
    "folder, link to itself": lambda scene: folder(scene, lambda path: path.symlink_to("recipe.json")),
    "folder, a folder": lambda scene: folder(scene, Path.mkdir),
    "folder, 2 GB": lambda scene: folder(scene, sparse),
    "folder, no rate": lambda scene: folder(scene, lambda path: path.write_text('{"fps": 1e-300}')),
    "folder, an endless rate": lambda scene: folder(scene, lambda path: path.write_text('{"fps": 1e999}')),
    "folder, a command": lambda scene: folder(scene, lambda path: path.write_text(runs("models", "remove", "mini"))),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_crafted_around_its_recipe_is_refused_or_passed_over(scene: Scene, name: str):
    film = FILES[name](scene)
    still = Path(film).suffix in (".png", ".jpg")
    scene.refused("remake", film)
    scene.refused("finish", film)
    for argv in (["info", film], ["extend", film, "--dry-run"]):
        result = scene.run(*argv)
        assert result.exit_code in (0, 3) and len(result.stderr.splitlines()) == (result.exit_code == 3), argv
        assert "evil" not in result.stdout, argv
        assert result.exit_code == 0 or still or name in MAY_FAIL, (argv, result.stderr)


MAY_FAIL = (
    "GIF, cut short",
    "MKV, escapes",
    "MKV, a log",
    "GIF, no text",
    "folder, an endless rate",
    "MKV, 10 MB",
    "WebP, 10 MB",
)


# --- an honest recipe ---------------------------------------------------------------------------------------------


def going_on(clip: Path) -> str:
    """A film that goes on from a clip of two frames by two, with the recipe of just that."""
    film = Clip(np.concatenate([FRAMES, FRAMES]), 8.0)
    return str(media.write_clip("film.webp", film, reads(str(clip), sha256_of(clip)), force=True))


@pytest.mark.parametrize("command", ["remake", "finish"])
def test_a_recipe_tells_which_files_it_reads_unless_they_lie_beside_the_film(scene: Scene, command: str):
    elsewhere, beside, link = scene.person / "clip.webp", scene.work / "clip.webp", scene.work / "link.webp"
    beside.write_bytes(elsewhere.read_bytes())
    link.symlink_to(elsewhere)
    for clip, told in ((elsewhere, True), (link, True), (beside, False)):
        result = scene.run(command, going_on(clip), "--dry-run")
        assert result.exit_code == 0, result.stderr
        notes = [line for line in result.stderr.splitlines() if " reads " in line]
        assert notes == ([f"the recipe of film.webp reads {clip}"] if told else []), clip
    assert " reads " not in scene.run(command, going_on(elsewhere), "--dry-run", "--quiet").stderr
