"""A file's recipe as a request to paint it again, or to finish it. A recipe is read as data and trusted with nothing:
it can name only verbs that paint, only one film, and only files that it lists as read, with their digests, which
``recipe_inputs`` finds. No other file is opened before all of that has been seen."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from sora import catalog, media, weights
from sora.errors import InputError, ModelError, SoraError, UsageError
from sora.jobs import recipe_inputs
from sora.jobs.delivery import Delivery, InMemory
from sora.jobs.inputs import Inputs
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.plan import flags, prompts
from sora.plan.recipe import Recipe, from_record, record_of, sha256_of
from sora.plan.recipe_format_1 import converted, finished
from sora.plan.recipe_names import is_in_memory
from sora.plan.request import Request, changed, to_data, with_files
from sora.plan.verbs import VERBS, Verb
from sora.runtime import threads

FINISH_STRENGTH = 0.6  # strength at which a draft is painted over


def read(file: Path, given: Sequence[str] = ()) -> Recipe:
    """The recipe inside a file, with the paths of its inputs, which are what they were. given: files and folders in
    which a person says they are. Raises InputError."""
    return located(file, recipe_of(file), given)


def located(file: Path, recipe: Recipe, given: Sequence[str], replaced: Collection[str] = ()) -> Recipe:
    """A file's recipe as ``read`` returns it. replaced: fields that will have other values, whose files need not be
    there. Raises InputError for a recipe that cannot be trusted too."""
    _check_prompts(str(file), recipe.request)
    return recipe_inputs.located(file, recipe, given, replaced)


def check(file: str, recipe: Recipe, files: Inputs) -> None:
    """Raises InputError for the recipe of a video in memory that cannot be trusted, and for inputs that are not what
    they were. file: what it is called, for a person. files: hold those that are in memory."""
    _check_prompts(file, recipe.request)
    recipe_inputs.check(file, recipe, files)


def recipe_of(file: Path, *, drafts: bool = True) -> Recipe:
    """The recipe inside a file, before any other file is looked at but the draft that an old recipe finished. drafts:
    whether it may be such a one. Raises InputError."""
    text = media.read_recipe(file)
    if text is None:
        raise InputError(f"{file} holds no recipe; expected a file that sora painted (see `sora info`)")
    record = record_of(text)
    if record.get("format", 1) != 1:
        return from_record(record)

    def draft_request(path: str) -> Request:
        if not drafts:
            raise InputError(f"the recipe of {file} finishes a film that was finished; paint the draft again")
        listed = record.get("inputs")
        if not isinstance(listed, list) or not any(isinstance(each, list) and path in each[:1] for each in listed):
            raise recipe_inputs.unlisted_error(file, path)
        recipe_inputs.check_regular(file, path)
        return recipe_of(Path(path), drafts=False).request

    return converted(record, draft_request)


def holds(file: Path, request: Request) -> bool:
    """Whether a file says that it was painted from this very request; of the files that it uses, only the names are
    compared."""
    try:
        return file.exists() and _without_folders(recipe_of(file).request) == _without_folders(request)
    except (SoraError, OSError, ValueError):
        return False


def _without_folders(request: Request) -> dict[str, Any]:
    model = request.model and Path(request.model).name
    loras = tuple(Path(text).name for text in request.loras)
    bare = msgspec.structs.replace(request, threads=None, gpus=None, model=model, loras=loras)
    return to_data(with_files(bare, lambda path: Path(path).name))


def resolve_replay(
    file: Path, recipe: Recipe, request: Request, delivery: Delivery, files: Inputs | None = None
) -> ResolvedRequest:
    """What the request means that was made of a file's recipe. Raises InputError where the recipe means nothing by
    itself, and otherwise what ``resolve`` does."""
    try:
        return resolve(request, delivery, files)
    except (UsageError, ModelError) as error:
        if recipe_error := _recipe_error(recipe.request, files):
            message = (
                f"the recipe of {file} is not one that sora can paint ({recipe_error}); it was damaged or is not sora's"
            )
            raise InputError(message) from None
        raise error


def input_notes(file: Path, recipe: Recipe) -> list[str]:
    """Each file that a recipe reads and that does not lie in the film's own folder, in a line for a person."""
    folder, own_model = file.resolve().parent, recipe_inputs.own_model(recipe)
    paths = dict.fromkeys([*(path for path, _ in recipe.inputs if not is_in_memory(path)), *own_model])
    return [f"the recipe of {file} reads {path}" for path in paths if Path(path).resolve().parent != folder]


def values_in(file: Path, recipe: Recipe, words: Sequence[str]) -> dict[str, Any]:
    """The fields that are set by the options after ``remake FILE``. Raises UsageError."""
    request = recipe.request
    values, rest = flags.parse(request.verb, row_of(request), words)
    if rest:
        raise UsageError(f"unexpected extra argument {rest[0]!r} after {file}; options begin with --")
    return values


def remake_request(file: Path, recipe: Recipe, values: dict[str, Any]) -> tuple[Request, list[str]]:
    """(the request of a recipe with other values for some of its fields, what a person should know of how the frames
    may differ without any)."""
    changes = changes_since(recipe)
    notes = [f"{file} was made with other {' and '.join(changes)}; the frames will differ"] if changes else []
    if "threads" not in values:
        count, threads_note = recorded_threads(recipe)
        values = values | {"threads": count}
        notes += [f"{file} {threads_note}"] if threads_note else []
    return changed(recipe.request, values), notes


def row_of(request: Request) -> Verb:
    """The verb with its draft's own strength in place of another, where a draft was finished."""
    row = VERBS[request.verb]
    if request.draft_file is None:
        return row
    return replace(row, options=(*(name for name in row.options if name != "strength"), "draft_strength"))


def finish_request(file: Path, recipe: Recipe, values: dict[str, Any]) -> Request:
    """The request that finishes a draft. values: fields to change. Raises UsageError and InputError."""
    request = finished(recipe.request, {"draft_file": str(file)})
    keeps_size = request.clip is not None
    if keeps_size and ("size" in values or "aspect" in values):
        raise UsageError(f"{request.verb} keeps its clip's own size; leave --size and --aspect out")
    request = msgspec.structs.replace(request, threads=None)  # how many painted the draft is of no matter
    strength = values.get("draft_strength")
    return changed(request, values | {"draft_strength": FINISH_STRENGTH if strength is None else strength})


def changes_since(recipe: Recipe) -> list[str]:
    """What has changed since a recipe was written, of what decides about pixels; the machine is not asked."""
    changes = ["torch"] if version("torch") != recipe.torch else []
    spec = catalog.MODELS.get(recipe.request.model or catalog.DEFAULT)
    if spec is not None and not spec.repo:
        own = {sha256_of(weights.asset(each.files[0])) for each in (spec, spec.with_guidance())}
        changes += [] if recipe.weights in own else ["weights"]
    return changes


def recorded_threads(recipe: Recipe) -> tuple[int | None, str]:
    """(how many threads to paint with again, None where that is free; what a person should know of it, if anything)."""
    if recipe.device != "cpu" or recipe.threads < 1:
        return None, ""
    available = threads.max_threads(os.environ)
    if recipe.threads <= available:
        return recipe.threads, ""
    return (
        None,
        f"was painted by {recipe.threads} threads, and there are {available} here; the frames may differ a little",
    )


def _recipe_error(request: Request, files: Inputs | None) -> SoraError | None:
    """Why a recipe's request cannot be painted as it stands, wherever the film would go; None where it can."""
    try:
        resolve(request, InMemory(anyway=True), files)
    except (UsageError, ModelError) as error:
        return error
    return None


def _check_prompts(file: str, request: Request) -> None:
    """Raises InputError for words that stand for several films: a recipe is of one."""
    try:
        variants = [prompts.variants(prompts.clean(text)) for text in request.shot_words if text is not None]
    except UsageError as error:
        raise InputError(f"the recipe of {file} holds words that cannot be painted ({error})") from None
    if any(len(each) > 1 for each in variants):
        raise InputError(f"the recipe of {file} stands for several films, expected the one it is in; it was damaged")
