"""Files of models on the Hugging Face hub: what is here, fetching, checking, removing.

All of it is huggingface_hub's, in its own cache and under its own settings (HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE,
HF_TOKEN), so that files are shared with every other program. What is here is read from the cache's folders, which that
library documents, without it and without the network: ``models--OWNER--NAME/refs/BRANCH`` says a commit,
``snapshots/COMMIT`` holds the files, as links into ``blobs``, whose names are the files' digests.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from sora import weights
from sora.catalog.spec import ModelSpec
from sora.errors import ModelError

COMPLETE, PARTIAL, ABSENT = "complete", "partial", "absent"
SLACK = 1 << 30  # bytes of the disk that a fetch leaves free
EVERY = 0.5  # seconds between two looks at how much has come

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)

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


def own_cache() -> Path:
    """The folder of what sora itself keeps to save time; whoever removes it loses time alone."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(os.environ.get("SORA_CACHE") or (Path(home) / "sora" if home else Path.home() / ".cache" / "sora"))


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
        raise ModelError(f"{spec.name} lacks {_abbreviate(found.missing)}; put it back")
    problem = "is not here" if found.state == ABSENT else f"is here only in part ({gigabytes(found.bytes)})"
    raise ModelError(f"{spec.name} {problem}; fetch it with: sora models pull {spec.name} ({gigabytes(spec.bytes)})")


def pull(spec: ModelSpec, on_progress: Progress | None = None) -> Path:
    """Fetches what a model still lacks, at its pinned revision, and says where it is. What an earlier fetch left is
    gone on from. Raises ModelError where the hub or the disk refuses."""
    before = local_copy(spec)
    if before.state == COMPLETE or not spec.repo:
        return local_path(spec)
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ModelError(f"{spec.name} cannot be fetched: HF_HUB_OFFLINE is set; unset it, or say --model FOLDER")
    _check_room(spec, before)
    from huggingface_hub import snapshot_download

    try:
        with _quiet(), _watched(spec, on_progress):
            snapshot_download(
                repo_id=spec.repo, revision=spec.revision, allow_patterns=list(spec.files), cache_dir=str(cache())
            )
    except Exception as error:
        raise _explained(error, spec) from None
    after = local_copy(spec)
    if after.state != COMPLETE:
        raise ModelError(f"{spec.repo} lacks {_abbreviate(after.missing)} on the hub too; a newer sora may know why")
    return local_path(spec)


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
    known = {revision.commit_hash for repo in scan.repos if repo.repo_id == spec.repo for revision in repo.revisions}
    try:
        if commit in known:
            strategy = scan.delete_revisions(str(commit))
            strategy.execute()
            return int(strategy.expected_freed_size)
        if known or (_repo(spec) / "snapshots").exists():
            raise ModelError(f"the cache of {spec.name} is damaged; delete {_repo(spec)} yourself")
        rmtree(_repo(spec))  # a fetch that broke off before its first file left no revision
        return found.bytes
    except OSError as error:
        raise ModelError(f"{spec.name} cannot be removed from {cache()} ({error.strerror or error})") from None


def gigabytes(count: float) -> str:
    """'28.9 GB', in thousands, as disks are sold and the hub counts."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def _repo(spec: ModelSpec) -> Path:
    return cache() / f"models--{spec.repo.replace('/', '--')}"


def _commit(spec: ModelSpec) -> str | None:
    """The commit that the pinned revision is, as far as the cache knows."""
    try:
        return (_repo(spec) / "refs" / spec.revision).read_text(encoding="utf-8").strip()
    except OSError:
        return spec.revision if re.fullmatch(r"[0-9a-f]{40}", spec.revision) else None


def _place(spec: ModelSpec) -> Path | None:
    """Where a model's files are, if they are."""
    if spec.folder is not None:
        return spec.folder
    if not spec.repo:
        return weights.ASSETS
    commit = _commit(spec)
    return _repo(spec) / "snapshots" / commit if commit else None


def _unfinished(spec: ModelSpec) -> Iterator[Path]:
    """Files of which only the beginning has come."""
    return (_repo(spec) / "blobs").glob("*.incomplete") if spec.repo else iter(())


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


def _abbreviate(names: tuple[str, ...], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _check_room(spec: ModelSpec, before: LocalCopy) -> None:
    """Raises ModelError where the disk cannot take what is still to come."""
    from shutil import disk_usage

    root = cache()
    while not root.exists() and root != root.parent:
        root = root.parent
    needed, free = max(0, spec.bytes - before.bytes) + SLACK, disk_usage(root).free
    if free < needed:
        message = f"{spec.name} needs {gigabytes(needed)} of disk, and {cache()} has {gigabytes(free)} free"
        raise ModelError(f"{message}; free some, or set HF_HOME to a folder on a larger disk")


@contextmanager
def _quiet() -> Iterator[None]:
    """huggingface_hub's own bars rest: whoever called shows one, or none."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    rested = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not rested:
            enable_progress_bars()


@contextmanager
def _watched(spec: ModelSpec, on_progress: Progress | None) -> Iterator[None]:
    """Tells, while files come, how many bytes of them are on disk: the one measure that every version of the library
    and every way it fetches by have in common."""
    if on_progress is None:
        yield
        return
    from threading import Event, Thread

    began, enough = time.time(), Event()

    def tell() -> None:
        on_progress(min(_come(spec, began), spec.bytes), spec.bytes)

    def watch() -> None:
        while not enough.wait(EVERY):
            tell()

    watcher = Thread(target=watch, daemon=True)
    tell()
    watcher.start()
    try:
        yield
        tell()
    finally:
        enough.set()
        watcher.join()


def _come(spec: ModelSpec, since: float) -> int:
    """Bytes on disk of what is being fetched; unfinished files that nobody goes on with are not counted."""
    total = 0
    for file in (_repo(spec) / "blobs").glob("*"):
        try:
            facts = file.stat()
        except OSError:  # it was finished and renamed meanwhile
            continue
        if file.suffix != ".incomplete" or facts.st_mtime >= since:
            total += facts.st_size
    return total


def _problem(file: Path, on_bytes: Callable[[int], None]) -> str:
    """What is wrong with a file; empty for nothing."""
    digest = file.readlink().name if file.is_symlink() else ""
    try:
        if _digest(file, digest, on_bytes) != digest:
            return f"damaged: other bytes than were published; delete {file.resolve()}"
        if file.suffix == ".safetensors":
            weights.shapes(file)
        elif file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
    except ModelError as error:
        return str(error)
    except (OSError, ValueError, RecursionError) as error:
        return f"cannot be read ({error})"
    return ""


def _digest(file: Path, name: str, on_bytes: Callable[[int], None]) -> str:
    """The digest of a file's bytes, of the kind of a blob's name: SHA-256 for large files, git's for small ones. For
    any other name, which says no digest, the name itself."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
        on_bytes(_size(file))
        return name
    import hashlib

    whole = hashlib.sha256() if len(name) == 64 else hashlib.sha1(b"blob %d\0" % _size(file), usedforsecurity=False)
    with file.open("rb") as opened:
        while piece := opened.read(1 << 22):
            whole.update(piece)
            on_bytes(len(piece))
    return whole.hexdigest()


def _explained(error: Exception, spec: ModelSpec) -> ModelError:
    """What went wrong while fetching, and what to do. Anything but an answer of the hub, the network or the disk is a
    bug, and is raised as it is."""
    from huggingface_hub import errors

    command = f"sora models pull {spec.name}"
    whole = f"{error} {error.__cause__ or ''}"
    answers = (getattr(getattr(cause, "response", None), "status_code", None) for cause in (error, error.__cause__))
    answer = next((code for code in answers if code is not None), None)
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in whole:
        reason = f"the disk of {cache()} is full; free {gigabytes(spec.bytes)}, then go on with: {command}"
    elif isinstance(error, PermissionError):
        reason = f"{cache()} cannot be written to; set HF_HOME to a folder that can"
    elif isinstance(error, errors.GatedRepoError):
        page = f"https://huggingface.co/{spec.repo}"
        reason = f"it is gated; accept its licence at {page}, log in with `hf auth login`, then: {command}"
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = f"{spec.repo} has no {spec.revision} any more; a newer sora may name another"
    elif isinstance(error, errors.RepositoryNotFoundError):
        reason = f"the hub shows no {spec.repo} (401 or 404); if it is private, log in with `hf auth login`"
    elif answer in (401, 403):
        reason = f"the hub refuses ({answer}); log in with `hf auth login`, then: {command}"
    elif answer is not None:
        reason = f"the hub answered {answer}; try again later: {command}"
    elif isinstance(error, OSError) or _of_the_network(error):
        reason = f"the hub cannot be reached ({_first_line(error)}); what has come stays, go on with: {command}"
    else:
        raise error
    return ModelError(f"{spec.name} could not be fetched: {reason}")


def _of_the_network(error: Exception) -> bool:
    libraries = ("httpx", "httpx2", "httpcore", "requests", "urllib3", "huggingface_hub", "hf_xet")
    return type(error).__module__.split(".")[0] in libraries and not isinstance(error, ValueError)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0].strip() or type(error).__name__
