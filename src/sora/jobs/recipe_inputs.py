"""The files that a recipe was made from: all of them listed, regular files and folders of them, and what they were.

A recipe in a file names them, and earlier formats hold absolute paths. A name is looked for in what the person gave, in
the film's own folder, and where this machine saw the digest last; whatever the place, only a file of the listed digest
is taken. So a recipe can have nothing read whose contents its author did not know.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sora import catalog, weights
from sora.catalog import repositories
from sora.errors import InputError, SoraError, UsageError
from sora.jobs import input_paths, loras
from sora.jobs.inputs import Inputs
from sora.plan.recipe import WEIGHTS, Recipe, digest_of
from sora.plan.recipe_names import is_in_memory, is_name, model_paths, possible_names, with_paths
from sora.plan.request import Request, fields, files_of

MAX_FOLDER_FILES = 100_000  # and folders
MAX_INPUT_BYTES = 1 << 38  # bytes; the kernel's own files claim to be larger
NAMES_FORMAT = 3  # of recipes in files, from which on they hold names
SHOWN_DIGITS = 12  # of a digest, for a person

_DIGEST = re.compile(rf"({WEIGHTS})?[0-9a-f]{{64}}")


def located(film: Path, recipe: Recipe, given: Sequence[str] = (), replaced: Collection[str] = ()) -> Recipe:
    """A file's recipe with the absolute paths of what it was made from. given: files and folders that a person named to
    look in. replaced: fields of the request that will not be used, whose files need not be there. Raises InputError for
    what is not listed, not found or not what it was."""
    holds_names = recipe.format >= NAMES_FORMAT
    _check_listed(str(film), recipe)
    if holds_names:
        _check_names(str(film), recipe)
    blank = {name: () if fields()[name].is_list else None for name in replaced if name in fields()}
    remaining = msgspec.structs.replace(recipe, request=msgspec.structs.replace(recipe.request, **blank))
    used = dict.fromkeys([*_request_files(str(film), remaining.request), *own_model(remaining)])
    _refuse_memory(str(film), used)
    for path in () if holds_names else used:
        check_regular(str(film), path, may_be_gone=True)
    paths = _found(Finder(str(film), film.absolute().parent, _existing(given)), recipe, used)
    inputs = tuple((paths.get(path, path), digest) for path, digest in recipe.inputs)
    return msgspec.structs.replace(recipe, request=with_paths(recipe.request, paths), inputs=inputs)


def _existing(given: Sequence[str]) -> tuple[Path, ...]:
    """Raises InputError for a place that there is not."""
    places = tuple(map(Path, given))
    for place in places:
        if not os.path.lexists(place):
            raise InputError(f"--inputs {place} is not there; expected a file, or a folder to look in")
    return places


def _found(finder: Finder, recipe: Recipe, used: Iterable[str]) -> dict[str, str]:
    """The absolute path of each file. Weights in recipes that do not list them have a path, and are taken as they are
    where something is there. Raises InputError."""
    digests, paths = dict(recipe.inputs), dict[str, str]()
    for path in used:
        unlisted = path not in digests
        is_there = unlisted and os.path.lexists(path)
        paths[path] = path if is_there else finder.find(path, WEIGHTS + recipe.weights if unlisted else digests[path])
    for path, digest in recipe.inputs:
        if path in paths and digests[path] != digest:
            raise finder.changed_error(path, Path(paths[path]))
    return paths


def check(film: str, recipe: Recipe, files: Inputs) -> None:
    """Raises InputError for what a recipe in memory was made from and is not what it was. files: hold those that are in
    memory, too."""
    _check_listed(film, recipe)
    finder = Finder(film)
    listed = [(path, digest) for path, digest in recipe.inputs if path not in files]
    _refuse_memory(film, [path for path, _ in listed])
    for path, digest in listed:
        check_regular(film, path)
        if finder.find(path, digest) != path:
            raise finder.changed_error(path, Path(path))


@dataclass(frozen=True)
class Finder:
    """Looks for what a film was made from. folder: the film's own; None for a film in no file. given: files and folders
    that a person named."""

    film: str
    folder: Path | None = None
    given: tuple[Path, ...] = ()
    digests: dict[tuple[Path, bool], str] = field(default_factory=dict)

    def find(self, name: str, digest: str) -> str:
        """The absolute path of the file that a recipe calls so, by a name or a path. Raises InputError."""
        other: Path | None = None
        for path in self._candidates(name, digest):
            if self._digest(path, weights_alone=digest.startswith(WEIGHTS)) == digest:
                return str(path.absolute())
            other = other or path
        raise self._missing_error(name, digest) if other is None else self.changed_error(name, other)

    def changed_error(self, name: str, path: Path) -> InputError:
        """path: where something else is now."""
        where = "" if str(path) == name else f" ({path})"
        hint = "put the old one back, or say where it is with --inputs"
        return InputError(f"{self.film} was made from {name}, which has changed since{where}; {hint}")

    def _missing_error(self, name: str, digest: str) -> InputError:
        if Path(name).is_absolute():
            hint = "put it back, or say where it is with --inputs"
            return InputError(f"{self.film} was made from {name}, which is gone; {hint}")
        kind, digits = ("weights", digest.removeprefix(WEIGHTS)) if digest.startswith(WEIGHTS) else ("sha256", digest)
        which = f"{name} ({kind} {digits[:SHOWN_DIGITS]})"
        hint = "put it there, or say where it is with --inputs"
        return InputError(f"{self.film} was made from {which}, which is not found beside it; {hint}")

    def _candidates(self, name: str, digest: str) -> Iterator[Path]:
        """What may be it, each a regular file or a folder of them."""
        places = [Path(name)] if Path(name).is_absolute() else []
        own_names = possible_names(Path(name).name)
        for place in self.given:
            places += [place / each for each in own_names] if place.is_dir() else [place]
            places += [place] if place.is_dir() and place.name in own_names else []
        places += [self.folder / each for each in own_names] if self.folder is not None else []
        last_seen = input_paths.path_of(digest)
        for place in dict.fromkeys(places if last_seen is None else [*places, last_seen]):
            try:
                check_regular(self.film, str(place.absolute()))
            except InputError:
                continue
            yield place

    def _digest(self, path: Path, *, weights_alone: bool) -> str:
        """Empty for what cannot be read. weights_alone: tell what its files say they hold, and not all of it."""
        key = (path, weights_alone)
        if key not in self.digests:
            try:
                self.digests[key] = WEIGHTS + weights.fingerprint(path) if weights_alone else digest_of(path)
            except SoraError:
                self.digests[key] = ""
        return self.digests[key]


def own_model(recipe: Recipe) -> list[str]:
    """The model, where it is a person's own folder or file, or two files, whatever they are called."""
    model = recipe.request.model
    is_known = model is None or model in catalog.MODELS or (repositories.parse(model) and not os.path.lexists(model))
    is_own = not is_known or model in dict(recipe.inputs)
    return model_paths(model, dict(recipe.inputs)) if model and is_own else []


def _check_listed(film: str, recipe: Recipe) -> None:
    """Raises InputError for a file that the recipe does not list as read, and for one that it lists and has no use
    for."""
    listed = [path for path, _ in recipe.inputs]
    used, model = _request_files(film, recipe.request), own_model(recipe)
    for path in used:
        if path not in listed:
            raise unlisted_error(film, path)
    for path in listed:
        if path not in used and path not in model:
            raise InputError(f"the recipe of {film} lists {path}, for which it has no use; it was damaged")


def _check_names(film: str, recipe: Recipe) -> None:
    """Raises InputError for what is no name, for two digests of one, and for weights that are not listed."""
    for path in own_model(recipe):
        if path not in dict(recipe.inputs):
            raise unlisted_error(film, path)
    digests, model = dict(recipe.inputs), own_model(recipe)
    for name, digest in recipe.inputs:
        if digests[name] != digest:
            raise InputError(f"the recipe of {film} has two digests of {name}; it was damaged")
        if is_in_memory(name):
            continue
        if not is_name(name):
            raise InputError(f"the recipe of {film} reads {name}, which is no file's name alone; it was damaged")
        if not _DIGEST.fullmatch(digest) or (digest.startswith(WEIGHTS) and name not in model):
            raise InputError(f"the recipe of {film} has no digest of {name}; it was damaged")


def _refuse_memory(film: str, paths: Collection[str]) -> None:
    if any(map(is_in_memory, paths)):
        hint = "paint from a saved file to be able to paint it again"
        raise InputError(f"{film} was made from a clip or a picture in memory, which no file holds; {hint}")


def unlisted_error(film: str | Path, path: str) -> InputError:
    """Of a file that a recipe would have read."""
    return InputError(f"the recipe of {film} reads {path}, which it does not list; it was damaged")


def _request_files(film: str, request: Request) -> list[str]:
    """Every file that a request names, but the model's. Raises InputError."""
    paths = [path for several in files_of(request).values() for path in several]
    try:
        added = [str(loras.parse_flag(text).path) for text in request.loras]
    except UsageError as error:
        raise InputError(f"the recipe of {film} holds a LoRA that cannot be added ({error})") from None
    return paths + added


def check_regular(film: str | Path, path: str, *, may_be_gone: bool = False) -> None:
    """Raises InputError for a path that is not absolute, for what is gone, and for what is neither a regular file with
    something in it nor a folder of regular files: a device, a pipe or a kernel's own file could be read for ever."""
    if not Path(path).is_absolute():
        raise InputError(f"the recipe of {film} reads {path}, which is no absolute path; it was damaged")
    try:
        # A folder may hold an empty file; none is read further than its size.
        min_size = 0 if Path(path).is_dir() else 1
        for each in _files(Path(path)):
            mode, size = (found := each.stat()).st_mode, found.st_size
            if not stat.S_ISREG(mode) or not min_size <= size <= MAX_INPUT_BYTES:
                raise InputError(f"{film} was made from {each}, which is not a regular file; its recipe was damaged")
    except FileNotFoundError:
        if not may_be_gone:
            raise InputError(f"{film} was made from {path}, which is gone; put it back") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{film} was made from {path}, which cannot be read ({reason})") from None


def _files(path: Path) -> Iterator[Path]:
    """A file, or what lies in a folder and its folders. Raises InputError for a folder of too many."""
    if not path.is_dir():
        yield path
        return
    count = 0
    for folder, folders, names in os.walk(path, followlinks=True):
        count += 1 + len(folders) + len(names)
        if count > MAX_FOLDER_FILES:
            raise InputError(f"{path} holds over {MAX_FOLDER_FILES:,} files, more than a film is made from")
        yield from (Path(folder) / name for name in names)
