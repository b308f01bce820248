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

from sora import media, models
from sora.cli import app, run
from sora.media import embed
from sora.plan.clip import Clip
from sora.plan.recipe import LONGEST, sha256_of

SORA = get_command(app)  # once, since there are hundreds of commands here
PATIENCE = 10  # seconds that one command may take; each takes a tenth of one
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
TURNING = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

REQUEST: dict[str, Any] = {"verb": "generate", "prompt": "a red ball", "draft": True, "seed": 1, "steps": 1}
REQUEST |= {"frames": 2, "size": "64x48"}
RECIPE: dict[str, Any] = {
    "format": 2,
    "sora": "0.1",
    "request": REQUEST,
    "prompts": ["a red ball"],
    "weights": "ab" * 32,
}
RECIPE |= {"frames": 2, "fps": 8, "painted": [64, 48], "size": [64, 48], "device": "cuda", "dtype": "float32"}
RECIPE |= {"torch": "2.6", "inputs": [], "threads": 1}


def asks(inputs: Any = (), **request: Any) -> str:
    """A recipe of today whose request says more. inputs: as it lists them."""
    return json.dumps(RECIPE | {"request": REQUEST | request, "inputs": inputs})


def says(**record: Any) -> str:
    """A recipe of today with other facts."""
    return json.dumps(RECIPE | record)


def runs(*argv: Any, **record: Any) -> str:
    """A recipe of format 1, which held a command line."""
    own = {"format": 1, "argv": list(argv), "prompt": "a red ball", "verb": "generate"}
    kept = {name: value for name, value in RECIPE.items() if name not in ("format", "request", "prompts")}
    return json.dumps(kept | own | record)


def reads(path: str, digest: str = "ab" * 32, **request: Any) -> str:
    """A recipe that goes on from a file, which it lists."""
    return asks([[path, digest]], **({"verb": "extend", "clip": path, "size": None} | request))


CLEAR = "\x1b[2J\x1b]0;owned\x07\r\b"
"""What a terminal would do something at."""

CRAFTED: dict[str, tuple[str, str]] = {
    # --- other commands
    "models remove": (runs("models", "remove", "mini", "--yes"), "`sora models`"),
    "models pull": (runs("models", "pull", "wan2.1-1.3b"), "`sora models`"),
    "train": (runs("train", "@PERSON@", "-o", "@PERSON@/keepsake.txt", "--force"), "`sora train`"),
    "doctor": (runs("doctor"), "`sora doctor`"),
    "info": (runs("info", "@PERSON@/clip.webp"), "`sora info`"),
    "remake of itself": (runs("remake", "film.webp"), "`sora remake`"),
    "a shell": (runs("sh", "-c", "rm -rf @PERSON@"), "`sora sh`"),
    "a flag before the verb": (runs("--profile", "@PERSON@/keepsake.txt", "generate", "a"), "paints nothing"),
    "finish of itself": (runs("finish", "--", "@FILM@"), "does not list"),
    "finish of itself, listed": (runs("finish", "--", "@FILM@", inputs=[["@FILM@", "0"]]), "was finished"),
    "finish of a device": (runs("finish", "--", "/dev/zero", inputs=[["/dev/zero", "0"]]), "not a regular file"),
    "finish of a pipe": (runs("finish", "--", "@FIFO@", inputs=[["@FIFO@", "0"]]), "not a regular file"),
    "finish of what it does not list": (runs("finish", "--", "@PERSON@/clip.webp"), "does not list"),
    "finish of a person's film": (
        runs("finish", "--", "@PERSON@/clip.webp", inputs=[["@PERSON@/clip.webp", "0"]]),
        "holds no recipe",
    ),
    # --- where to write and how often
    "argv --output --force": (runs("generate", "--output", "@PERSON@/keepsake.txt", "--force", "--", "a"), "--output"),
    "argv -o": (runs("generate", "-o", "@PERSON@/keepsake.txt", "--", "a"), "words without a flag"),
    "argv --count": (runs("generate", "--count", "1000", "--", "a"), "--count"),
    "argv --dry-run": (runs("generate", "--dry-run", "--", "a"), "--dry-run"),
    "argv --json": (runs("generate", "--json", "--", "a"), "--json"),
    "argv --profile": (runs("generate", "--profile", "@PERSON@/keepsake.txt", "--", "a"), "--profile"),
    "argv -f": (runs("generate", "-f", "@PERSON@/keepsake.txt"), "words without a flag"),
    "argv --file": (runs("generate", "--file", "@PERSON@/keepsake.txt"), "--file"),
    "argv --anyway": (runs("generate", "--anyway", "--", "a"), "--anyway"),
    "request output": (asks(output="@PERSON@/keepsake.txt"), "unknown field"),
    "request force": (asks(force=True), "unknown field"),
    "request count": (asks(count=1000), "unknown field"),
    "request stem": (asks(stem="../person/keepsake"), "unknown field"),
    "request argv": (asks(argv=["models", "remove", "mini"]), "unknown field"),
    "request verb": (asks(verb="models"), "Invalid enum value"),
    # --- what to read
    "/dev/zero": (reads("/dev/zero"), "not a regular file"),
    "/dev/random": (reads("/dev/random"), "not a regular file"),
    "/dev/tty": (reads("/dev/tty"), "not a regular file"),
    "/dev/stdin": (reads("/dev/stdin"), "/dev/stdin"),
    "/proc/kmsg": (reads("/proc/kmsg"), "not a regular file"),
    "/proc/kcore": (reads("/proc/kcore"), "/proc/kcore"),
    "/proc": (reads("/proc"), "/proc"),
    "a pipe": (reads("@FIFO@"), "not a regular file"),
    "a socket": (reads("@SOCKET@"), "not a regular file"),
    "a folder with a pipe": (reads("@PERSON@/pipes"), "not a regular file"),
    "a folder with a linked folder with a pipe": (reads("@PERSON@/deep"), "not a regular file"),
    "a folder of itself": (reads("@PERSON@/round"), "round"),
    "a link to a device": (reads("@PERSON@/zero"), "not a regular file"),
    "an empty file": (reads("@PERSON@/empty"), "not a regular file"),
    "what is not listed": (asks(verb="extend", clip="@PERSON@/clip.webp"), "does not list"),
    "what is listed and not used": (asks([["/dev/zero", "0"]]), "has no use"),
    "what has another digest": (reads("@PERSON@/clip.webp"), "has changed since"),
    "two digests": (
        asks([["@PERSON@/clip.webp", "@SHA@"], ["@PERSON@/clip.webp", "0"]], verb="extend", clip="@PERSON@/clip.webp"),
        "has changed since",
    ),
    "a text as a clip": (reads("@PERSON@/keepsake.txt", "@KEEPSAKE@"), "text file"),
    "~": (reads("~/keepsake.txt"), "no absolute path"),
    "a relative path": (reads("keepsake.txt"), "no absolute path"),
    "..": (reads("../person/keepsake.txt"), "no absolute path"),
    "an empty path": (reads(""), "no absolute path"),
    "- as a clip": (reads("-"), "no absolute path"),
    "a network address": (reads("https://example.org/a.mp4"), "no absolute path"),
    "ffmpeg's own protocols": (reads("concat:/dev/zero|/dev/zero"), "no absolute path"),
    "a zero in a path": (reads("/a\0b"), "cannot be read"),
    "a path that does something to a terminal": (reads(f"/{CLEAR}\n\u202egpj.exe"), "gone"),
    "an endless path": (reads("/" + "a" * 4000), "cannot be read"),
    "a device as a picture": (reads("/dev/zero", verb="img2vid", clip=None, image="/dev/zero"), "not a regular"),
    "a device as the last picture": (reads("/dev/zero", clip=None, last="/dev/zero"), "not a regular"),
    "a device as a mask": (reads("/dev/zero", verb="edit", clip=None, mask="/dev/zero"), "not a regular"),
    "a device as the second clip": (reads("/dev/zero", verb="bridge", clip=None, clip_b="/dev/zero"), "not a regular"),
    "a device as a draft": (reads("/dev/zero", clip=None, draft_file="/dev/zero"), "not a regular"),
    "a device as a LoRA": (reads("/dev/zero", verb="generate", clip=None, loras=["/dev/zero:1"]), "not a regular"),
    "a LoRA that is none": (
        reads("@PERSON@/keepsake.txt", "@KEEPSAKE@", verb="generate", clip=None, loras=["@PERSON@/keepsake.txt:1"]),
        "keepsake.txt",
    ),
    "a LoRA of endless strength": (asks(loras=["/x:1e9"]), "out of range"),
    "a LoRA without a name": (reads("", verb="generate", clip=None, loras=[":1"]), "does not list"),
    "a device as a model": (asks(model="/dev/zero"), "not a regular file"),
    "a pipe as a model": (asks(model="@FIFO@"), "not a regular file"),
    "a pickle as a model": (asks(model="@PERSON@/model/pytorch_model.bin"), "pickle"),
    "a folder with a pickle as a model": (asks(model="@PERSON@/model"), "model"),
    "a model that there is not": (asks(model="nobody/nothing"), "no absolute path"),
    "a model in ~": (asks(model="~/model"), "no absolute path"),
    # --- words and numbers
    "eight films in the words": (asks(prompt="{a|b}{a|b}{a|b}"), "several films"),
    "films without number": (asks(prompt="{a|b}" * 4000), "cannot be painted"),
    "films in the shots": (asks(then=["{a|b}"] * 200), "several films"),
    "a stray brace": (asks(prompt="{"), "cannot be painted"),
    "a prompt of 10 MB": (asks(prompt="a" * 10_000_000), "characters"),
    "a long prompt": (asks(prompt="a" * 70_000), "cannot be painted"),
    "an empty prompt": (asks(prompt=" "), "cannot be painted"),
    "half characters": (asks(prompt="\ud800"), "cannot be painted"),
    "a long verb": (runs("x" * 900_000), "paints nothing"),
    "a field that does something to a terminal": (asks(**{f"{CLEAR}\u2066": 1}), "unknown field"),
    "a long field": (asks(**{"x" * 900_000: 1}), "unknown field"),
    "a verb that does something to a terminal": (runs(f"{CLEAR}\n\u202e"), "paints nothing"),
    "a million inputs": (says(inputs=[["a", "b"]] * 1_000_000), "characters"),
    "thousands of inputs": (says(inputs=[["a", "b"]] * 5000), "incomplete"),
    "a million words": (runs(*["--"] * 100_000), "no list of words"),
    "no words": (runs(argv=[], prompt=3), "lacks its prompt"),
    "words of the wrong kind": (runs("generate", 3, None), "no list of words"),
    "before there were command lines": (runs(verb="extend", seed="x" * 900_000), "older sora"),
    "a size of text": (asks(size=f"{CLEAR}9x9"), "no size"),
    "a size of 1x1": (asks(size="1x1"), "16 to 8192"),
    "an aspect of 1:0": (asks(size=None, aspect="1:0"), "no shape"),
    "no frames": (asks(frames=0), "no length"),
    "frames without number": (asks(frames=10**400), "too many"),
    "both lengths": (asks(seconds=1.0), "--seconds and --frames"),
    "a seed below 0": (asks(seed=-1), "seed"),
    "a thousand million steps": (asks(steps=10**9), "steps"),
    "a number that is none": (asks(guidance=float("nan")), "not finite"),
    "an endless number": (asks(seconds=float("inf")), "not finite"),
    "a number too large for any": (says(fps="@1e999@").replace('"@1e999@"', "1e999"), "not finite"),
    "a plan that there is not": (asks(memory=CLEAR), "no memory plan"),
    "a speed that there is not": (asks(speed="/dev/zero"), "speed"),
    "a way that there is not": (asks(without=["\x1b[2J"]), "without"),
    # --- text that is no recipe
    "deep lists": ('{"format":2,"a":' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON"),
    "lists deep enough": ('{"format":2,"a":' + "[" * 900 + "]" * 900 + "}", "levels deep"),
    "an endless whole number": ('{"format":2,"a":' + "9" * 5000 + "}", "not JSON"),
    "format 0": (says(format=0), "no whole number"),
    "format -1": (says(format=-1), "no whole number"),
    "format 99": (says(format=99), "upgrade sora"),
    'format "2"': (says(format="2"), "no whole number"),
    "format 2.5": (says(format=2.5), "no whole number"),
    "format true": (says(format=True), "no whole number"),
    "format null": (says(format=None), "no whole number"),
    "a request twice": (says()[:-1] + ', "request": {"verb": "models"}}', "Invalid enum value"),
    "a request of the wrong kind": (says(request=[1]), "Expected `object`"),
    "facts of the wrong kind": (says(painted="64x48", size={}, prompts=3), "incomplete"),
    "a side of 2^40": (says(size=[2**40, 2**40]), "incomplete"),
    "threads without number": (says(threads=10**400), "incomplete"),
    "nothing": ("{}", "lacks its prompt"),
    "half a recipe": (says()[:200], "not JSON"),
}
"""Name -> (the text in the film's metadata, a part of the line in which `remake` refuses it)."""

HARMLESS: dict[str, str] = {
    "facts that nobody reads": says(output="@PERSON@/keepsake.txt", force=True, argv=["models", "remove", "mini"]),
    "- as words": asks(prompt="-"),
    "8192x8192, 100000 frames": asks(size="8192x8192", frames=100_000, steps=1000, fps=240),
    "256 shots": asks(then=["a red ball"] * 256, frames=90_000),
    "threads": asks(threads=1024),
    "words that do something to a terminal": asks(prompt=f"a red ball {CLEAR}\u202e"),
    "facts that do something to a terminal": says(sora=CLEAR, **{f"\u2066{CLEAR}\n": ["\u202e", "\x9b2J"]}),
    "a name as wide as a house": says(**{"x" * 200_000: 1}, **{f"n{i}": i for i in range(5000)}),
}
"""What asks for a film that may be painted, had nothing else in mind, and is at most a lot of work."""


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

    def started(self: Any, args: Any, *given: Any, **named: Any) -> None:
        assert args[0] == ffmpeg
        start(self, args, *given, **named)

    monkeypatch.setattr(models, "load", never("loaded"))
    monkeypatch.setattr(socket.socket, "connect", never("connected to"))
    monkeypatch.setattr(socket, "getaddrinfo", never("looked up"))
    monkeypatch.setattr(run, "stdin_text", never("read standard input"))
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
    assert len(told.stdout) < 2 * LONGEST
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
    assert told.exit_code == 0 and len(told.stdout) < 2 * LONGEST
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
LONG = '{"format": 2, "a": "' + "x" * 20_000_000 + '"}'


def png_ztxt_bomb(scene: Scene) -> str:
    with_chunk(Path(scene.film("", "bomb.png")), chunk(b"zTXt", b"comment\0\0" + BOMB))
    return "bomb.png"


def png_itxt_bomb(scene: Scene) -> str:
    with_chunk(Path(scene.film("", "bomb.png")), chunk(b"iTXt", b"comment\0\x01\0\0\0" + BOMB))
    return "bomb.png"


def many_png_bombs(scene: Scene) -> str:
    small = zlib.compress(b"{" + b" " * 1_000_000, 9)
    with_chunk(Path(scene.film("", "bomb.png")), chunk(b"zTXt", b"comment\0\0" + small) * 500)
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
    "500 PNG bombs": many_png_bombs,
    "GIF, 20 MB": gif_of_a_long_comment,
    "GIF, cut short": gif_cut_short,
    "JPEG, 20 MB": jpeg_of_a_long_comment,
    "WebP, 20 MB": webp_of_a_long_comment,
    "MKV, 20 MB": mkv_of_a_long_comment,
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
    "MKV, 20 MB",
    "WebP, 20 MB",
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
