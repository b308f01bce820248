"""Names in place of paths, for a recipe that stands in a file: where a person keeps things is nobody else's business.

A file, a folder or weights of a person's own are called by their own name, without the folders above it. Where two of
different contents have one name, the second is called ``name#2``. A clip that was in no file keeps its digest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from sora.plan.request import Request, with_files

IN_MEMORY = re.compile(r"memory:[0-9a-f]{64}")
"""What stands in a request and among a recipe's inputs for a clip or a picture that was in no file: its sha256."""

Inputs = tuple[tuple[str, str], ...]
"""(path or name, digest) of everything that was read."""


def is_in_memory(path: str | Path) -> bool:
    """Whether it names something that was in no file."""
    return IN_MEMORY.fullmatch(str(path)) is not None


def is_name(text: str) -> bool:
    """Whether it can be a file's name alone: no folder, no drive, no way out of a folder, on any system."""
    return text not in ("", ".", "..") and not re.search(r"[/\\\0]|^[A-Za-z]:", text)


def possible_names(name: str) -> list[str]:
    """What the file may be called that a recipe calls so."""
    plain = re.sub(r"#\d{1,4}$", "", name)
    return [name] if plain == name else [name, plain]


def in_names(request: Request, inputs: Inputs) -> tuple[Request, Inputs]:
    """The same with names in place of paths. What is in names already stays as it is."""
    names: dict[str, str] = {}
    digests: dict[str, str] = {}
    for path, digest in inputs:
        if path not in names:
            names[path] = path if is_in_memory(path) else _free_name(_name_of(path), digest, digests)
            digests[names[path]] = digest
    return with_paths(request, names), tuple(dict.fromkeys((names[path], digest) for path, digest in inputs))


def with_paths(request: Request, paths: Mapping[str, str]) -> Request:
    """The request with other paths. paths: new by old; an absolute one that is not among them becomes a name."""

    def changed(path: str) -> str:
        return paths.get(path) or (_name_of(path) if Path(path).is_absolute() else path)

    def changed_lora(text: str) -> str:
        path, colon, strength = text.rpartition(":")
        return changed(text) if text in paths or not colon else f"{changed(path)}:{strength}"

    def changed_model(text: str) -> str:
        return ",".join(map(changed, model_paths(text, paths)))

    model = None if request.model is None else changed_model(request.model)
    loras = tuple(map(changed_lora, request.loras))
    return msgspec.structs.replace(with_files(request, changed), model=model, loras=loras)


def model_paths(model: str, known: Collection[str]) -> list[str]:
    """The paths or names that a request's model is of: two where a comma parts two that are known, else itself."""
    parts = model.split(",")
    splits = ([",".join(parts[:at]), ",".join(parts[at:])] for at in range(1, len(parts)))
    return [model] if model in known else next((both for both in splits if set(both) <= set(known)), [model])


def _name_of(path: str) -> str:
    name = re.sub(r"[/\\\0]|^([A-Za-z]):", r"\1_", Path(path).name)
    return name if is_name(name) else "_"


def _free_name(name: str, digest: str, taken: Mapping[str, str]) -> str:
    """The name, with a number where it is taken by what has another digest."""
    names: Iterable[str] = (name, *(f"{name}#{number}" for number in range(2, len(taken) + 3)))
    return next(each for each in names if taken.get(each, digest) == digest)
