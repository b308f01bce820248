"""How files spell the names of tensors, and what the networks here call them: as diffusers and transformers do.

The tables are each family's own, ``KEY_MAPS``: one for its checkpoints and its LoRAs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

Rule = tuple[str, "str | Callable[[re.Match[str]], str]"]
"""A pattern, and what takes the place of what it finds."""


@dataclass(frozen=True)
class KeyMap:
    """A naming scheme for the tensors of a network.

    marker: a pattern found in some name of every file spelt so, and in no name of a file spelt otherwise.
    stages: of each stage in turn, the first rule whose pattern is found in a name is applied to it.
    first: rules, made from all names of a file, that stand before those of the first stage.
    """

    marker: str
    stages: tuple[tuple[Rule, ...], ...]
    first: Callable[[Collection[str]], tuple[Rule, ...]] | None = None

    def to_ours(self, names: Collection[str]) -> dict[str, str]:
        """Their names -> ours."""
        first = self.first(names) if self.first else ()
        stages = (first + self.stages[0], *self.stages[1:])
        return {name: _applied(stages, name) for name in names}


def _applied(stages: tuple[tuple[Rule, ...], ...], name: str) -> str:
    for stage in stages:
        for pattern, replacement in stage:
            name, times = re.subn(pattern, replacement, name, count=1)
            if times:
                break
    return name


@dataclass(frozen=True)
class LayoutRules:
    """What is known of the names of one kind of network.

    prefixes: what stands before its names in files that hold more than it; where one does, other names are not its.
    key_maps: naming schemes other than ours.
    ignored: a pattern of names, in our spelling, that files hold besides and the network does not want.
    aliases: other names, in our spelling, of the same tensor: a pattern and the one name.
    float32: a pattern of names whose tensors stay in float32 where the others are loaded in one of ``half_dtypes``.
    """

    prefixes: tuple[str, ...] = ()
    key_maps: tuple[KeyMap, ...] = ()
    ignored: str = r"(?!)"
    aliases: tuple[tuple[str, str], ...] = ()
    float32: str = r"(?!)"
    half_dtypes: tuple[str, ...] = ("float16", "bfloat16")

    def to_ours(self, names: Collection[str]) -> dict[str, str]:
        """The names of one file, or of the modules that they are of -> ours."""
        found = next((k for k in self.key_maps if any(re.search(k.marker, name) for name in names)), None)
        return found.to_ours(names) if found else {name: name for name in names}

    def canonical(self, name: str) -> str:
        """The one name of a tensor that has several in our spelling."""
        for pattern, name_of_all in self.aliases:
            name = re.sub(pattern, name_of_all, name)
        return name


def renamed(names: Iterable[str], rules: LayoutRules) -> dict[str, str]:
    """The wanted ones of a checkpoint's names -> our names for them, in the one form where there are several."""
    known = _without_prefix(list(names), rules.prefixes)
    ours = rules.to_ours(known.values())
    wanted = {theirs: rules.canonical(ours[name]) for theirs, name in known.items()}
    return {theirs: name for theirs, name in wanted.items() if not re.search(rules.ignored, name)}


def _without_prefix(names: list[str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """The names, or those alone that start with a prefix where some do -> the same without it."""
    for prefix in prefixes:
        found = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        if found:
            return found
    return {name: name for name in names}
