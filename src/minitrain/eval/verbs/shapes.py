"""Every command at every shape, as cold processes with one step each: does the file have the size asked for?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minitrain.eval.report import Report
from minitrain.eval.verbs.eval_model import Studio, has_command, sora
from minitrain.eval.verdicts import note
from sora import media
from sora.errors import SoraError

WORDS = "a red balloon floats up over a green meadow"
ASPECTS, SIZES = ("9:16", "16:9", "1:1", "21:9"), ("64x64", "1920x1080", "1080x1920")
FAST = ("--steps", "1", "--seed", "1", "--quiet")


@dataclass(frozen=True)
class Place:
    """What stands ready at one shape. flags: what asks for it. clip, picture, draft: names of files that have it."""

    flags: tuple[str, ...]
    clip: str = "clip.mkv"
    picture: str = "picture.png"
    draft: str = "draft.mp4"


# Verb -> its arguments. Those that take a clip take its shape too; the others are asked for it.
VERBS: dict[str, Callable[[Place], list[str]]] = {
    "generate": lambda p: ["generate", WORDS, *p.flags],
    "generate --draft": lambda p: ["generate", WORDS, *p.flags, "--draft"],
    "generate --then": lambda p: ["generate", WORDS, "--then", WORDS, "--frames", "20", *p.flags],
    "image": lambda p: ["image", WORDS, *p.flags],
    "img2vid": lambda p: ["img2vid", p.picture, WORDS, *p.flags],
    "img2vid, own shape": lambda p: ["img2vid", p.picture, WORDS],
    "img2vid --last": lambda p: ["img2vid", p.picture, WORDS, "--last", p.picture, *p.flags],
    "extend": lambda p: ["extend", p.clip, WORDS],
    "extend --backward": lambda p: ["extend", p.clip, WORDS, "--backward"],
    "loop CLIP": lambda p: ["loop", p.clip],
    "loop --prompt": lambda p: ["loop", "--prompt", WORDS, *p.flags],
    "bridge": lambda p: ["bridge", p.clip, p.clip, WORDS],
    "edit": lambda p: ["edit", p.clip, WORDS],
    "finish": lambda p: ["finish", p.draft],
    "finish --size": lambda p: ["finish", p.draft, *(f for f in p.flags if p.flags[0] == "--size")],
    "remake": lambda p: ["remake", p.draft],
}


def every(studio: Studio, report: Report, count: int) -> None:
    """count: of the shapes, in order."""
    shapes = [("--aspect", a) for a in ASPECTS] + [("--size", s) for s in SIZES]
    known = {verb: has_command(verb.split()[0].rstrip(",")) for verb in VERBS}
    wrong: dict[str, list[str]] = {verb: [] for verb in VERBS}
    tried = dict.fromkeys(VERBS, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for flag, shape in shapes[:count]:
            note(f"shapes: {shape}")
            wish = _expected(studio, flag, shape)
            place = _prepared(folder, (flag, shape))
            for verb, arguments in VERBS.items():
                if known[verb] and (verb != "finish --size" or flag == "--size"):
                    tried[verb] += 1
                    found = _made(folder, [*arguments(place), *FAST], still=verb == "image")
                    note(f"shapes: {shape}, {verb}: {found}")
                    if found != f"{wish[1]}x{wish[0]}":
                        wrong[verb].append(f"{shape}: {found}")
        if known["image"]:
            _large(report, folder)
    for verb in VERBS:
        if not tried[verb]:
            report.say(f"shapes: {verb}", "as asked", "no case" if known[verb] else "not yet")
            continue
        found = f"{tried[verb] - len(wrong[verb])} of {tried[verb]}" + "".join(f"; {w}" for w in wrong[verb])
        report.say(f"shapes: {verb}", "as asked", found, not wrong[verb])


def _expected(studio: Studio, flag: str, shape: str) -> tuple[int, int]:
    """(height, width) of the file."""
    if flag == "--size":
        width, height = shape.split("x")
        return int(height), int(width)
    across, down = shape.split(":")
    return studio.spec.grid.nearest_size(int(across) / int(down), studio.spec.defaults.area)


def _prepared(folder: Path, flags: tuple[str, str]) -> Place:
    """A clip, a picture and a draft of the shape."""
    place = Place(flags)
    _made(folder, ["generate", WORDS, *flags, "--frames", "9", *FAST], out=place.clip)
    _made(folder, ["image", WORDS, *flags, *FAST], out=place.picture)
    _made(folder, ["generate", WORDS, *flags, "--frames", "9", "--draft", *FAST], out=place.draft)
    return place


def _made(folder: Path, arguments: list[str], *, out: str = "", still: bool = False) -> str:
    """WIDTHxHEIGHT of the file, or why there is none."""
    target = out or ("made.png" if still else "made.mp4")
    done = sora(folder, *arguments, "-o", target, "--force")[1]
    if done.returncode:
        return f"status {done.returncode}, {(done.stderr.strip().splitlines() or ['silent'])[-1]}"
    try:
        facts = media.probe(folder / target)
    except SoraError as error:
        return str(error)
    return f"{facts.width}x{facts.height}"


def _large(report: Report, folder: Path) -> None:
    """The largest picture, enlarged alone and refined in tiles."""
    for flags in ((), ("--refine", "0.3")):
        found = _made(folder, ["image", WORDS, "--size", "2048x2048", *flags, *FAST], still=True)
        what = " ".join(("shapes: image --size 2048x2048", *flags))
        report.say(what, "2048x2048", found, found == "2048x2048")
