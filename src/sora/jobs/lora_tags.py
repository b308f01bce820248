"""``<lora:NAME:STRENGTH>`` in a prompt, as A1111 writes it: taken out of the words and added as ``--lora`` would.

Only words that a person gives are read like this. Those that come out of a recipe are data: they open no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from sora.errors import InputError, UsageError
from sora.plan import shot_lines
from sora.plan.request import Request
from sora.plan.shot import Shot

_TAG = re.compile(r"<lora:([^<>]*)>", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")
_TAGS = rf"(?:{_TAG.pattern}\s*)+"
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
WORDS = ("prompt", "then", "subject", "shots")
"""Fields whose words may hold such tags."""
_SEVERAL = ("then", "shots")


def followed(request: Request, folders: Sequence[Path] = (Path(),), names: Collection[str] = WORDS) -> Request:
    """The request with the LoRAs that its words name, and without their tags. folders: where they are looked for, in
    this order. names: of the fields that a person gave. Raises InputError for one that is not there, and
    UsageError."""
    texts = {name: _texts(getattr(request, name)) for name in WORDS if name in names}
    if not any(_TAG.search(text) for text in chain.from_iterable(texts.values())):
        return request
    loras = tuple(flag for group in texts.values() for text in group for flag in _flags(text, folders))
    words = {name: tuple(_without_tags(text) for text in group) for name, group in texts.items()}
    changed: dict[str, Any] = {name: group[0] for name, group in words.items() if group and name not in _SEVERAL}
    changed |= {"then": words["then"]} if "then" in words else {}
    if "shots" in words:
        changed["shots"] = tuple(map(shot_lines.with_words, request.shots, words["shots"]))
    return msgspec.structs.replace(request, **changed, loras=(*request.loras, *dict.fromkeys(loras)))


def _texts(value: str | Sequence[str | Shot] | None) -> tuple[str, ...]:
    """The words in a field."""
    several = (value,) if isinstance(value, str) else value or ()
    return tuple(each if isinstance(each, str) else each.prompt for each in several)


def _flags(text: str, folders: Sequence[Path]) -> Iterator[str]:
    """The value of ``--lora`` for each tag of a text. Raises InputError and UsageError."""
    for tag in _TAG.finditer(text):
        if _in_alternatives(text, tag.start()):
            raise UsageError(f"{tag[0]} stands in alternatives, which share their LoRAs; move it out of the braces")
        name, *numbers = _name_and_numbers(tag[1])
        if len(set(numbers)) > 1:
            raise UsageError(f"{tag[0]} holds two strengths, and a LoRA has one here; leave one out")
        yield f"{_place(name.strip(), tag[0], folders)}:{numbers[0] if numbers else '1'}"


def _name_and_numbers(body: str) -> list[str]:
    """A name, which may hold colons, and the numbers behind it."""
    words = body.split(":")
    last = len(words)
    while last > 1 and _NUMBER.fullmatch(words[last - 1].strip()):
        last -= 1
    return [":".join(words[:last]), *(word.strip() for word in words[last:])]


def _place(name: str, tag: str, folders: Sequence[Path]) -> Path:
    """Raises InputError."""
    found = [Path(folder) / f"{name}{suffix}" for folder in folders for suffix in ("", ".safetensors")] if name else []
    place = next(chain((p for p in found if p.is_file()), (p for p in found if p.is_dir())), None)
    if place is None:
        where = " and ".join(dict.fromkeys(str(folder.absolute()) for folder in folders))
        tried = f"neither {name} nor {name}.safetensors is in {where}" if name else "it holds no name"
        raise InputError(f"{tag} names no LoRA: {tried}; say where it is with --lora FILE:STRENGTH")
    return place


def _in_alternatives(text: str, place: int) -> bool:
    braces = [match[0] for match in _BRACES.finditer(text[:place]) if match[0] in "{}"]
    return braces.count("{") > braces.count("}")


def _without_tags(text: str) -> str:
    """The words without tags, and without the commas that only parted these."""
    text = re.sub(rf"(?i),\s*{_TAGS}(?=,|$)|^\s*{_TAGS},?", "", text)
    return _TAG.sub(" ", text)
