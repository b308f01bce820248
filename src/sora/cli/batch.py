"""``-f FILE``: a film of every line of a prompt file. The model is loaded once, films that stand there already are left
alone, and one that fails does not stop the rest."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from sora.cli import run
from sora.cli.commands import Asked
from sora.cli.progress import Clock, note
from sora.errors import InputError, SomeFailed, SoraError, UsageError
from sora.jobs.delivery import Delivery, slug
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.jobs.session import Session
from sora.media import target
from sora.plan import flags, prompts
from sora.plan.prompts import Line
from sora.plan.request import Request, changed
from sora.plan.verbs import VERBS

LARGEST_FILE = 1 << 24  # bytes
MEMORY = "this machine's memory is full; try a smaller --size or fewer --frames"


@dataclass
class Film:
    """One film of the file. line: where its words stand. outcome: "painted", "skipped", "failed" or, while it waits,
    empty. told: its path, or what went wrong. error: the latter, where nothing was painted for it."""

    line: Line
    resolved: ResolvedRequest | None
    path: Path
    outcome: str = ""
    told: str = ""
    error: SoraError | None = None


def perform(asked: Asked) -> None:
    """Paint every line. Raises UsageError and InputError for what is wrong with all, SomeFailed for what failed."""
    if asked.values.get("prompt") is not None:
        raise UsageError("PROMPT and -f both say what to paint; give one of them")
    lines = prompts.parse_file(read(asked.file or ""))
    folder, begun = _folder(asked.delivery["output"]), time.monotonic()
    delivery = replace(Delivery(**asked.delivery), output=None, folder=folder if folder.is_dir() else Path())
    films = _named(list(_films(asked, delivery, lines)), folder)
    if len(films) > 1 and films[0].error and len({str(film.error) for film in films}) == 1:
        raise films[0].error  # what is wrong with all is the command's own
    if not asked.console.dry_run:
        _make(folder)
    try:
        _paint_all(asked, delivery, films)
    finally:
        if not (asked.console.quiet or asked.console.dry_run):
            _table(films, time.monotonic() - begun)
    failed = [film for film in films if film.outcome == "failed"]
    if failed:
        told = f"{len(failed)} of {len(films)} films failed"
        raise SomeFailed(f"{told}; run the same command again to paint what is missing")


def read(file: str) -> str:
    """The text of a prompt file; ``-`` reads standard input. Raises InputError and UsageError."""
    if file == "-":
        return run.stdin_text()
    path = Path(file)
    try:
        if not path.is_file():
            raise InputError(f"there is no prompt file {file}; expected a text file with a prompt on each line")
        with path.open("rb") as opened:
            data = opened.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > LARGEST_FILE:
        raise InputError(f"{file} is larger than {LARGEST_FILE >> 20} MiB; expected a text file with a prompt a line")
    return prompts.decoded(data, f"file {file}")


def _folder(output: str | None) -> Path:
    """Where the films go. Raises UsageError."""
    if output and Path(output).suffix.lower() in target.SUFFIXES and not output.endswith("/"):
        raise UsageError(f"-f paints several films, and -o {output} is the name of one; name a folder, as in -o out/")
    return Path(output or ".")


def _make(folder: Path) -> None:
    """Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror or error}; choose another -o") from None


def _films(asked: Asked, delivery: Delivery, lines: Sequence[Line]) -> Iterator[Film]:
    """Every film of every line, those that cannot be among them as failed."""
    request = Request(verb=asked.command, **asked.values)  # type: ignore[arg-type]
    for line in lines:
        try:
            if line.error:
                raise UsageError(line.error)
            resolved = resolve(_request(request, line), delivery)
        except SoraError as error:
            yield Film(line, None, Path(), "failed", str(error), error)
            continue
        for variant in resolved.variants:
            one = replace(resolved, variants=(replace(variant, number=None),))
            stem = slug(variant.prompt) or asked.command
            yield Film(line, one, Path(f"{stem}{delivery.kind(one.request)}"))


def _request(request: Request, line: Line) -> Request:
    """The command's own request with a line's words and options. Raises UsageError."""
    values, rest = flags.parse(request.verb, VERBS[request.verb], line.words)
    if rest:
        raise UsageError(f"{rest[0]!r} stands behind the options; they belong at the line's end")
    return changed(request, values | {"prompt": line.prompt})


def _named(films: list[Film], folder: Path) -> list[Film]:
    """The same, with names that depend on the file alone, so that another run finds what is there."""
    seen: Counter[str] = Counter()
    for film in films:
        stem, suffix = film.path.stem, film.path.suffix
        seen[stem] += 1
        number = f"-{seen[stem]}" if seen[stem] > 1 else ""
        film.path = folder / f"{stem}{number}{suffix}"
    return films


def _paint_all(asked: Asked, delivery: Delivery, films: list[Film]) -> None:
    session = Session()
    for number, film in enumerate(films, start=1):
        label = f"film {number}/{len(films)}: "
        if film.outcome == "failed":
            _tell(asked, film, label)
        elif film.path.exists() and not delivery.force and not asked.console.dry_run:
            film.outcome, film.told = "skipped", str(film.path)
            _tell(asked, film, label)
        else:
            _paint(asked, delivery, film, session, label)


def _paint(asked: Asked, delivery: Delivery, film: Film, session: Session, label: str) -> None:
    assert film.resolved is not None
    one = replace(delivery, output=str(film.path))
    note(f"{label}{film.resolved.variants[0].prompt}", asked.console.quiet)
    try:
        run.paint(film.resolved, one, asked.console, session, Clock(), label)
        film.outcome, film.told = "painted", str(film.path)
    except (SoraError, MemoryError) as error:
        film.outcome, film.told = "failed", MEMORY if isinstance(error, MemoryError) else str(error)
        _tell(asked, film, label)
    finally:
        film.resolved = None  # its plan goes


def _tell(asked: Asked, film: Film, label: str) -> None:
    """What is not painted, as it is passed."""
    if asked.console.as_json:
        key = "error" if film.outcome == "failed" else "path"
        record = {"line": film.line.number, "prompt": film.line.prompt, "outcome": film.outcome, key: film.told}
        typer.echo(json.dumps(record))
    elif film.outcome == "skipped":
        note(f"{label}{film.told} is there already", asked.console.quiet)
    else:
        note(f"{label}line {film.line.number}: {film.told}", asked.console.quiet)


def _table(films: Sequence[Film], seconds: float) -> None:
    """How many became what, and which lines did not."""
    count = Counter(film.outcome or "not reached" for film in films)
    told = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
    note(f"{len(films)} films in {seconds:.0f} s: {told}", quiet=False)
    wide = len(str(max(film.line.number for film in films)))
    for film in films:
        if film.outcome == "failed":
            note(f"line {film.line.number:>{wide}}  failed  {film.told}", quiet=False)
