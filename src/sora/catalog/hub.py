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
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sora import weights
from sora.catalog import digests
from sora.catalog.spec import ModelSpec
from sora.errors import ModelError
from sora.storage import regular

COMPLETE, PARTIAL, ABSENT = "complete", "partial", "absent"
OFFLINE = "HF_HUB_OFFLINE"  # what every program that uses the hub's library reads

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)

MAX_JSON_BYTES = 64 << 20  # of a file in a model; a tokenizer of 256,384 words has 17 MB
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


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


def local_copy(spec: ModelSpec) -> LocalCopy:
    """What of a model is on this machine. Asks neither the network nor torch."""
    place = _place(spec)
    stray = sum(map(_size, _unfinished(spec)))
    if place is None or not place.exists():
        return LocalCopy(PARTIAL if stray else ABSENT, stray, None, spec.files)
    if place.is_file():
        return LocalCopy(COMPLETE, _size(place), place)
    missing, bytes_here = tuple(_missing(place, spec.files)), sum(map(_size, _wanted(place, spec)))
    if not missing:
        return LocalCopy(COMPLETE, bytes_here, place)
    return LocalCopy(PARTIAL if bytes_here + stray else ABSENT, bytes_here + stray, place, missing)


def local_path(spec: ModelSpec) -> Path:
    """The folder (or the one file) of a model that is here in all. Raises ModelError, saying how to fetch it."""
    found = local_copy(spec)
    if found.state == COMPLETE and found.folder is not None:
        return found.folder
    if not spec.repo:
        raise ModelError(f"{spec.name} lacks {abbreviate(found.missing)}; put it back")
    problem = "is not here" if found.state == ABSENT else f"is here only in part ({gigabytes(found.bytes)})"
    raise ModelError(f"{spec.name} {problem}; fetch it with: sora models pull {spec.name} ({gigabytes(spec.bytes)})")


def verify(spec: ModelSpec, on_progress: Progress | None = None) -> Iterator[FileCheck]:
    """Every file of a model that is here, looked at in all its bytes: against the digest that the hub gave, where there
    is one, and for what its kind must be. Then what is missing. Raises ModelError where nothing is here."""
    found = local_copy(spec)
    if found.folder is None or found.state == ABSENT:
        local_path(spec)
        return
    files = [found.folder] if found.folder.is_file() else sorted(_wanted(found.folder, spec))
    total, done = sum(map(_size, files)), 0

    def report_bytes(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    for file in files:
        name = file.name if file == found.folder else file.relative_to(found.folder).as_posix()
        yield FileCheck(name, _size(file), _problem(file, report_bytes))
    yield from (FileCheck(name, 0, "missing") for name in found.missing)


def checked(spec: ModelSpec) -> tuple[int, int]:
    """How many files of a model were found to have the digest that the hub gave, when they came or later, and have not
    changed since; and how many are here."""
    found = local_copy(spec)
    files = list(_wanted(found.folder, spec)) if spec.repo and found.folder and found.folder.is_dir() else []
    return sum(file.is_symlink() and digests.is_recorded(file, file.readlink().name) for file in files), len(files)


def remove(spec: ModelSpec) -> int:
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


def repo_folder(spec: ModelSpec) -> Path:
    return cache() / f"models--{spec.repo.replace('/', '--')}"


def _commit(spec: ModelSpec) -> str | None:
    """The commit that the pinned revision is, as far as the cache knows."""
    try:
        return (repo_folder(spec) / "refs" / spec.revision).read_text(encoding="utf-8").strip()
    except OSError:
        return spec.revision if re.fullmatch(r"[0-9a-f]{40}", spec.revision) else None


def _place(spec: ModelSpec) -> Path | None:
    """Where a model's files are, if they are."""
    if spec.folder is not None:
        return spec.folder
    if not spec.repo:
        return weights.ASSETS
    commit = _commit(spec)
    return repo_folder(spec) / "snapshots" / commit if commit else None


def _unfinished(spec: ModelSpec) -> Iterator[Path]:
    """Files of which only the beginning has come."""
    return (repo_folder(spec) / "blobs").glob("*.incomplete") if spec.repo else iter(())


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _wanted(folder: Path, spec: ModelSpec) -> Iterator[Path]:
    """The files of a folder that the model needs; no other file there is looked at."""
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and any(fnmatch(name, pattern) for pattern in spec.files):
            yield file


def _missing(folder: Path, wanted: tuple[str, ...]) -> Iterator[str]:
    """What is not there of names, of which each must be, and of patterns of weights, of which all shards must be."""
    for name in wanted:
        if "*" not in name:
            if not (folder / name).is_file():
                yield name
        elif name.endswith(".safetensors"):
            found = {file.name for file in folder.glob(name) if file.is_file()}
            subfolder = name.rsplit("/", 1)[0]
            lacking = sorted(shard for shard in _shards(found) if shard not in found)
            yield from [name] if not found else (f"{subfolder}/{shard}" for shard in lacking)


def _shards(names: set[str]) -> set[str]:
    """All shards of the weights of which some are named, which each say how many they are."""
    every: set[str] = set()
    for name in names:
        if match := _SHARD.search(name):
            stem, count = name[: match.start()], int(match[2])
            every |= {f"{stem}-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)}
    return every


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
        if file.suffix == ".safetensors":
            weights.shapes(file)
        elif file.suffix == ".json":
            regular.read_json(file, MAX_JSON_BYTES)
    except ModelError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return ""
