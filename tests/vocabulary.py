"""Words that the program no longer uses, and where they are still found.

Each had a standard term of the field, or several meanings. They are refused in identifiers, in the names of files, in
docstrings and in the help of options.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path


def all_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[A-Za-z]+", text))


PARTS = all_of(
    "said unsaid told heard hear hung hang hanging wish wishes wished way ways beside frugal arriving glance quicken "
    "melt easel telling worn evened settled rung sketch screen"
)
"""Refused as any word of an identifier or of a file's name, split at underscores and capitals."""

NAMES = all_of(
    "Take Scene again look Course draw part near circle rolled Pin hold renoise rule Film form held flows Parts "
    "turns Words few stored streamed Spelling Both Average Ring Pool Perceptron Kind Asked Built Told Given "
    "Said Heard Way"
)
"""Refused as a whole identifier in the program itself, where each has a better name."""

PROSE = all_of("said told heard hung wish wished wishes beside frugal arriving melts quicken")
"""Refused in docstrings and in help."""

EXTREMES = re.compile(r"_?(MOST|LEAST)_")
"""Constants begin with MAX or MIN."""


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def bound(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a file gives to something, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case _:
                pass


def prose(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every docstring, a constant's too, and every text given as ``help``, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text
            case ast.keyword(arg="help", value=ast.Constant(value=str(text))):
                yield node.value.lineno, text
            case _:
                pass


def is_retired(name: str, *, whole: bool) -> bool:
    """whole: whether names of NAMES are refused, too."""
    return bool(words(name) & PARTS or EXTREMES.match(name) or (whole and name.strip("_") in NAMES))


def retired_words(path: Path, tree: ast.AST, *, whole: bool) -> Iterator[str]:
    """What is found in a file, a line each."""
    if words(path.stem) & PARTS:
        yield "its name"
    yield from (f"line {line} names {name}" for line, name in bound(tree) if is_retired(name, whole=whole))
    for line, text in prose(tree):
        plain = re.sub(r"``.*?``", "", text.lower())  # what stands in code quotes is a value or a name
        yield from (f"line {line} writes {word}" for word in sorted(set(re.findall(r"[a-z]+", plain)) & PROSE))


ENTRY = re.compile(r"(?:^|(?<=[.;)\n]) ?|(?<=\n))((?:[a-z_][A-Za-z0-9_]*)(?:, [a-z_][A-Za-z0-9_]*)*): ")


def missing_fields(tree: ast.AST) -> Iterator[str]:
    """What the docstrings of classes explain, as in "size: of the film", and the class does not have."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
        if not fields:
            continue
        known = fields | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        text = re.sub(r"[ \t]+", " ", ast.get_docstring(node) or "")
        explained = {name for match in ENTRY.finditer(text) for name in match[1].split(", ")}
        yield from (f"{node.name} explains {name}, which it does not have" for name in sorted(explained - known))
