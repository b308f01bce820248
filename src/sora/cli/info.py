"""``sora info``: what a file holds, and how it was made."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from sora.cli import options as o
from sora.errors import printable
from sora.plan.flags import spelled
from sora.plan.recipe import from_record, record_of
from sora.plan.request import to_data

MAX_NAME_WIDTH = 40  # characters of the first column; a longer name pushes its own value alone

MADE_BY_A_MODEL = {"trainedAlgorithmicMedia": "yes", "compositeWithTrainedAlgorithmicMedia": "in part"}
"""What IPTC's digital source types say of that."""


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A film or a picture.", show_default=False)],
    as_json: o.AsJson = False,
) -> None:
    """Show what a file holds, and how sora made it."""
    from sora import media

    found = media.probe(file)
    record = record_of(found.recipe) if found.recipe else None
    made_with = {} if record is None else describe_recipe(record)
    facts: dict[str, Any] = {
        "path": str(file),
        "kind": found.kind,
        "size": [found.width, found.height],
        "frames": found.frames,
        "fps": found.fps,
        "seconds": found.seconds,
        "codec": found.codec,
        "pix_fmt": found.pix_fmt,
        "sound": found.sound,
        "source_type": found.source_type,
        "recipe": record,
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    facts |= {
        "size": f"{found.width}x{found.height}",
        "sound": "yes" if found.sound else "",
        "source_type": found.source_type or "",
        "made by a model": MADE_BY_A_MODEL.get(found.source_type or "", ""),
    }
    del facts["recipe"]
    if record is None:
        facts["recipe"] = "none" if found.source_type in MADE_BY_A_MODEL else "none; sora did not make this file"
    print_facts({name: value for name, value in facts.items() if value})  # a picture has no rate and no length
    if record is not None:
        typer.echo("\nmade by sora with")
        print_facts(made_with)


def describe_recipe(record: dict[str, Any]) -> dict[str, Any]:
    """A recipe's facts for a person: its request among them, and a command that asks for the same."""
    if record.get("format", 1) == 1:
        argv = record.get("argv")
        return record | {"argv": shlex.join(["sora", *map(str, argv)])} if isinstance(argv, list) else record
    request = from_record(record).request
    rest = {name: value for name, value in record.items() if name != "request"}
    return rest | to_data(request) | {"command": shlex.join(["sora", *spelled(request)])}


def print_facts(facts: dict[str, Any]) -> None:
    """Name and value in two columns."""
    width = min(MAX_NAME_WIDTH, max((len(printable(name)) for name in facts), default=0))
    for name, value in facts.items():
        shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{printable(name).ljust(width)}  {printable(shown)}")
