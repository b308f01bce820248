"""Files of models of the Hugging Face hub: what is here, checking, removing. ``download`` fetches them.

They are in huggingface_hub's cache, under its settings (HF_HOME, HF_HUB_CACHE), so that they are shared with every
other program. What is here is read from the cache's folders, which that library documents, without it and without the
network: ``models--OWNER--NAME/refs/BRANCH`` says a commit, ``snapshots/COMMIT`` holds the files, as links into
``blobs``, whose names are the files' digests.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sora import weights
from sora.catalog import digests
from sora.catalog.spec import Fetchable
from sora.errors import ModelError
from sora.storage import regular
from sora.storage.stand_in import damage
from sora.weights import source

COMPLETE, PARTIAL, ABSENT = "complete", "partial", "absent"
MAX_JSON_BYTES = 64 << 20  # of a file in a model; a tokenizer of 256,384 words has 17 MB
OFFLINE = "HF_HUB_OFFLINE"  # what every program that uses the hub's library reads

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


@dataclass(frozen=True)
class LocalCopy:
    """state: COMPLETE, PARTIAL or ABSENT. bytes: on disk. folder: where the files are, None where none is. missing: of
    what the model needs, as far as the files that are here tell."""

    state: str
    bytes: int
    folder: Path | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileCheck:
    """A file after a look at all its bytes. problem: empty for one that is well."""

    name: str
    bytes: int
    problem: str = ""


def cache() -> Path:
    """The folder in which huggingface_hub keeps what it fetches."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def go_offline() -> Callable[[], None]:
    """From now on, this process and what it starts leave the network alone; what is returned takes that back."""
    before, library = os.environ.get(OFFLINE), sys.modules.get("huggingface_hub.constants")
    was_offline = getattr(library, OFFLINE, False)
    os.environ[OFFLINE] = "1"
    _tell(library, True)

    def go_back() -> None:
        os.environ.pop(OFFLINE) if before is None else os.environ.update({OFFLINE: before})
        _tell(sys.modules.get("huggingface_hub.constants"), was_offline)

    return go_back


def is_offline() -> bool:
    """Whether this process must leave the network alone."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _tell(library: Any, offline: bool) -> None:
    """To a library that read its setting already."""
    if library is not None:
        setattr(library, OFFLINE, offline)


def local_copy(spec: Fetchable) -> LocalCopy:
    """What of a model is on this machine. Asks neither the network nor torch."""
    place = _place(spec)
    stray = sum(map(_size, _unfinished(spec)))
    if place is None or not place.exists():
        return LocalCopy(PARTIAL if stray else ABSENT, stray, None, spec.files)
    lacking, bytes_here = tuple(missing(place, spec.files)), sum(map(_size, _wanted(place, spec)))
    if not lacking:
        return LocalCopy(COMPLETE, bytes_here, place)
    return LocalCopy(PARTIAL if bytes_here + stray else ABSENT, bytes_here + stray, place, lacking)


def local_path(spec: Fetchable) -> Path:
    """The folder (or the one file) of a model that is here in all. Raises ModelError, saying how to fetch it."""
    found = local_copy(spec)
    if found.state == COMPLETE and found.folder is not None:
        return found.folder
    if not spec.repo:
        raise lacks(spec.name, found.missing)
    problem = "is not here" if found.state == ABSENT else f"is here only in part ({gigabytes(found.bytes)})"
    size = f" ({gigabytes(spec.bytes)})" if spec.bytes else ""
    raise ModelError(f"{spec.name} {problem}; fetch it with: sora models pull {spec.name}{size}")


def lacks(name: str, parts: tuple[str, ...]) -> ModelError:
    """Of a model that a person brought, or that is part of the package, without some of its parts."""
    return ModelError(f"{name} lacks {abbreviate(parts, 8)}; put {'it' if len(parts) == 1 else 'them'} back")


def check(spec: Fetchable) -> None:
    """Raises ModelError, before anything is loaded, for a model that is not here in all, or of which a file cannot be
    what its name says, from the beginnings of its files alone."""
    found = local_copy(spec)
    for name in found.missing:
        if found.folder is not None and name.endswith("*.safetensors"):
            source.refuse_pickles(found.folder / name.rpartition("/")[0])  # which says more than that it is missing
    local_path(spec)
    for place in spec.own_paths:
        for file in _read_files(place, spec):
            if problem := _unreadable(file):
                raise ModelError(problem)


def _read_files(place: Path, spec: Fetchable) -> Iterator[Path]:
    """Those of a model's files that are read; others may be there, too. Raises ModelError."""
    for name in spec.files if place.is_dir() else ():
        if name.endswith("*.safetensors"):
            yield from source.files(place / name.rpartition("/")[0])
        elif "*" not in name:
            yield place / name
    if not spec.files:
        yield from _wanted(place, spec)


def verify(spec: Fetchable, on_progress: Progress | None = None) -> Iterator[FileCheck]:
    """Every file of a model that is here, looked at in all its bytes: against the digest that the hub gave, where there
    is one, and for what its kind must be. Then what is missing. Raises ModelError where nothing is here."""
    found = local_copy(spec)
    if found.folder is None or found.state == ABSENT:
        local_path(spec)
        return
    files = sorted({file for place in spec.own_paths or (found.folder,) for file in _wanted(place, spec)})
    total, done = sum(map(_size, files)), 0

    def report_bytes(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    for file in files:
        name = file.name if file in spec.own_paths else file.relative_to(found.folder).as_posix()
        yield FileCheck(name, _size(file), _problem(file, report_bytes))
    yield from (FileCheck(name, 0, "missing") for name in found.missing)


def checked(spec: Fetchable) -> tuple[int, int]:
    """How many files of a model were found to have the digest that the hub gave, when they came or later, and have not
    changed since; and how many are here."""
    found = local_copy(spec)
    files = list(_wanted(found.folder, spec)) if spec.repo and found.folder else []
    return sum(file.is_symlink() and digests.is_recorded(file, file.readlink().name) for file in files), len(files)


def remove(spec: Fetchable) -> int:
    """Deletes a model's files from the cache, but those that other revisions share; the bytes that are free now.
    Raises ModelError for what is not there, or not there to be removed."""
    if not spec.repo:
        whose = "a folder of your own; delete it yourself" if spec.folder else "part of sora itself; it stays"
        raise ModelError(f"{spec.name} is {whose}")
    found = local_copy(spec)
    if found.state == ABSENT:
        raise ModelError(f"{spec.name} is not here; there is nothing to remove")
    from shutil import rmtree

    from huggingface_hub import scan_cache_dir

    commit, scan = _commit(spec), scan_cache_dir(cache())
    for blob in (repo_folder(spec) / "blobs").glob("*"):
        digests.forget(blob.name)
    known = {revision.commit_hash for repo in scan.repos if repo.repo_id == spec.repo for revision in repo.revisions}
    try:
        if commit in known:
            strategy = scan.delete_revisions(str(commit))
            strategy.execute()
            return int(strategy.expected_freed_size)
        if known or (repo_folder(spec) / "snapshots").exists():
            raise ModelError(f"the cache of {spec.name} is damaged; delete {repo_folder(spec)} yourself")
        rmtree(repo_folder(spec))  # a fetch that broke off before its first file left no revision
        return found.bytes
    except OSError as error:
        raise ModelError(f"{spec.name} cannot be removed from {cache()} ({error.strerror or error})") from None


def gigabytes(count: float) -> str:
    """'28.9 GB', in thousands, as disks are sold and the hub counts."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def repo_folder(spec: Fetchable) -> Path:
    return cache() / f"models--{spec.repo.replace('/', '--')}"


def commit_of(path: Path) -> str:
    """The commit of the snapshot that a path leads into; empty for a path outside the cache."""
    found = re.search(r"/snapshots/([0-9a-f]{40})(?:/|$)", path.as_posix())
    return found[1] if found else ""


def _commit(spec: Fetchable) -> str | None:
    """The commit that the pinned revision is, as far as the cache knows."""
    try:
        return (repo_folder(spec) / "refs" / spec.revision).read_text(encoding="utf-8").strip()
    except OSError:
        return spec.revision if digests.is_commit(spec.revision) else None


def _place(spec: Fetchable) -> Path | None:
    """Where a model's files are, if they are."""
    if spec.folder is not None:
        return spec.folder
    if not spec.repo:
        return weights.ASSETS
    commit = _commit(spec)
    return repo_folder(spec) / "snapshots" / commit if commit else None


def _unfinished(spec: Fetchable) -> Iterator[Path]:
    """Files of which only the beginning has come."""
    return (repo_folder(spec) / "blobs").glob("*.incomplete") if spec.repo else iter(())


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _wanted(place: Path, spec: Fetchable) -> Iterator[Path]:
    """A file, or the files of a folder that the model needs; no other file there is looked at."""
    if place.is_file():
        yield place
        return
    for file in place.rglob("*"):
        name = file.relative_to(place).as_posix()
        if file.is_file() and (is_wanted(name, spec.files) if spec.files else file.suffix in source.READ):
            yield file


def is_wanted(name: str, wanted: tuple[str, ...]) -> bool:
    """Whether a file's name is among names and patterns."""
    return name in wanted or any(fnmatch(name, pattern) for pattern in wanted)


def missing(folder: Path, wanted: tuple[str, ...]) -> Iterator[str]:
    """What is not there of names, of which each must be, and of patterns of weights, of which all shards must be. A
    part of which nothing is there is named once."""
    gone: set[str] = set()
    for name in wanted:
        subfolder = name.rpartition("/")[0]
        if subfolder and not (folder / subfolder).is_dir():
            if subfolder not in gone:
                yield subfolder
            gone.add(subfolder)
        elif "*" not in name:
            if not (folder / name).is_file():
                yield name
        elif name.endswith(".safetensors"):
            shards = _missing_shards(folder / subfolder)
            yield from [name] if shards is None else (f"{subfolder}/{shard}" for shard in shards)


def _missing_shards(folder: Path) -> list[str] | None:
    """Those that a folder of weights lacks; None for one without any weights."""
    with suppress(ModelError):
        source.files(folder)
        return []
    found = {file.name for file in folder.iterdir() if file.suffix in source.READ and file.is_file()}
    every = {shard for file in found for shard in source.all_shards(file)} | _indexed(folder)
    return sorted(every - found) if found or every else None


def _indexed(folder: Path) -> set[str]:
    """The shards that the indices in a folder name, as far as they can be read."""
    found: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found |= {str(name) for name in regular.read_json(index)["weight_map"].values()}
    return found


def abbreviate(names: tuple[str, ...], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _problem(file: Path, on_bytes: Callable[[int], None]) -> str:
    """What is wrong with a file; empty for nothing."""
    digest = file.readlink().name if file.is_symlink() else ""
    try:
        if digests.of_file(file, digest, on_bytes) != digest:
            digests.forget(digest)
            return f"damaged: other bytes than were published; delete {file.resolve()}"
        digests.record(file, digest)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return _unreadable(file, MAX_JSON_BYTES)


def _unreadable(file: Path, max_json_bytes: int = regular.MAX_JSON_BYTES) -> str:
    """Why a file cannot be what its name says; empty for one that can. max_json_bytes: of settings that are read; a
    larger tokenizer is checked where it is used."""
    try:
        if file.suffix in source.READ:
            weights.shapes(file)
        elif file.suffix == ".json" and _size(file) <= max_json_bytes:
            regular.read_json(file, max_json_bytes)
    except ModelError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{file} is {damage(file, getattr(error, 'strerror', None) or error)}"
    return ""
