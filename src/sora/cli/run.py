"""From a command to files: its request, checked whole, then the model and every film, reported as they are done."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sora.cli import films, streams
from sora.cli.commands import ConsoleOptions, Invocation
from sora.cli.progress import Clock, note
from sora.errors import UsageError
from sora.jobs import job as jobs
from sora.jobs import lora_tags, prompt_files, replay
from sora.jobs.delivery import STANDARD_OUTPUT, Delivery, slug
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.jobs.session import Session, without_garbage_collection
from sora.media import target
from sora.plan import prompts
from sora.plan.recipe import Recipe
from sora.plan.request import Request
from sora.plan.verbs import VERBS

MAX_STDIN_BYTES = 1 << 21  # bytes; more than any prompt may have, so that a wrong pipe is not read to its end


def perform(invocation: Invocation) -> None:
    """Check everything, load the model, paint every variant; a path (or JSON) on stdout for each file as it is done."""
    clock, session = Clock(), Session()
    with streams.kept_for_film(invocation.delivery["output"] == STANDARD_OUTPUT):
        with without_garbage_collection():
            resolved, delivery = resolve_invocation(invocation)
        for line in invocation.notes:
            note(line, invocation.console.quiet)
        films.paint(resolved, delivery, invocation.console, session, clock)


def resolve_invocation(invocation: Invocation) -> tuple[ResolvedRequest, Delivery]:
    """What a command asks for, checked. Raises UsageError, InputError and ModelError."""
    delivery = Delivery(**invocation.delivery, done=jobs.published())
    if invocation.command == "finish":
        return _finish(invocation, delivery)
    if invocation.command == "remake":
        return _remake(invocation, delivery)
    return resolve(build_request(invocation), delivery), delivery


def build_request(invocation: Invocation) -> Request:
    """What a verb's own command asks for. Raises UsageError."""
    needs_words = "prompt" in VERBS[invocation.command].required and not invocation.values.get("shots")
    if needs_words and invocation.values.get("prompt") is None:
        raise UsageError('no prompt is given; expected PROMPT, as in "a red balloon floats up", or -f FILE')
    values, folders = prompt_files.with_shots(fill_from_stdin(invocation.values), read_stdin)
    return lora_tags.followed(Request(verb=invocation.command, **values), folders)  # type: ignore[arg-type]


def fill_from_stdin(values: dict[str, Any]) -> dict[str, Any]:
    """The same, with words that are asked of standard input. Raises UsageError."""
    return values | {"prompt": read_stdin_prompt()} if values.get("prompt") == "-" else values


def read_stdin_prompt() -> str:
    """The one prompt on standard input. Raises UsageError."""
    text = read_stdin()
    if len([line for line in prompts.lines(text) if line.strip()]) > 1:
        raise UsageError("standard input holds several lines; `-f -` paints a film of each, a space joins them to one")
    return prompts.clean(text)


def read_stdin() -> str:
    """A bounded piece of standard input: UTF-8 whatever the locale says, and in its encoding what is none. Raises
    UsageError."""
    data = sys.stdin.buffer.read(MAX_STDIN_BYTES)
    return prompts.decoded(data, "on standard input", getattr(sys.stdin, "encoding", None))


def _finish(invocation: Invocation, delivery: Delivery) -> tuple[ResolvedRequest, Delivery]:
    file = Path(invocation.file or "")
    recipe = replay.read(file, invocation.inputs)
    request = replay.finish_request(file, recipe, invocation.values)
    suffix = ".png" if request.verb == "image" else None
    delivery = replace(delivery, stem=f"{slug(file.stem) or 'film'}-finish", suffix=suffix)
    resolved = replay.resolve_replay(file, recipe, request, delivery)
    _note_inputs(file, recipe, invocation.console)
    return resolved, delivery


def _remake(invocation: Invocation, delivery: Delivery) -> tuple[ResolvedRequest, Delivery]:
    file = Path(invocation.file or "")
    if invocation.file and invocation.file.startswith("-") and not os.path.lexists(file):
        raise UsageError(f"{file} stands where the file should; name it first, as in sora remake film.mp4 --seed 5")
    recipe = replay.recipe_of(file)
    prompt = invocation.values.get("prompt")
    values, folders = prompt_files.with_shots(replay.values_in(file, recipe, invocation.extra_args), read_stdin)
    recipe = replay.located(file, recipe, invocation.inputs, values)
    values |= {} if prompt is None else fill_from_stdin({"prompt": prompt})
    request, notes = replay.remake_request(file, recipe, values)
    request = lora_tags.followed(request, folders, names=values)  # what the recipe says opens no file
    suffix = file.suffix.lower() if file.suffix.lower() in target.SUFFIXES else None
    suffix = target.FOLDER if file.is_dir() else suffix
    # What could be painted once can be painted again, whatever its words say.
    anyway = delivery.anyway or prompt is None
    delivery = replace(delivery, stem=f"{slug(file.stem) or 'film'}-remake", suffix=suffix, anyway=anyway)
    resolved = replay.resolve_replay(file, recipe, request, delivery)
    _note_inputs(file, recipe, invocation.console)
    for line in notes:
        note(line, quiet=False)
    return resolved, delivery


def _note_inputs(file: Path, recipe: Recipe, console: ConsoleOptions) -> None:
    """Once nothing can be refused any more, so that a refusal is one line."""
    for line in replay.input_notes(file, recipe):
        note(line, console.quiet)
