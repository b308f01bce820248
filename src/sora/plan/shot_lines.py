"""Shots as people write them: one a line, as in a prompt file, with options at its end."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from sora.errors import UsageError, did_you_mean
from sora.plan import flags, geometry, prompts
from sora.plan.options import MAX_ITEMS
from sora.plan.prompts import Line
from sora.plan.shot import OPTIONS, Shot
from sora.plan.verbs import Verb

_ROW = Verb("A shot.", options=OPTIONS)


def parse(text: str, where: str) -> tuple[Shot, ...]:
    """The shots of a file. where: its name, for a person. Raises UsageError, which names the line, for any that cannot
    be read: a film of the others would be another one."""
    try:
        lines = prompts.parse_file(text)
    except UsageError:
        raise UsageError(f"{where} holds no shot; write one a line, # begins a comment") from None
    if len(lines) > MAX_ITEMS:
        raise UsageError(f"{where} holds {len(lines)} shots; expected at most {MAX_ITEMS}")
    shots: list[Shot] = []
    for line in lines:
        try:
            shots.append(_shot(line, is_first=not shots))
        except UsageError as error:
            raise UsageError(f"{where}, line {line.number}: {error}") from None
    return tuple(shots)


def _shot(line: Line, *, is_first: bool) -> Shot:
    """Raises UsageError."""
    if line.error:
        raise UsageError(line.error)
    known = _ROW.by_flag()
    for word in line.words:
        flag = word.partition("=")[0]
        if word.startswith("--") and word != "--" and flag not in known:
            others = "options of the whole film stand on the command line"
            raise UsageError(
                f"a shot takes no {flag}; {did_you_mean(flag, known)}it takes {', '.join(known)}; {others}"
            )
    values, rest = flags.parse("generate", _ROW, line.words)
    if rest:
        raise UsageError(f"{rest[0]!r} stands behind the options; they belong at the line's end")
    shot = Shot(prompt=line.prompt, **values)
    check(shot, is_first=is_first)
    return shot


def check(shot: Shot, *, is_first: bool) -> None:
    """Raises UsageError for a length that is none, and for a transition from a shot that there is not."""
    geometry.length(shot.seconds, shot.frames, 1.0, 1)
    if is_first and shot.transition is not None:
        raise UsageError("--transition leads from the shot before, and this is the first; leave it out")
    for text in prompts.variants(shot.prompt):
        prompts.clean(text)


def spelled(shot: Shot) -> str:
    """The line of a file that means the shot."""
    values: dict[str, Any] = {name: getattr(shot, name) for name in OPTIONS if getattr(shot, name) is not None}
    words = [word for name, value in values.items() for word in (_ROW.field(name).flag, f"{value}")]
    return " ".join([shot.prompt, *map(shlex.quote, words)])


def with_words(shot: Shot, prompt: str) -> Shot:
    """The same shot of other words."""
    return msgspec.structs.replace(shot, prompt=prompt)
