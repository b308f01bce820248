"""Flags in text as values of a request, and back: the ends of a prompt file's lines, what follows ``remake FILE``, and
the command lines that recipes of format 1 hold. Nothing is run; each flag is looked up among those of the verb."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sora.errors import UsageError, did_you_mean
from sora.plan.request import Request, RequestField
from sora.plan.verbs import FINISH, VERBS, Verb


def parse(verb: str, row: Verb, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(values by field, what stands without a flag). ``--flag=value`` and ``--flag value`` are alike, ``--`` ends the
    flags. Raises UsageError for a flag that the verb does not take, and for a value of the wrong kind."""
    flags, values, rest = row.by_flag(), dict[str, Any](), list[str]()
    left = iter(words)
    for word in left:
        if word == "--":
            rest += left
        elif not word.startswith("--"):
            rest.append(word)
        else:
            name, equals, given = word.partition("=")
            if name not in flags:
                raise UsageError(f"`sora {verb}` takes no {name}; {did_you_mean(name, flags)}see `sora {verb} --help`")
            _set(values, flags[name], name, given if equals else None, left)
    return values, rest


def _set(values: dict[str, Any], field: RequestField, flag: str, given: str | None, left: Iterator[str]) -> None:
    if field.kind is bool:
        if given is not None:
            raise UsageError(f"{flag} takes no value; leave {given!r} out")
        values[field.name] = flag != field.flag_for_no
        return
    text = next(left, None) if given is None else given
    if text is None:
        raise UsageError(f"{field.flag} lacks its value; expected one behind it")
    value = converted(field, text)
    values[field.name] = (*values.get(field.name, ()), value) if field.is_list else value


def converted(field: RequestField, text: str) -> Any:
    """The value that a text stands for. Raises UsageError."""
    try:
        value = field.kind(text)
    except ValueError:
        kinds = {int: "a whole number", float: "a number"}
        raise UsageError(f"{field.flag} {text!r} is not {kinds.get(field.kind, 'valid')}; expected one") from None
    if field.choices and value not in field.choices:
        hint = did_you_mean(text, field.choices).strip()
        expected = f"expected {', '.join(field.choices)}{f'; {hint}' if hint else ''}"
        raise UsageError(f"{field.flag} {text!r} is not known; {expected}")
    return value


SHOTS_FILE = "shots.txt"
"""What a file of shots is called in a command line that is only to be read."""


def spelled(request: Request) -> list[str]:
    """A command line that asks for the same, for a person to read; without ``sora``."""
    verb, row = (request.verb, VERBS[request.verb]) if request.draft_file is None else ("finish", FINISH)
    words, positional = [verb], list[str]()
    for name in row.fields:
        value, no = getattr(request, name), row.field(name).flag_for_no
        if value is None or value == () or (value is False and no is None):
            continue
        several = value if isinstance(value, tuple) else (value,)
        texts = [f"{each:g}" if isinstance(each, float) else str(each) for each in several]
        texts = [SHOTS_FILE] if name == "shots" else texts
        if name in (*row.required, *row.optional):
            positional += texts
        elif isinstance(value, bool):
            words.append(row.field(name).flag if value else str(no))
        else:
            words += [word for text in texts for word in (row.field(name).flag, text)]
    return [*words, *(["--"] if any(place.startswith("-") for place in positional) else []), *positional]
