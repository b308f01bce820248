"""Marks of other programs in a prompt that mean nothing here: each is named, and its words are painted as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

_AS_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<lora:[^<>]*>", re.I), "adds nothing here; add it with --lora FILE:STRENGTH"),
    (
        re.compile(r"<(lyco|hypernet|embedding|ti):[^<>]*>", re.I),
        "is read as words; only LoRAs can be added, by --lora",
    ),
    (re.compile(r"(?<!\w)__[\w/.*-]{1,60}?__(?!\w)"), "is read as words; {cat|dog} makes a film of each alternative"),
    (re.compile(r"\bembedding:[\w./-]+", re.I), "is read as words; textual inversions cannot be loaded"),
    (re.compile(r"(?<!\\)\(\([^()]*\)\)"), "is read without a weight; weigh words as in (red ball:1.2)"),
    (re.compile(r"(?<!\\)\[[^\[\]]+\]"), "is read as words; weigh words down as in (red ball:0.8)"),
    (
        re.compile(r"\([^()]*\)[+-]+(?!\w)|(?<!\w)\w+(?:\+\+|--)(?!\w)"),
        "is read without a weight; weigh words as in (red ball:1.2)",
    ),
)
_IN_CAPITALS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bBREAK\b"), "is read as a word; --then begins another shot"),
    (re.compile(r"(?<=\S )AND(?= \S)"), "is read as a word; prompts are not composed"),
)
"""Words that are marks where the rest is not in capitals, too."""

MAX_SHOWN = 40  # characters of a mark


def not_understood(prompt: str) -> Iterator[str]:
    """What of a cleaned prompt is a mark elsewhere and not here, a sentence each. Weights, ``{a|b}`` alternatives and
    LoRAs that were followed are understood."""
    marks = _AS_WORDS if prompt.isupper() else (*_AS_WORDS, *_IN_CAPITALS)
    for pattern, meaning in marks:
        if match := pattern.search(prompt):
            shown = match[0] if len(match[0]) <= MAX_SHOWN else f"{match[0][: MAX_SHOWN - 3]}..."
            yield f"{shown} {meaning}"
