"""What the hub says that a model's files are: their names, sizes and digests, at the pinned revision.

The hub's words are data: a name that is no path inside the model, or a digest that is none, is refused before it
becomes the name of a file here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sora.catalog import hub
from sora.catalog.digests import is_commit, is_digest
from sora.catalog.fetch import RemoteFile
from sora.catalog.repositories import is_inside
from sora.catalog.spec import Fetchable
from sora.catalog.transfer import Session, head, opened, retried
from sora.errors import ModelError

ATTEMPTS = 4  # fewer than for bytes: who is not connected at all should know soon
MAX_BYTES = 1 << 26  # of a listing, which is no JSON where it is cut off


@dataclass(frozen=True)
class Listing:
    """commit: what the revision is, 40 digits in hex. files: those that the model needs."""

    commit: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Repository:
    """Everything that a repository holds at a commit. entries: what the hub says of each file, by its name. licence: as
    its owner names it, empty for none."""

    repo: str
    commit: str
    entries: Mapping[str, Any]
    licence: str = ""

    def files(self, names: Iterable[str], session: Session) -> tuple[RemoteFile, ...]:
        """Those of these names. Raises as ``listing_of``."""
        return tuple(_remote_files(self.repo, self.commit, [(name, self.entries[name]) for name in names], session))


def listing_of(spec: Fetchable, session: Session) -> Listing:
    """Asks the hub. Raises Refused, what the client raises, and ModelError for an answer that makes no sense."""
    found = repository(spec.repo, spec.revision, session)
    wanted = [name for name in found.entries if hub.is_wanted(name, spec.files)]
    return Listing(found.commit, found.files(wanted, session))


def repository(repo: str, revision: str, session: Session) -> Repository:
    """What the hub has under a name, at a branch or a commit. Raises as ``listing_of``."""
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        answer = json.loads(retried(session, lambda: head(session, url, MAX_BYTES), ATTEMPTS))
        commit = str(answer["sha"])
        entries = {str(entry["rfilename"]): entry for entry in answer["siblings"]}
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ModelError(f"{url} lists no files as a hub of Hugging Face's would; is HF_ENDPOINT right?") from None
    if not is_commit(commit) or (is_commit(revision) and commit != revision):
        raise ModelError(f"the hub gives {commit[:80]!r} for {repo} at {revision}; is HF_ENDPOINT right?")
    card = answer.get("cardData")
    licence = card.get("license") if isinstance(card, dict) else ""
    return Repository(repo, commit, entries, licence[:80] if isinstance(licence, str) else "")


def _remote_files(repo: str, commit: str, wanted: Iterable[tuple[str, Any]], session: Session) -> Iterator[RemoteFile]:
    from huggingface_hub import constants

    for name, entry in wanted:
        if not is_inside(name):
            raise ModelError(f"{repo} lists a file {name[:80]!r}, which is no path inside a model; do not use it")
        url = f"{constants.ENDPOINT}/{repo}/resolve/{commit}/{quote(name)}"
        digest, size = _digest_and_size(entry)
        if not is_digest(digest) or size < 0:
            digest, size = retried(session, lambda url=url: _head(session, url))
        if not is_digest(digest) or size < 0:
            raise ModelError(f"the hub gives no digest of {name}, so that it cannot be checked; is HF_ENDPOINT right?")
        yield RemoteFile(name, url, digest, size)


def _digest_and_size(entry: Any) -> tuple[str, int]:
    """What a listing says of a file, ("", -1) where it says nothing."""
    large = entry.get("lfs") if isinstance(entry, dict) else None
    facts = large if isinstance(large, dict) else entry
    digest, size = facts.get("sha256" if facts is large else "blobId"), facts.get("size")
    return (digest, size) if isinstance(digest, str) and isinstance(size, int) else ("", -1)


def _head(session: Session, url: str) -> tuple[str, int]:
    """The same, as the file's own address says it: for hubs whose listings are only of names."""
    with opened(session, "HEAD", url) as response:
        tag = response.headers.get("X-Linked-Etag") or response.headers.get("ETag") or ""
        size = response.headers.get("X-Linked-Size") or response.headers.get("Content-Length") or ""
    return tag.removeprefix("W/").strip('"'), int(size) if re.fullmatch(r"\d{1,18}", size) else -1
