"""Keyword arguments of Python as values of a request, and refusals in the words of Python instead of flags."""

from __future__ import annotations

import difflib
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from numbers import Real
from typing import Any

import msgspec

from sora.errors import SoraError, UsageError
from sora.jobs import prompt_files
from sora.plan.recipe_names import IN_MEMORY
from sora.plan.request import RequestField, fields
from sora.plan.shot import Shot
from sora.plan.verbs import FINISH, VERBS, Verb

CALL: dict[str, tuple[Any, str]] = {
    "on_progress": (
        None,
        "A function, called with a ProgressEvent as work goes on. What it raises stops the call.",
    ),
    "anyway": (False, "Paint words that name nothing which the model knows."),
}
"""Keywords that are no field of a request: the default and the help of each."""

WORDS = {"-o": "the path", "--force": "force=True", "--anyway": "anyway=True", "--inputs": "inputs"}
"""What the command line's own flags are called in Python."""

KINDS: dict[type[Any], str] = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


def row_of(verb: str) -> Verb:
    """The fields that a verb takes, or ``finish``."""
    return FINISH if verb == "finish" else VERBS[verb]


def check_names(verb: str, row: Verb, options: Mapping[str, Any]) -> None:
    """Raises TypeError for a keyword that the verb does not take, with the nearest one that it does."""
    known = (*row.fields, *CALL)
    for name in options:
        if name not in known:
            closest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {closest[0]!r}?" if closest else f"; it takes {', '.join(row.options)}"
            raise TypeError(f"{verb}() got an unexpected keyword argument {name!r}{hint}")


def paths_of(given: Any) -> tuple[str, ...]:
    """A path, or several, as texts."""
    several = (given,) if isinstance(given, str | os.PathLike) else given
    return tuple(os.fsdecode(os.fspath(each)) for each in several)


def values_of(row: Verb, options: Mapping[str, Any]) -> dict[str, Any]:
    """A request's fields, out of keyword arguments. Raises UsageError for a value of the wrong kind."""
    return {
        name: _value(row.field(name), value)
        for name, value in options.items()
        if name not in CALL and value is not None
    }


def _value(field: RequestField, value: Any) -> Any:
    if field.name == "shots":
        return shots_in(value)
    if field.name in _SPELLED and not isinstance(value, str):
        return _SPELLED[field.name](value)
    if field.is_list:
        return tuple(_one(field, each) for each in ([value] if _is_single(value) else value))
    return _one(field, value)


def shots_in(value: Any) -> tuple[Shot, ...]:
    """Shots as Python says them: the path of a file of them, or one after another as words, ``Shot`` or a mapping of
    its fields. Raises UsageError and InputError."""
    if isinstance(value, str | os.PathLike):
        return prompt_files.shots_of(os.fsdecode(os.fspath(value)))
    if isinstance(value, Shot | Mapping) or not hasattr(value, "__iter__"):
        raise UsageError(f"shots={_shown(value)} is of the wrong kind; expected a file or a list of shots")
    return tuple(_shot(number, each) for number, each in enumerate(value, start=1))


def _shot(number: int, value: Any) -> Shot:
    """Raises UsageError."""
    if isinstance(value, str):
        value = {"prompt": value}
    try:
        return msgspec.convert(msgspec.to_builtins(value), Shot, strict=True)
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(f"shot {number} cannot be read ({error}); expected words, or prompt=... and options") from None


def _is_single(value: Any) -> bool:
    """Whether a value stands for a list of one, as a path does, or a LoRA with its strength."""
    pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Real)
    return pair or isinstance(value, str | os.PathLike) or not hasattr(value, "__iter__")


def _one(field: RequestField, value: Any) -> Any:
    try:
        if field.kind is bool and isinstance(value, bool):
            return value
        if field.kind is int and not isinstance(value, bool):
            return operator.index(value)
        if field.kind is float and isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
        if field.kind is str:
            return _text(field, value)
    except TypeError:
        pass
    raise UsageError(f"{field.name}={_shown(value)} is of the wrong kind; expected {KINDS[field.kind]}")


def _text(field: RequestField, value: Any) -> str:
    """Raises TypeError."""
    if field.name == "loras" and isinstance(value, tuple):
        path, strength = value
        return f"{os.fspath(path)}:{float(strength)!r}"
    if isinstance(value, str):
        return value
    if field.is_path or field.name == "loras":
        path = os.fspath(value)
        return path if isinstance(path, str) else os.fsdecode(path)
    raise TypeError


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _numbers(name: str, value: Any, count: int, example: str) -> list[int]:
    """So many whole numbers. Raises UsageError."""
    try:
        numbers = [operator.index(each) for each in value]
    except TypeError:
        numbers = []
    if len(numbers) != count:
        raise UsageError(f"{name}={_shown(value)} is not {count} whole numbers; expected as in {name}={example}")
    return numbers


def _size(value: Any) -> str:
    width, height = _numbers("size", value, 2, "(640, 360)")
    return f"{width}x{height}"


def _region(value: Any) -> str:
    return ",".join(map(str, _numbers("region", value, 4, "(40, 0, 64, 64)")))


def _strength(value: Any) -> str:
    """Raises UsageError."""
    several = [value] if isinstance(value, Real) else value
    try:
        numbers = [float(each) for each in several if not isinstance(each, str | bool)]
        if not numbers or len(numbers) != len(several):
            raise TypeError
    except (TypeError, ValueError):
        expected = "expected a number, or one for each layer"
        raise UsageError(f"control_strength={_shown(value)} is of the wrong kind; {expected}") from None
    return ",".join(f"{each:.9f}".rstrip("0").rstrip(".") for each in numbers)


def _stretch(name: str, value: Any) -> str:
    ends = (value.start, value.stop) if isinstance(value, range | slice) else value
    try:
        first, last = ("" if end is None else str(operator.index(end)) for end in ends)
    except (TypeError, ValueError):
        raise UsageError(f"{name}={_shown(value)} is no pair of frames; expected as in {name}=(8, 16)") from None
    return f"{first}:{last}"


_SPELLED: dict[str, Callable[[Any], str]] = {
    "size": _size,
    "region": _region,
    "frame_range": partial(_stretch, "frame_range"),
    "control_frames": partial(_stretch, "control_frames"),
    "control_strength": _strength,
}
"""Fields that are texts in a request and may be numbers in Python."""


@contextmanager
def in_keywords(row: Verb) -> Iterator[None]:
    """Refusals in the block that speak of the command line's flags speak of keyword arguments instead."""
    try:
        yield
    except SoraError as error:
        error.args = (with_keywords(str(error), row),)
        raise


def with_keywords(message: str, row: Verb) -> str:
    """'--seed 5 is ...' -> 'seed 5 is ...', '--no-x' -> 'x=False', and a clip in memory is called so, not by its
    digest."""
    names = {flag: field.name for field in fields().values() for flag in field.flags}
    names |= {flag: field.name for flag, field in row.by_flag().items()} | WORDS
    names |= {field.flag_for_no: f"{field.name}=False" for field in fields().values() if field.flag_for_no}
    message = IN_MEMORY.sub("the clip in memory", message)
    return re.sub(r"(?<![\w-])--?[a-z][a-z-]*\b", lambda flag: names.get(flag[0], flag[0]), message)
