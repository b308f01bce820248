"""A file's recipe as a request to paint it again, or to finish it. A recipe is read as data and trusted with nothing:
it can name only verbs that paint, only files that it lists as read, and only regular files and folders of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from sora import catalog, media, weights
from sora.errors import InputError, UsageError
from sora.jobs import loras
from sora.plan import flags
from sora.plan.recipe import Recipe, digest_of, from_record, record_of, sha256_of
from sora.plan.recipe_format_1 import converted, finished
from sora.plan.request import Request, changed, fields
from sora.plan.verbs import VERBS, Verb
from sora.runtime import threads

FINISHING = 0.6  # strength at which a draft is painted over
MOST_FILES_OF_A_FOLDER = 100_000
LARGEST_INPUT = 1 << 38  # bytes; the kernel's own files claim to be larger

Tell = Callable[[str], None]


def read(file: Path, tell: Tell) -> Recipe:
    """The recipe inside a file, whose inputs are what they were. tell: is told of each file that will be read and lies
    outside the film's folder. Raises InputError."""
    recipe = recipe_of(file)
    _check_inputs(file, recipe, tell)
    return recipe


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
        _check_regular(file, Path(path))
        return recipe_of(Path(path), drafts=False).request

    return converted(record, draft_request)


def remade(file: Path, recipe: Recipe, words: Sequence[str]) -> tuple[Request, set[str]]:
    """(the request of a recipe with what follows ``remake FILE``, names of the fields that were said there). Raises
    UsageError."""
    request = recipe.request
    values, rest = flags.parse(request.verb, _row(request), words)
    if rest:
        raise UsageError(f"unexpected extra argument {rest[0]!r} after {file}; options begin with --")
    return changed(request, values), set(values)


def _row(request: Request) -> Verb:
    """The verb with its draft's own strength in place of another, where a draft was finished."""
    row = VERBS[request.verb]
    if request.draft_file is None:
        return row
    return replace(row, options=(*(name for name in row.options if name != "strength"), "draft_strength"))


def finish(file: Path, recipe: Recipe, values: dict[str, Any]) -> Request:
    """The request that finishes a draft. values: fields that are said. Raises UsageError and InputError."""
    request = finished(recipe.request, {"draft_file": str(file)})
    keeps = request.clip is not None
    if keeps and ("size" in values or "aspect" in values):
        raise UsageError(f"{request.verb} keeps its clip's own size; leave --size and --aspect out")
    strength = values.get("draft_strength")
    return changed(request, values | {"draft_strength": FINISHING if strength is None else strength})


def changes_since(recipe: Recipe) -> list[str]:
    """What has changed since a recipe was written, of what decides about pixels; the machine is not asked."""
    found = ["torch"] if version("torch") != recipe.torch else []
    spec = catalog.MODELS.get(recipe.request.model or catalog.DEFAULT)
    if spec is not None and not spec.repo:
        own = {sha256_of(weights.asset(each.files[0])) for each in (spec, spec.with_guidance())}
        found += [] if recipe.weights in own else ["weights"]
    return found


def threads_of(recipe: Recipe) -> tuple[int | None, str]:
    """(how many threads to paint with again, None where that is free; what a person should know of it, if anything)."""
    if recipe.device != "cpu" or recipe.threads < 1:
        return None, ""
    most = threads.most(os.environ)
    if recipe.threads <= most:
        return recipe.threads, ""
    return None, f"was painted by {recipe.threads} threads, and there are {most} here; the frames may differ a little"


def _check_inputs(file: Path, recipe: Recipe, tell: Tell) -> None:
    """Raises InputError for a file that the recipe does not list as read, and for one that is not what it was."""
    listed = {Path(path).absolute() for path, _ in recipe.inputs}
    for path in _named(recipe.request):
        if Path(path).absolute() not in listed:
            raise InputError(f"the recipe of {file} reads {path}, which it does not list; it was damaged")
    home, own = file.absolute().parent, _own_model(recipe.request)
    read = [*dict.fromkeys([*(path for path, _ in recipe.inputs), *own])]
    for path in read:
        _check_regular(file, Path(path))
    for path, digest in recipe.inputs:
        if digest_of(path) != digest:
            raise InputError(f"{file} was made from {path}, which has changed since; put the old one back")
    for path in read:
        if Path(path).absolute().parent != home:
            tell(f"the recipe of {file} reads {path}")


def _named(request: Request) -> list[str]:
    """Every file that a request names, but the model's."""
    paths = [getattr(request, name) for name, field in fields().items() if field.path and name != "model"]
    return [path for path in paths if path is not None] + [str(loras.split(text).path) for text in request.loras]


def _own_model(request: Request) -> list[str]:
    """The model, where it is a person's own folder or file."""
    return [request.model] if request.model and request.model not in catalog.MODELS else []


def _check_regular(file: Path, path: Path) -> None:
    """Raises InputError for what is gone, and for what is neither a regular file with something in it nor a folder of
    such: a device, a pipe or a kernel's own file could be read for ever."""
    try:
        for each in _files(path):
            mode, size = (found := each.stat()).st_mode, found.st_size
            if not stat.S_ISREG(mode) or not 0 < size <= LARGEST_INPUT:
                raise InputError(f"{file} was made from {each}, which is not a regular file; its recipe was damaged")
    except FileNotFoundError:
        raise InputError(f"{file} was made from {path}, which is gone; put it back") from None
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise InputError(f"{file} was made from {path}, which cannot be read ({told})") from None


def _files(path: Path) -> Iterator[Path]:
    """A file, or what lies in a folder and its folders, a bounded number."""
    if not path.is_dir():
        yield path
        return
    inside = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    yield from islice(inside, MOST_FILES_OF_A_FOLDER)
