"""Recipes of format 1, which held a command line, as requests. The command line is read as data: each word is looked up
among the flags of the verbs that paint, and anything else is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sora.errors import InputError, UsageError
from sora.plan.flags import parse
from sora.plan.prompts import escaped
from sora.plan.recipe import Recipe, from_record
from sora.plan.request import Request, changed, from_data
from sora.plan.verbs import FINISH, VERBS

MAX_WORDS = 4096
OLD_NAMES = {"step": "sampler"}

DraftRequest = Callable[[str], Request]
"""The request of a draft, by its path."""


def converted(record: dict[str, Any], draft_request: DraftRequest) -> Recipe:
    """The same recipe in format 2, which has absolute paths. draft_request: asked only for a draft that was finished.
    Raises InputError."""
    request = _request(record, draft_request)
    new = {name: record.get(name) for name in ("sora", "weights", "frames", "fps", "painted", "size", "device")}
    new |= {name: record.get(name) for name in ("dtype", "torch")} | {"prompts": [record.get("prompt")]}
    new |= {"inputs": record.get("inputs", []), "threads": record.get("threads", 0), "format": 2}
    return from_record(new | {"request": {"verb": request.verb, **msgspec.to_builtins(request)}})


def _request(record: dict[str, Any], draft_request: DraftRequest) -> Request:
    argv = record.get("argv") or _before_command_lines(record)
    if not isinstance(argv, list) or len(argv) > MAX_WORDS or not all(isinstance(word, str) for word in argv):
        raise InputError("the recipe's command is no list of words; it was damaged or is not sora's")
    verb, *words = argv
    row = FINISH if verb == "finish" else VERBS.get(verb)
    if row is None:
        raise InputError(f"the recipe is of `sora {verb}`, which paints nothing that could be painted again")
    values = _values(verb, words)
    if verb != "finish":
        return from_data({"verb": verb, **values}, "the recipe's command")
    draft = draft_request(values["draft_file"])
    return finished(draft, values)


def _values(verb: str, words: Sequence[str]) -> dict[str, Any]:
    row = FINISH if verb == "finish" else VERBS[verb]
    try:
        values, rest = parse(verb, row, words)
    except UsageError as error:
        raise InputError(f"the recipe's command is not one that sora runs ({error})") from None
    positional = (*row.required, *row.optional)
    if not len(row.required) <= len(rest) <= len(positional):
        raise InputError(f"the recipe's command has {len(rest)} words without a flag, expected {len(row.required)}")
    return dict(zip(positional, rest, strict=False)) | values


def finished(draft: Request, values: dict[str, Any]) -> Request:
    """A draft's request painted at full size and in all its steps, with other values. values: ``draft_file`` among
    them."""
    if not draft.draft or draft.draft_file is not None:
        raise InputError(f"{values['draft_file']} is not a draft; expected a file painted with --draft")
    return changed(msgspec.structs.replace(draft, draft=False, steps=None), values)


def _before_command_lines(record: dict[str, Any]) -> list[str]:
    """The command that a recipe stands for which is older than command lines. Raises InputError."""
    verb, prompt = record.get("verb"), record.get("prompt")
    if not isinstance(prompt, str):
        raise InputError("the recipe lacks its prompt; it was cut short or is not sora's")
    if verb not in ("generate", "image"):
        facts = f"it was {verb} {prompt!r} with --seed {record.get('seed')} --steps {record.get('steps')}"
        raise InputError(f"the recipe is of an older sora and holds no command; {facts}, run that yourself")
    names = ["seed", "steps", "guidance", "negative", "shift", "step", "model"]
    names += ["frames", "fps"] if verb == "generate" else []
    flags = [(f"--{OLD_NAMES.get(name, name)}", record.get(name)) for name in names]
    size = record.get("size")
    if isinstance(size, list) and len(size) == 2:
        flags.append(("--size", "{}x{}".format(*size)))
    words = [word for flag, value in flags if value not in (None, "") for word in (flag, str(value))]
    return [verb, *words, "--", escaped(prompt)]
