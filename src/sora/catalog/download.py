"""Fetching a model from the Hugging Face hub into huggingface_hub's cache, several files at once.

huggingface_hub knows the hub's address, the person's token and the cache's folder (HF_ENDPOINT, HF_TOKEN, HF_HOME,
HF_HUB_OFFLINE). The bytes are fetched here, since it begins every file anew in every process.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfile, disk_usage

from sora import __version__
from sora.catalog import hub
from sora.catalog.fetch import RemoteFile, WrongBytes, fetch, partial_file
from sora.catalog.listing import Listing, listing_of, repository
from sora.catalog.network_threads import NetworkThreads, Notify
from sora.catalog.remote import recognised
from sora.catalog.repositories import BRANCH, Fetched, RepositoryName
from sora.catalog.spec import Fetchable
from sora.catalog.transfer import LIBRARIES, Refused, Session, is_of_the_network, reason
from sora.errors import ModelError

WORKERS = 4  # files that are fetched at once
SLACK = 1 << 30  # bytes of the disk that a fetch leaves free


def pull(spec: Fetchable, on_progress: hub.Progress | None = None, on_note: Notify | None = None) -> Path:
    """Fetches what a model still lacks, at its pinned revision, and says where it is. What an earlier fetch left is
    gone on from. on_progress: gets bytes that are here, of this run and of earlier ones, and bytes in all. on_note:
    gets what a person should know meanwhile, a line each. Raises ModelError where the hub or the disk refuses, or the
    bytes are not the published ones."""
    if hub.local_copy(spec).state == hub.COMPLETE or not spec.repo:
        return hub.local_path(spec)
    if hub.is_offline():
        raise ModelError(
            f"{spec.name} cannot be fetched offline: leave out --offline, unset HF_HUB_OFFLINE, or say --model FOLDER"
        )
    with _explained(spec):
        _Download(spec, _session(), on_progress, on_note).run()
    after = hub.local_copy(spec)
    if after.state != hub.COMPLETE:
        missing = hub.abbreviate(after.missing)
        raise ModelError(f"{spec.repo} lacks {missing} on the hub too; a newer sora may know why")
    return hub.local_path(spec)


def inspect(name: RepositoryName, on_note: Notify | None = None) -> Fetched:
    """What a repository, or some files of it, are and what would be fetched, before it is. on_note: as in ``pull``.
    Raises ModelError where the hub refuses, and for what sora cannot use."""
    if hub.is_offline():
        raise ModelError(f"{name.text} is not here, and the hub is not asked: leave out --offline, unset {hub.OFFLINE}")
    session, found = _session(), list[Fetched]()
    ask = lambda: found.append(recognised(name, repository(name.repo, BRANCH, session), session))  # noqa: E731
    with _explained(Fetched(name.text, name.repo, BRANCH, (), 0)):
        NetworkThreads(session, on_note).run([ask])
    return found[0]


def _session() -> Session:
    """Who asks, and how long a connection may be silent: HF_HUB_DOWNLOAD_TIMEOUT, 10 seconds by default."""
    import huggingface_hub
    from huggingface_hub import constants

    headers = {"User-Agent": f"sora-video/{__version__}; hf_hub/{huggingface_hub.__version__}"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else huggingface_hub.get_token()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return Session(headers, float(constants.HF_HUB_DOWNLOAD_TIMEOUT))


class _Download:
    """A model's files on their way, several at once."""

    def __init__(
        self, spec: Fetchable, session: Session, on_progress: hub.Progress | None, on_note: Notify | None
    ) -> None:
        self.spec, self.session = spec, session
        self.on_progress, self.threads = on_progress, NetworkThreads(session, on_note, self._report)
        self.folder = hub.repo_folder(spec)
        self.blobs = self.folder / "blobs"
        self.locks = hub.cache() / ".locks" / self.folder.name
        self.snapshot = self.folder / "snapshots"
        self.files: dict[str, list[RemoteFile]] = {}  # by digest: files that are the same are fetched once
        self.total = 0

    def run(self) -> None:
        """Fetches all. Raises what the first thread that failed raised."""
        listings: list[Listing] = []
        self.threads.run([lambda: listings.append(listing_of(self.spec, self.session))])
        listing = listings[0]
        self.snapshot /= listing.commit
        for file in listing.files:
            self.files.setdefault(file.digest, []).append(file)
        self.total = sum(files[0].size for files in self.files.values())
        self._check_room()
        if listing.commit != self.spec.revision:
            _write_ref(self.folder, self.spec.revision, listing.commit)
        elif isinstance(self.spec, Fetched) and not (self.folder / "refs" / BRANCH).exists():
            _write_ref(self.folder, BRANCH, listing.commit)
        waiting = deque(sorted(self.files.values(), key=lambda files: files[0].size, reverse=True))
        self.threads.run([lambda: self._work(waiting)] * min(WORKERS, len(waiting)))

    def _work(self, waiting: deque[list[RemoteFile]]) -> None:
        """What one thread does: file after file, until none waits."""
        while True:
            try:
                files = waiting.popleft()
            except IndexError:
                return
            if not all(self._is_copied(file) for file in files):
                blob = fetch(files[0], self.blobs, self.locks, self.session)
                for file in files:
                    _link(blob, self.snapshot / file.name, keep=file is not files[-1])

    def _is_copied(self, file: RemoteFile) -> bool:
        """Whether a file lies in the snapshot itself, as where links cannot be."""
        pointer = self.snapshot / file.name
        return pointer.is_file() and not pointer.is_symlink() and pointer.stat().st_size == file.size

    def _report(self) -> None:
        if self.on_progress is not None and self.total:
            self.on_progress(self._bytes_here(), self.total)

    def _bytes_here(self) -> int:
        """Bytes of the wanted files that are on disk, whoever fetched them."""
        return sum(min(self._size(files[0]), files[0].size) for files in self.files.values())

    def _size(self, file: RemoteFile) -> int:
        for place in (self.snapshot / file.name, self.blobs / file.digest, partial_file(self.blobs, file.digest)):
            with suppress(OSError):
                return place.stat().st_size
        return 0

    def _check_room(self) -> None:
        """Raises ModelError where the disk cannot take what is still to come."""
        root = hub.cache()
        while not root.exists() and root != root.parent:
            root = root.parent
        needed, free = self.total - self._bytes_here() + SLACK, disk_usage(root).free
        if free < needed:
            message = (
                f"{self.spec.name} needs {hub.gigabytes(needed)} of disk, and {hub.cache()} has {hub.gigabytes(free)}"
            )
            raise ModelError(f"{message} free; free some, or set HF_HOME to a folder on a larger disk")


def _link(blob: Path, pointer: Path, keep: bool) -> None:
    """The name of a finished file in its snapshot, relative, so that the cache can be moved. Where links cannot be, the
    file itself, as huggingface_hub does it. keep: whether the file is needed under another name, too."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(blob, pointer.parent)
    if pointer.is_symlink() and os.readlink(pointer) == target:  # noqa: PTH115, a Path drops what readlink says
        return
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(target)
    except FileExistsError:  # another program fetches the same
        return
    except OSError:
        if keep:
            copyfile(blob, pointer)
        else:
            blob.replace(pointer)


def _write_ref(folder: Path, branch: str, commit: str) -> None:
    """Notes which commit a branch is. Written outside ``refs``, where every file counts as a branch, and always under
    the same name, so that a kill leaves no more than one."""
    ref, staged = folder / "refs" / branch, folder / "ref.incomplete"
    ref.parent.mkdir(parents=True, exist_ok=True)
    staged.write_text(commit, encoding="utf-8")
    staged.replace(ref)


@contextmanager
def _explained(spec: Fetchable) -> Iterator[None]:
    """What goes wrong while fetching is raised as ModelError, with what to do. What the libraries of the network log
    does not reach the terminal."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise _explanation(error, spec) from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _explanation(error: Exception, spec: Fetchable) -> ModelError:
    """What went wrong while fetching, and what to do. Anything but an answer of the hub, the network or the disk is a
    bug, and is raised as it is."""
    command = f"sora models pull {spec.name}"
    if isinstance(error, WrongBytes):
        problem = f"{error}; try again without a mirror or a proxy: {command}"
    elif isinstance(error, Refused):
        problem = _refusal(error, spec, command)
    elif getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        problem = f"the disk of {hub.cache()} is full; free {hub.gigabytes(spec.bytes)}, then go on with: {command}"
    elif isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        problem = f"{hub.cache()} cannot be written to; set HF_HOME to a folder that can"
    elif is_of_the_network(error):
        problem = f"the hub cannot be reached ({reason(error)}); what has come stays, go on with: {command}"
    elif isinstance(error, OSError):
        problem = (
            f"{hub.cache()} cannot be used ({error.strerror or error}); what has come stays, go on with: {command}"
        )
    else:
        raise error
    return ModelError(f"{spec.name} could not be fetched: {problem}")


def _refusal(error: Refused, spec: Fetchable, command: str) -> str:
    """What an answer of the hub means for a person."""
    if error.code == "GatedRepo":
        page = f"https://huggingface.co/{spec.repo}"
        return f"it is gated; accept its licence at {page}, log in with `hf auth login`, then: {command}"
    if error.code == "RevisionNotFound":
        return f"{spec.repo} has no {spec.revision} any more; a newer sora may name another"
    if error.code == "RepoNotFound" or (error.status in (401, 404) and not error.code and not error.text):
        return f"the hub shows no {spec.repo} (401 or 404); if it is private, log in with `hf auth login`"
    if error.status in (401, 403):
        return f"the hub refuses ({error.status}); log in with `hf auth login`, then: {command}"
    when = "try again later" if error.wait is None else f"it asks to wait {error.wait:.0f} s; then try again"
    return f"{reason(error)}; {when}: {command}"
