"""Writes the reference pages from the program: ``python benchmarks/reference.py [--check]``.

``docs/commands.md`` is made of what the commands' ``--help`` says. In other pages, what stands between two marker lines
is written: the models in ``docs/models.md`` from the catalog, and what ``mini`` knows and its scores in
``docs/mini.md`` from its word list and its card. With ``--check`` nothing is written: the differences are printed, and
the exit status is 1 where a page is out of date.
"""

from __future__ import annotations

import argparse
import difflib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

from sora import catalog, memory, models, weights
from sora.catalog.spec import ModelSpec
from sora.cli import app
from sora.cli.reference import CommandHelp, Row, commands
from sora.errors import OutOfMemory
from sora.plan.geometry import wxh
from sora.plan.verbs import VERBS

DOCS = Path(__file__).parent.parent / "docs"
CARD = "mini.json"
MAX_GIB = 128  # of a card, when looking for what fits
SHARED = (*VERBS, "finish")
"""Commands that have most of their options in common."""

COMMANDS_HEAD = """\
# Commands

<!-- Written by `python benchmarks/reference.py` from what the commands say. Do not edit. -->

`sora COMMAND --help` prints the same in a terminal. [Scripting](scripting.md) explains prompt files, JSON and exit
statuses, and [models](models.md) the weights that `--model` takes.
"""
SHARED_ANCHOR = "#options-of-every-command-that-generates"
SHARED_HEAD = f"""\
## Options of every command that generates

{", ".join(f"`{name}`" for name in SHARED)} take these options, too.
"""


def cell(text: str) -> str:
    """Text for a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def table(rows: Iterable[Row]) -> Iterator[str]:
    """A table of rows in the order given, one for each panel. ``--help`` itself is left out."""
    for panel, members in groupby((row for row in rows if row.name != "-h, --help"), key=lambda row: row.panel):
        yield f"\n| {panel} | |\n|---|---|\n"
        yield from (f"| `{cell(row.name)}` | {cell(row.help)} |\n" for row in members)


def commands_page() -> str:
    """All of ``docs/commands.md``."""
    sora, *found = commands(app)
    by_name = {each.name: each for each in found}
    options = [row for row in by_name[SHARED[0]].rows if row.panel != "Arguments"]
    shared = [row for row in options if all(row in by_name[name].rows for name in SHARED)]
    parts = [COMMANDS_HEAD, "\n| command | what it does |\n|---|---|\n"]
    parts += [f"| [`sora {c.name}`](#{anchor(c.name)}) | {cell(c.summary)} |\n" for c in found]
    parts += ["\n## sora\n", *table(row for row in sora.rows if row.name not in by_name), f"\n{sora.note}\n"]
    for each in found:
        parts += section(each, shared if each.name in SHARED else [])
    parts += ["\n", SHARED_HEAD, *table(shared)]
    return "".join(parts)


def section(command: CommandHelp, shared: list[Row]) -> Iterator[str]:
    """One command. shared: options that are described elsewhere."""
    yield f"\n## sora {command.name}\n\n{paragraphs(command.help)}\n\n```text\n{command.usage}\n```\n"
    yield from table(row for row in command.rows if row not in shared and row.panel != "Commands")
    if shared:
        yield f"\nIt also takes the [options of every command that generates]({SHARED_ANCHOR}).\n"
    yield "\nExamples:\n\n```bash\n" + "".join(f"{example}\n" for example in command.examples) + "```\n"


def paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


def anchor(name: str) -> str:
    return f"sora-{name.replace(' ', '-')}"


def models_table() -> str:
    """Every model as a row."""
    head = "| model | made for | clip by default | download | GPU memory, GiB | licence |\n|---|---|---|---|---|---|\n"
    return head + "".join(model_row(spec) for spec in catalog.MODELS.values())


def model_row(spec: ModelSpec) -> str:
    d = spec.defaults
    clip = f"{d.frames} frames of {wxh(spec.film_size())} at {d.fps:g} fps"
    download = f"{spec.bytes / 1e9:.0f} GB" if spec.repo else "none"
    return f"| `{spec.name}` | {spec.accepts} | {clip} | {download} | {gpu_memory(spec)} | {spec.licence} |\n"


def gpu_memory(spec: ModelSpec) -> str:
    """'33, or 8 offloaded': the least free memory of a card that paints the clip by default with nothing streamed or
    tiled, and at all."""
    import torch

    frames, size = spec.defaults.frames, spec.film_size()
    card = torch.device("cuda")
    needs = models.family(spec).memory_needs(spec, (frames, *size), card, torch.bfloat16, encodes=False)
    if needs is None:
        return "none needed"

    def fits(gib: int, whole: bool) -> bool:
        try:
            plan, _ = memory.choose_plan(needs, gib << 30)
        except OutOfMemory:
            return False
        return not whole or (plan.resident_blocks is None and plan.tile is None)

    whole, least = (bisect_left(range(MAX_GIB), True, key=partial(fits, whole=each)) for each in (True, False))
    return f"{whole}, or {least} offloaded"


def vocabulary_list() -> str:
    """What a model of a closed vocabulary knows, a line for each kind of word."""
    found = models.repertoire(catalog.MODELS[catalog.DEFAULT])
    assert found is not None
    return "".join(f"- **{name}**: {', '.join(words)}\n" for name, words in found.lists.items())


def scores_table() -> str:
    """The shares of painted clips in which the judge finds what was asked for, as the card of the model has them."""
    card = json.loads(weights.asset(CARD).read_text(encoding="utf-8"))
    asked = ("subject", "setting", "motion", "whole", "all")
    rows = {name: row for name, row in card["scores"].items() if isinstance(row, dict) and set(asked) <= row.keys()}
    lines = [f"| judged | {' | '.join(asked)} | clips |\n|---{'|---' * len(asked)}|---|\n"]
    for name, row in rows.items():
        shares = " | ".join(f"{100 * row[each]:.0f} %" for each in asked)
        lines.append(f"| {name} | {shares} | {row['clips']} |\n")
    return "".join(lines) + f"\nOf the judge: {card['scores']['judge']}.\n"


def filled(page: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A page with what stands between its markers written anew. parts: by the name in the markers."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- {name}, by benchmarks/reference.py -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n\n{part()}\n{end}{after}"
    return text


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "models.md": lambda: filled("models.md", {"the models": models_table}),
    "mini.md": lambda: filled("mini.md", {"what mini knows": vocabulary_list, "the scores of mini": scores_table}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, fresh = DOCS / name, page()
        current = path.read_text(encoding="utf-8") if path.is_file() else ""
        if current == fresh:
            continue
        stale.append(name)
        if check:
            difference = difflib.unified_diff(current.splitlines(), fresh.splitlines(), name, "as it should be", n=0)
            print("\n".join(difference))
        else:
            path.write_text(fresh, encoding="utf-8")
            print(f"wrote docs/{name}")
    if check and stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run python benchmarks/reference.py and commit the result")


if __name__ == "__main__":
    main()
