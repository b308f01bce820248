"""``sora ideas``: what a model of a closed vocabulary can paint, with prompts to try."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from random import Random

import typer

from sora import catalog, models
from sora.cli import options as o
from sora.errors import UsageError
from sora.plan.options import MAX_SEED, RANDOM_SEED
from sora.plan.request import within

MAX_PROMPTS = 1000  # prompts
WIDTH = 96  # columns of a list
NO_BREAK_SPACE = "\u00a0"  # a blank at which textwrap breaks no line
TITLES = {
    "subjects": "subjects, one a clip",
    "settings": "settings",
    "motions": "motions",
    "cameras": "camera",
    "weathers": "weather",
    "hours": "hours",
}


def ideas(
    model: o.ModelName = None, count: o.IdeasCount = 6, seed: o.IdeasSeed = None, as_json: o.AsJson = False
) -> None:
    """List what can be painted. Subjects, settings, motions, camera and weather, with random prompts to try."""
    within("--count", count, 0, MAX_PROMPTS)
    within("--seed", seed, RANDOM_SEED, MAX_SEED)
    spec = catalog.find(model or catalog.DEFAULT)
    repertoire = models.repertoire(spec)
    if repertoire is None:
        hint = f"`sora ideas` tells what {catalog.DEFAULT} paints"
        raise UsageError(f"{spec.name} follows any prompt, so there is no list; {hint}")
    prompts = repertoire.prompts(count, Random(None if seed == RANDOM_SEED else seed))
    if as_json:
        typer.echo(json.dumps({"model": spec.name, **repertoire.lists, "prompts": prompts}))
        return
    for line in (*format_lists(repertoire.lists), *format_prompts(spec.name, prompts)):
        typer.echo(line)


def format_lists(lists: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each list under its title."""
    for name, title in TITLES.items():
        yield title
        words = ", ".join(word.replace(" ", NO_BREAK_SPACE) for word in lists[name])
        rows = textwrap.wrap(words, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        yield from (row.replace(NO_BREAK_SPACE, " ") for row in rows)


def format_prompts(model: str, prompts: Sequence[str]) -> Iterator[str]:
    """Commands to try, and what happens to words that are not on the lists."""
    yield ""
    yield "Prompts may be English or Chinese (也可以用中文). What a prompt leaves open is chosen to suit its subject."
    chosen = "" if model == catalog.DEFAULT else f" --model {shlex.quote(model)}"
    yield from (f"  sora generate {shlex.quote(prompt)}{chosen}" for prompt in prompts)
