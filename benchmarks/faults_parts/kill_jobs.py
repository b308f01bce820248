"""The jobs that are killed: small ones of every kind of file and of every way to ask for films."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from faults_parts.program import digest
from sora import media
from sora.plan.clip import Clip

PROMPT = "a red ball bounces in the desert"
SMALL = ("--size", "64x64", "--seed", "5", "--threads", "1")


@dataclass(frozen=True)
class KillJob:
    """argv: of the program, in a folder in which ``prepare`` has put ``inputs``. before: digests of what a run
    replaces. counts_steps: whether its windows are those of one film. resumes: whether ``sora resume`` goes
    on with it. working: the
    folder of what a run keeps for itself under a name of its own, to go on from."""

    name: str
    argv: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda _: None
    counts_steps: bool = True
    resumes: bool = True
    working: str = ""
    before: dict[str, str] = field(default_factory=dict)


def _paint(name: str, *options: str) -> KillJob:
    return KillJob(name, ("generate", PROMPT, *SMALL, *options))


@cache
def _frames() -> np.ndarray:
    """Six frames that are no film of any job, uint8 (F, Y, X, 3)."""
    rows = np.linspace(0, 255, 64, dtype=np.uint8)
    return np.broadcast_to(rows[None, :, None, None], (6, 64, 64, 3)).copy()


def _write(folder: Path, name: str) -> None:
    media.write_clip(folder / name, Clip(_frames(), 8.0), force=True)


def _prompts(folder: Path) -> None:
    lines = [PROMPT, "a red balloon floats up over a green meadow --seed 6", "a teddy spins on a beach"]
    (folder / "prompts.txt").write_text("\n".join(lines) + "\n")


def _clips(folder: Path) -> None:
    """Two clips to train on."""
    (folder / "clips").mkdir(exist_ok=True)
    for name in ("one", "two"):
        _write(folder, f"clips/{name}.mkv")
        (folder / f"clips/{name}.txt").write_text("a red ball")


def _replaced(name: str) -> dict[str, str]:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        _write(Path(place), name)
        return {name: digest(Path(place) / name)}


def jobs() -> tuple[KillJob, ...]:
    """Every job, those that are cheap among those that are not."""
    both = "a {red|blue} ball bounces in the desert"
    replace = [
        KillJob(
            name,
            ("generate", PROMPT, *SMALL, "--frames", "9", "--steps", "6", "-o", target, "--force"),
            prepare=lambda folder, old=old: _write(folder, old),
            before=_replaced(old),
            inputs=(old,),
        )
        for name, target, old in (("replace", "film.mkv", "film.mkv"), ("replace folder", "film/", "film"))
    ]
    train = ("train", "clips", "-o", "own.safetensors", "--steps", "12", "--seed", "1", "--save-every", "4")
    clips = tuple(f"clips/{name}" for name in ("one.mkv", "one.txt", "two.mkv", "two.txt"))
    return (
        _paint("film", "--frames", "9", "--steps", "30", "-o", "film.mkv"),
        _paint("windows", "--frames", "40", "--steps", "8", "-o", "film.mkv"),
        _paint("mp4", "--frames", "17", "--steps", "8", "-o", "film.mp4"),
        _paint("gif", "--frames", "9", "--steps", "8", "-o", "film.gif"),
        _paint("webp", "--frames", "9", "--steps", "8", "-o", "film.webp"),
        *replace,
        KillJob(
            "count",
            ("generate", both, *SMALL, "--count", "2", "--frames", "5", "--steps", "6", "-o", "film.mkv"),
            counts_steps=False,
        ),
        KillJob(
            "batch",
            ("generate", "-f", "prompts.txt", *SMALL, "--frames", "5", "--steps", "6", "-o", "out/"),
            ("prompts.txt",),
            _prompts,
            counts_steps=False,
            resumes=False,
        ),
        KillJob(
            "extend",
            ("extend", "clip.mkv", PROMPT, *SMALL[2:], "--frames", "8", "--steps", "20", "-o", "film.mkv"),
            ("clip.mkv",),
            lambda folder: _write(folder, "clip.mkv"),
        ),
        KillJob(
            "refine",
            ("image", PROMPT, *SMALL[2:], "--size", "384x384", "--refine", "0.5", "--steps", "8", "-o", "film.png"),
            counts_steps=False,
        ),
        KillJob("train", train, clips, _clips, resumes=False, working="own-training/"),
    )
