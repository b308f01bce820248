"""What was asked: a command's flags as typed, and the words of every file to be made. Plain Python, no torch."""

from __future__ import annotations

import io
import itertools
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sora.catalog.spec import ModelSpec
from sora.cli.options import Camera, Device, Dtype, Method, Motion, Sampler, Transition
from sora.errors import UsageError
from sora.plan import prompts

MOST_SEED = 2**63 - 1  # torch's generators take signed 64-bit seeds
MOST_FILES = 1000
MOST_STDIN = 1 << 21  # bytes; more than any prompt may have, so that a wrong pipe is not read to its end


@dataclass(frozen=True)
class Wish:
    """A command's flags, by the names of its parameters. None is "not said".

    draft_file, draft_strength: for ``finish``, which is its draft's own wish with these two. stem, suffix: of the
    file's name where none is said.
    """

    verb: str
    prompt: str | None = None
    output: str | None = None
    aspect: str | None = None
    size: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    guidance_low: float | None = None
    negative: str | None = None
    model: str | None = None
    lora: list[str] | None = None
    device: Device | None = None
    dtype: Dtype | None = None
    memory: str | None = None
    speed: str | None = None
    without: list[str] | None = None
    shift: float | None = None
    sampler: Sampler | None = None
    count: int = 1
    threads: int | None = None
    force: bool = False
    dry_run: bool = False
    anyway: bool = False
    as_json: bool = False
    quiet: bool = False
    draft: bool = False
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None
    then: list[str] | None = None
    transition: Transition | None = None
    subject: str | None = None
    camera: Camera | None = None
    motion: Motion | None = None
    refine: float | None = None
    picture: Path | None = None
    last: Path | None = None
    clip: Path | None = None
    start: float | None = None
    end: float | None = None
    other: Path | None = None
    other_start: float | None = None
    other_end: float | None = None
    backward: bool = False
    strength: float | None = None
    region: str | None = None
    mask: Path | None = None
    stretch: str | None = None
    method: Method | None = None
    was: str | None = None
    draft_file: Path | None = None
    draft_strength: float | None = None
    stem: str | None = None
    suffix: str | None = None

    @property
    def source(self) -> Path | None:
        """The file the film is made of, the first where there are two."""
        return self.draft_file or self.clip or self.picture


@dataclass(frozen=True)
class Take:
    """One file to make. shots: the words of each shot as asked, without alternatives. texts: the same as they are
    painted, with the subject and the camera in them. number: its place when the job makes several, else None. notes:
    what the model makes of the words otherwise than they say."""

    shots: tuple[str, ...]
    texts: tuple[str, ...]
    seed: int
    number: int | None
    notes: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        return self.texts[0]


def within(flag: str, value: float | None, low: float, high: float) -> None:
    """Raises UsageError for a number outside [low, high]; "not a number" is outside."""
    if value is not None and not low <= value <= high:
        raise UsageError(f"{flag} {value} is out of range; expected {low} to {high}")


def takes_of(wish: Wish, spec: ModelSpec, otherwise: str = "") -> tuple[Take, ...]:
    """Every variant of the words with every seed, in that order. otherwise: the prompt where none is said."""
    choices = [[otherwise] if wish.prompt is None else prompts.variants(said(wish.prompt))]
    choices += [prompts.variants(prompts.clean(text)) for text in wish.then or ()]
    variants = math.prod(map(len, choices))
    if variants * wish.count > MOST_FILES:
        asked = f"{variants} variants with --count {wish.count} are {variants * wish.count} files"
        raise UsageError(f"{asked}; expected at most {MOST_FILES}; try fewer {{a|b}} choices")
    before, after = _added_words(wish, spec)
    first = int.from_bytes(os.urandom(4), "little") if wish.seed is None else wish.seed
    pairs = [(shots, first + i) for shots in itertools.product(*choices) for i in range(wish.count)]
    several = wish.count > 1 or (len(pairs) > 1 and wish.output is not None)
    return tuple(
        Take(shots, tuple(_told(before, text, after) for text in shots), seed, i if several else None)
        for i, (shots, seed) in enumerate(pairs, start=1)
    )


def said(prompt: str) -> str:
    """The prompt, cleaned; ``-`` reads a bounded piece of standard input, as UTF-8 whatever the locale says."""
    stdin = io.BytesIO(sys.stdin.buffer.read(MOST_STDIN)) if prompt == "-" else io.BytesIO()
    return prompts.read(prompt, io.TextIOWrapper(stdin, "utf-8"))


def _added_words(wish: Wish, spec: ModelSpec) -> tuple[str, str]:
    """What stands before and after the words of every shot. Raises UsageError for a move the model has no words for."""
    before = "" if wish.subject is None else prompts.clean(wish.subject)
    after = ""
    if wish.motion is not None:
        after += f" {_words('--motion', wish.motion.value, dict(spec.motion), spec.name)}"
    if wish.camera is not None:
        words = _words("--camera", wish.camera.value, dict(spec.camera), spec.name)
        after += f", {words}" if words else ""
    return before, after


def _told(before: str, text: str, after: str) -> str:
    words = f"{before} {text}".strip()
    return words + after if words else after.lstrip(" ,")


def _words(flag: str, move: str, known: dict[str, str], model: str) -> str:
    if move not in known:
        raise UsageError(f"{model} has no words for {flag} {move}; it knows {', '.join(known) or 'none'}")
    return known[move]
