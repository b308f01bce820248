"""The words and the seed of every file that a request stands for."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from sora.catalog.spec import ModelSpec
from sora.errors import UsageError
from sora.plan import prompts
from sora.plan.request import Request

MAX_FILES = 1000


@dataclass(frozen=True)
class Variant:
    """One file to make. shots: the words of each shot as asked, without alternatives. texts: the same as they are
    painted, with the subject and the camera in them. number: its place when the request makes several, else None.
    notes: what the model makes of the words otherwise than they say."""

    shots: tuple[str, ...]
    texts: tuple[str, ...]
    seed: int
    number: int | None
    notes: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The first shot's, as it is painted."""
        return self.texts[0]


def variants_of(
    request: Request, spec: ModelSpec, default_prompt: str = "", *, count: int = 1, named: bool = False
) -> tuple[Variant, ...]:
    """Every variant of the words with every seed, in that order. default_prompt: for a request without one. count:
    seeds of each. named: whether one name was given for all, which then gets their numbers. Raises UsageError."""
    words = request.shot_words
    choices = [[default_prompt] if text is None else prompts.variants(prompts.clean(text)) for text in words]
    combinations = math.prod(map(len, choices))
    if combinations * count > MAX_FILES:
        message = f"{combinations} variants with --count {count} are {combinations * count} files"
        raise UsageError(f"{message}; expected at most {MAX_FILES}; try fewer {{a|b}} choices")
    added = _added_words(request, spec, len(words))
    first = int.from_bytes(os.urandom(4), "little") if request.seed is None else request.seed
    pairs = [(shots, first + i) for shots in itertools.product(*choices) for i in range(count)]
    several = count > 1 or (len(pairs) > 1 and named)
    return tuple(
        Variant(shots, tuple(map(_full_prompt, shots, added)), seed, i if several else None)
        for i, (shots, seed) in enumerate(pairs, start=1)
    )


def _added_words(request: Request, spec: ModelSpec, shots: int) -> list[tuple[str, str]]:
    """What stands before and after the words of each shot, whose own moves go before those of the request. Raises
    UsageError for a move the model has no words for."""
    before = "" if request.subject is None else prompts.clean(request.subject)
    if not request.shots:
        return [(before, _moves(request.motion, request.camera, spec))] * shots
    added: list[tuple[str, str]] = []
    for number, shot in enumerate(request.shots, start=1):
        try:
            added.append((before, _moves(shot.motion or request.motion, shot.camera or request.camera, spec)))
        except UsageError as error:
            raise UsageError(f"shot {number}: {error}") from None
    return added


def _moves(motion: str | None, camera: str | None, spec: ModelSpec) -> str:
    """What stands after the words of a shot."""
    after = "" if motion is None else f" {_move_phrase('--motion', motion, spec.motion, spec.name)}"
    words = "" if camera is None else _move_phrase("--camera", camera, spec.camera, spec.name)
    return f"{after}, {words}" if words else after


def _full_prompt(text: str, added: tuple[str, str]) -> str:
    before, after = added
    words = f"{before} {text}".strip()
    return words + after if words else after.lstrip(" ,")


def _move_phrase(flag: str, move: str, known: Mapping[str, str], model: str) -> str:
    if move not in known:
        raise UsageError(f"{model} has no words for {flag} {move}; it knows {', '.join(known) or 'none'}")
    return known[move]
