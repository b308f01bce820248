"""``sora info --drift``: how far a film moves from how it began, as numbers with a plain word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sora.cli.progress import note
from sora.errors import InputError, UsageError, printable
from sora.plan.recipe import from_record

if TYPE_CHECKING:
    from sora.media.drift import Changes, Drift, FilmWindow

Facts = dict[str, Any]


def report(file: Path, facts: Facts, *, as_json: bool) -> None:
    """facts: of the file, as ``sora info --json`` has them. Raises UsageError for what is no film, and InputError."""
    if not facts["fps"]:
        raise UsageError(f"{file} is a picture, and --drift measures films; leave it out")
    from sora.jobs import drift as windows
    from sora.media import drift

    found = drift.measure(file, _windows(facts, windows), lambda line: note(line, quiet=False))
    if as_json:
        typer.echo(json.dumps(facts | {"drift": windows.to_data(found, facts["fps"])}))
        return
    for line in _lines(file, found, facts["fps"]):
        typer.echo(printable(line))


def _windows(facts: Facts, windows: Any) -> tuple[FilmWindow, ...] | None:
    """Those of its recipe; None where it has none that can be read, or was cut since."""
    if facts["recipe"] is None:
        return None
    try:
        recipe = from_record(facts["recipe"])
    except InputError:  # of an early version, or another program's
        return None
    whole = recipe.frames == facts["frames"]
    return windows.windows_in(recipe.request, facts["frames"], facts["fps"]) if whole else None


def _lines(file: Path, found: Drift, fps: float) -> Iterator[str]:
    if found.from_first is None:
        seconds = found.windows[0].window.frames.stop / fps
        yield f"{file} is one window of {seconds:.3g} s, so there is nothing to compare it with"
        return
    yield from _table(f"{file}, from its first window", found.from_first, fps)
    if found.from_shots is not None:
        yield from _table(f"{file}, from the first window of each shot", found.from_shots, fps)


def _table(title: str, changes: Changes, fps: float) -> Iterator[str]:
    """What is furthest off and where, and how the film ends."""
    yield f"{title}: {changes.summary}"
    yield f"{'':10}  {'furthest':>8}  {'at':>7}  {'last':>7}"
    numbers = (("color", lambda c: f"{max(c.colour, key=abs):+.1f}"), ("contrast", lambda c: f"{c.contrast:+.1%}"))
    numbers += (("sharpness", lambda c: f"{c.sharpness:+.1%}"),)
    for (name, shown), worst in zip(numbers, changes.worst, strict=True):
        at = f"{worst.window.frames.start / fps:.1f} s"
        yield f"{name:10}  {shown(worst):>8}  {at:>7}  {shown(changes.last):>7}"
