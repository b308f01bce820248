"""The commands that answer questions about files and models: ``info`` and ``models``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from sora import families, weights
from sora.cli import options as o


def info(
    file: Annotated[Path, typer.Argument(help="A film or a picture.", show_default=False)],
    as_json: o.AsJson = False,
) -> None:
    """Say what a file holds, and how sora made it."""
    from sora import media

    found = media.probe(file)
    recipe = json.loads(found.recipe) if found.recipe else None
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
        "recipe": recipe,
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    facts |= {
        "size": f"{found.width}x{found.height}",
        "sound": "yes" if found.sound else "",
        "recipe": "none; sora did not make this file",
    }
    if recipe is not None:
        del facts["recipe"]
    _lines({name: value for name, value in facts.items() if value})  # a picture has no rate and no length
    if recipe is not None:
        typer.echo("\nmade by sora with")
        if recipe.get("argv"):
            recipe["argv"] = shlex.join(["sora", *map(str, recipe["argv"])])
        _lines(recipe)


def _lines(facts: dict[str, Any]) -> None:
    """name and value in two columns."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{name.ljust(width)}  {shown}")


def models(as_json: o.AsJson = False) -> None:
    """List the models. Each with its licence, whether its weights are here, and what it paints by default."""
    rows = [_row(spec) for spec in families.MODELS.values()]
    for row in rows:
        if as_json:
            typer.echo(json.dumps(row))
            continue
        typer.echo(f"{row['name']}  {row['licence']}  {'here' if row['here'] else 'not here'}")
        typer.echo(f"    {row['summary']}")
        width, height = row["size"]
        said = f"{row['frames']} frames of {width}x{height} at {row['fps']:g} fps, {row['steps']} steps"
        typer.echo(f"    by default {said}, guidance {row['guidance']:g}")


def _row(spec: families.ModelSpec) -> dict[str, Any]:
    defaults = spec.defaults
    height, width = spec.grid.nearest_size(1.0, defaults.area)
    return {
        "name": spec.name,
        "licence": spec.licence,
        "here": not spec.repo and weights.embedded(spec.files),
        "summary": spec.summary,
        "frames": defaults.frames,
        "size": [width, height],
        "fps": defaults.fps,
        "steps": defaults.steps,
        "guidance": defaults.guidance,
        "shift": defaults.shift,
        "sampler": defaults.step,
    }
