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

from sora.cli import films, run
from sora.cli.commands import Invocation
from sora.cli.progress import Clock, note
from sora.errors import InputError, SomeFailed, SoraError, UsageError
from sora.jobs import lora_tags, prompt_files
from sora.jobs.delivery import STANDARD_OUTPUT, Delivery, slug
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.jobs.session import Session
from sora.media import target
from sora.plan import flags, prompts
from sora.plan.prompts import Line
from sora.plan.request import Request, changed
from sora.plan.verbs import VERBS
from sora.plan.weighting import plain


@dataclass
class BatchItem:
    """One film of the file. line: the line with its prompt. outcome: "painted", "skipped", "failed" or, while it waits,
    empty. result: its path, or what went wrong. error: set where it could not even be checked."""

    line: Line
    resolved: ResolvedRequest | None
    path: Path
    outcome: str = ""
    result: str = ""
    error: SoraError | None = None


def perform(invocation: Invocation) -> None:
    """Paint every line. Raises UsageError and InputError for what is wrong with all, SomeFailed for what failed."""
    if invocation.values.get("prompt") is not None:
        raise UsageError("PROMPT and -f both say what to paint; give one of them")
    if invocation.values.get("shots"):
        raise UsageError("--shots and -f both say what to paint; give one of them")
    lines = prompts.parse_file(read_prompt_file(invocation.file or ""))
    folder, started = _output_folder(invocation.delivery["output"]), time.monotonic()
    delivery = replace(Delivery(**invocation.delivery), output=None, folder=folder if folder.is_dir() else Path())
    items = _name_items(list(_items(invocation, delivery, lines)), folder)
    if len(items) > 1 and items[0].error and len({str(film.error) for film in items}) == 1:
        raise items[0].error  # what is wrong with all is the command's own
    if not invocation.console.dry_run:
        _create_folder(folder)
    try:
        _paint_all(invocation, delivery, items)
    finally:
        if not (invocation.console.quiet or invocation.console.dry_run):
            _print_summary(items, time.monotonic() - started)
    failed = [film for film in items if film.outcome == "failed"]
    if failed:
        message = f"{len(failed)} of {len(items)} films failed"
        raise SomeFailed(f"{message}; run the same command again to paint what is missing")


def read_prompt_file(file: str) -> str:
    """The text of a prompt file; ``-`` reads standard input. Raises InputError and UsageError."""
    return run.read_stdin() if file == "-" else prompt_files.read(file)


def _output_folder(output: str | None) -> Path:
    """Where the films go. Raises UsageError."""
    if output == STANDARD_OUTPUT:
        raise UsageError("-f paints several films, and -o - takes one; name a folder, as in -o out/")
    if output and Path(output).suffix.lower() in target.SUFFIXES and not output.endswith("/"):
        raise UsageError(f"-f paints several films, and -o {output} is the name of one; name a folder, as in -o out/")
    return Path(output or ".")


def _create_folder(folder: Path) -> None:
    """Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror or error}; choose another -o") from None


def _items(invocation: Invocation, delivery: Delivery, lines: Sequence[Line]) -> Iterator[BatchItem]:
    """Every film of every line, those that cannot be among them as failed."""
    request = Request(verb=invocation.command, **invocation.values)  # type: ignore[arg-type]
    folders = [Path()] if invocation.file == "-" else [Path(), Path(invocation.file or "").parent]
    for line in lines:
        try:
            if line.error:
                raise UsageError(line.error)
            resolved = resolve(lora_tags.followed(_line_request(request, line), folders), delivery)
        except SoraError as error:
            yield BatchItem(line, None, Path(), "failed", str(error), error)
            continue
        for variant in resolved.variants:
            single = replace(resolved, variants=(replace(variant, number=None),))
            stem = slug(plain(variant.prompt)) or invocation.command
            yield BatchItem(line, single, Path(f"{stem}{delivery.kind(single.request)}"))


def _line_request(request: Request, line: Line) -> Request:
    """The command's own request with a line's words and options. Raises UsageError."""
    values, rest = flags.parse(request.verb, VERBS[request.verb], line.words)
    if rest:
        raise UsageError(f"{rest[0]!r} stands behind the options; they belong at the line's end")
    if "shots" in values:
        raise UsageError("--shots makes a film of its own and takes no prompt before it; leave one of them out")
    return changed(request, values | {"prompt": line.prompt})


def _name_items(items: list[BatchItem], folder: Path) -> list[BatchItem]:
    """Give each film a path that depends on the prompt file alone, so that another run finds what is there."""
    stems: Counter[str] = Counter()
    for item in items:
        stem, suffix = item.path.stem, item.path.suffix
        stems[stem] += 1
        number = f"-{stems[stem]}" if stems[stem] > 1 else ""
        item.path = folder / f"{stem}{number}{suffix}"
    return items


def _paint_all(invocation: Invocation, delivery: Delivery, items: list[BatchItem]) -> None:
    session = Session()
    for number, item in enumerate(items, start=1):
        label = f"film {number}/{len(items)}: "
        if item.outcome == "failed":
            _report_unpainted(invocation, item, label)
        elif item.path.exists() and not delivery.force and not invocation.console.dry_run:
            item.outcome, item.result = "skipped", str(item.path)
            _report_unpainted(invocation, item, label)
        else:
            _paint(invocation, delivery, item, session, label)


def _paint(invocation: Invocation, delivery: Delivery, item: BatchItem, session: Session, label: str) -> None:
    assert item.resolved is not None
    one = replace(delivery, output=str(item.path))
    note(f"{label}{item.resolved.variants[0].prompt}", invocation.console.quiet)
    try:
        films.paint(item.resolved, one, invocation.console, session, Clock(), label)
        item.outcome, item.result = "painted", str(item.path)
    except (SoraError, MemoryError) as error:
        item.outcome, item.result = "failed", films.MEMORY_FULL if isinstance(error, MemoryError) else str(error)
        _report_unpainted(invocation, item, label)
    finally:
        item.resolved = None  # its plan goes


def _report_unpainted(invocation: Invocation, item: BatchItem, label: str) -> None:
    """Report a film that was skipped or failed: a note, or a line of JSON."""
    if invocation.console.as_json:
        key = "error" if item.outcome == "failed" else "path"
        record = {"line": item.line.number, "prompt": item.line.prompt, "outcome": item.outcome, key: item.result}
        typer.echo(json.dumps(record))
    elif item.outcome == "skipped":
        note(f"{label}{item.result} is there already", invocation.console.quiet)
    else:
        note(f"{label}line {item.line.number}: {item.result}", invocation.console.quiet)


def _print_summary(items: Sequence[BatchItem], seconds: float) -> None:
    """Print how many films were painted, skipped and failed, and which lines failed."""
    count = Counter(film.outcome or "not reached" for film in items)
    counts = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
    note(f"{len(items)} films in {seconds:.0f} s: {counts}", quiet=False)
    width = len(str(max(film.line.number for film in items)))
    for film in items:
        if film.outcome == "failed":
            note(f"line {film.line.number:>{width}}  failed  {film.result}", quiet=False)
