r"""Weights of words, as ComfyUI and A1111 write them: ``(words:1.3)``.

Only parentheses that end in a colon and a number are weights, so that parentheses of prose stay prose, and so do a
time, a ratio or a verse, as in ``(at 10:30)``: a whole number behind a digit. Groups may nest, and their weights
multiply. ``\(`` and ``\)`` are parentheses whatever stands in them. What a weight does is the matter of each family of
models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sora.errors import UsageError

MAX_WEIGHT = 10.0

_TOKEN = re.compile(r"\\[()]|.", re.DOTALL)
_NUMBER = re.compile(r":\s*(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*$")
_LONGEST = 24  # characters of a colon and a number
_ESCAPED = "\0"  # stands for an escaped parenthesis


@dataclass(frozen=True)
class Span:
    """Words of a prompt that have the same weight, in [0, MAX_WEIGHT]; 1 is the weight of words that were given
    none."""

    text: str
    weight: float = 1.0


def spans(prompt: str) -> tuple[Span, ...]:
    """A cleaned prompt in stretches of one weight, without the marks of weights; their texts together are clean, too.
    Raises UsageError for a weight outside [0, MAX_WEIGHT]."""
    if not set(prompt) & set("()"):
        return (Span(prompt),)
    weighted = _single_spaced(_weighted_characters([match[0] for match in _TOKEN.finditer(prompt)]))
    return tuple(
        Span("".join(c for c, _ in run), weight) for weight, run in groupby(weighted, key=lambda pair: pair[1])
    ) or (Span(prompt),)


def plain(prompt: str) -> str:
    """The words of a prompt without their weights."""
    return "".join(span.text for span in spans(prompt))


def _weighted_characters(tokens: list[str]) -> Iterator[tuple[str, float]]:
    """Each character that is shown, with its weight. Raises UsageError."""
    groups = list(_groups(tokens))
    begins, ends = {begin: number for begin, _, _, number in groups}, {end for _, _, end, _ in groups}
    dropped = {i for _, colon, end, _ in groups for i in range(colon, end)}
    weights = [1.0]
    for i, token in enumerate(tokens):
        if i in begins:
            weights.append(_within(weights[-1] * begins[i]))
        elif i in ends:
            weights.pop()
        elif i not in dropped:
            yield token[-1], weights[-1]


def _groups(tokens: list[str]) -> Iterator[tuple[int, int, int, float]]:
    """Where each group begins, where its colon stands and where it ends, and its number."""
    text = "".join(token if len(token) == 1 else _ESCAPED for token in tokens)
    open_at: list[int] = []
    for i, c in enumerate(text):
        if c == "(":
            open_at.append(i)
        elif c == ")" and open_at:
            begin = open_at.pop()
            found = _NUMBER.search(text, max(begin + 1, i - _LONGEST), i)
            if found is None or text[begin + 1 : found.start()].isspace() or found.start() == begin + 1:
                continue
            number = found["number"]
            if not (number.isdigit() and text[found.start() - 1].isdigit()):
                yield begin, found.start(), i, _within(float(number), number)


def _within(weight: float, text: str = "") -> float:
    """The weight. text: as it was typed. Raises UsageError."""
    if not 0 <= weight <= MAX_WEIGHT:
        raise UsageError(
            f"the weight {text or f'{weight:g}'} is out of range; expected 0 to {MAX_WEIGHT:g} as in (a red ball:1.3), "
            r"or \( and \) for parentheses of prose"
        )
    return weight


def _single_spaced(weighted: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """The same with single spaces and none at the ends."""
    kept: list[tuple[str, float]] = []
    for c, weight in weighted:
        if c != " " or (kept and kept[-1][0] != " "):
            kept.append((c, weight))
    return kept[:-1] if kept and kept[-1][0] == " " else kept
