"""Prompts that were typed without quotes, and reach the program as several words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sora.cli.help_pages import Command
from sora.errors import UsageError
from sora.plan.verbs import VERBS

_FILE = re.compile(
    r"\.(mp4|mkv|mov|webm|avi|m4v|gif|webp|png|jpe?g|bmp|tiff?|avif|heic|txt|json|safetensors|gguf)$", re.I
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?|\d+[x:]\d+")
_DASHES = ("-", "\u2013", "\u2014")  # what word processors make of two of them, too


class PromptCommand(Command):
    """A command whose last argument is a prompt. Words that follow it belong to it, as long as they can be nothing
    else."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, ctx.allow_extra_args = list(args), True
        super().parse_args(ctx, args)
        if ctx.args:
            ctx.params["prompt"] = joined(ctx.command.name, ctx.params.get("prompt") or "", ctx.args, given)
        return ctx.args

    def invoke(self, ctx: Any) -> Any:
        invocation, prompt = super().invoke(ctx), ctx.params.get("prompt")
        return replace(invocation, notes=(f'the prompt is read as "{prompt}"',)) if ctx.args else invocation


def joined(verb: str, first: str, others: Sequence[str], given: Sequence[str]) -> str:
    """The prompt of which these are the words. given: the whole command line. Raises UsageError where some of them may
    be files or options, where some were in quotes, and where they are not next to each other."""
    words, see = [first, *others], f"see `sora {verb} --help`"
    if option := next((word for word in others if word.startswith("-") and word != "-"), None):
        raise UsageError(f"unexpected {option!r} behind --; options stand before it; {see}")
    for word, after in zip(words, [*others, ""], strict=True):
        _check_word(verb, word, after, see)
    start = next((i for i in range(len(given)) if list(given[i : i + len(words)]) == words), None)
    if start is None or first == "-" or any(re.search(r"\s", word) for word in words):
        advice = "a prompt of several words stands in quotes, and options begin with --"
        raise UsageError(f"unexpected {' '.join(others)!r}; {advice}; {see}")
    return " ".join(words)


def _check_word(verb: str, word: str, after: str, see: str) -> None:
    """Raises UsageError for a word that looks like a file or an option. after: the next one."""
    if _FILE.search(word) or ("." in word and Path(word).is_file()):
        row = VERBS[verb]
        takes = " ".join(row.field(name).metavar or name.upper() for name in (*row.required, *row.optional))
        what = f"which looks like a file; `sora {verb}` takes {takes}"
        raise UsageError(f"unexpected {word!r}, {what}, and a prompt that names a file stands in quotes; {see}")
    name, equals, _ = word.partition("=")
    flag = "--" + name.lstrip("".join(_DASHES)).replace("_", "-").lower()
    has_mark = name.startswith(_DASHES) or equals or _NUMBER.fullmatch(after)
    if has_mark and flag in VERBS[verb].by_flag():
        raise UsageError(f"unexpected {word!r}; did you mean {flag}? A prompt with that word stands in quotes; {see}")
