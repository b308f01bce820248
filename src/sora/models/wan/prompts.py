"""Prompts as Wan's text encoder is given them. They are cleaned as diffusers' ``WanPipeline`` does. Needs no torch."""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Iterable
from dataclasses import replace

from sora.plan.weighting import Span, spans

# White space by Unicode's definition: Python's \s also matches four separators, which the reference does not.
_WHITE_SPACE = re.compile(r"[^\S\x1c-\x1f]+")


def clean(prompt: str) -> str:
    """Clean a prompt: fix its encoding (where the ``ftfy`` package is installed), resolve HTML entities, and make each
    run of white space one space, with none at the ends.

    A prompt must be cleaned only once: entities are resolved two levels deep, and a second call would resolve more.
    """
    resolved = html.unescape(html.unescape(_fix_encoding(prompt)))
    return _WHITE_SPACE.sub(" ", resolved.strip()).strip()


def clean_spans(prompt: str) -> tuple[Span, ...]:
    """A prompt in stretches of one weight, each cleaned; one without weights is cleaned as a whole, as ``clean``
    does."""
    found = spans(prompt)
    if len(found) == 1:
        return (replace(found[0], text=clean(found[0].text)),)
    return tuple(replace(span, text=_between_spaces(span.text)) for span in found)


def _between_spaces(text: str) -> str:
    """The text cleaned, with the space at either end that parts it from other words."""
    before, after = (" " if edge == " " else "" for edge in (text[:1], text[-1:]))
    return f"{before}{clean(text)}{after}" if text.strip() else text


def _fix_encoding(text: str) -> str:
    try:
        ftfy = importlib.import_module("ftfy")
    except ImportError:
        return text
    return ftfy.fix_text(text)


def encoded(prompts: Iterable[str]) -> tuple[str, ...]:
    """The texts, each once, whose embeddings are those of prompts, which may hold weights: cleaned and without any, and
    the empty one where a part of a prompt has a weight."""
    cleaned = [clean_spans(prompt) for prompt in prompts]
    texts = ["".join(span.text for span in prompt) for prompt in cleaned]
    weighted = any(span.weight != 1 for prompt in cleaned for span in prompt)
    return tuple(dict.fromkeys([*texts, *([""] if weighted else [])]))
