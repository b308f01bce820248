"""What the hub says that a model's files are: their names, sizes and digests, at the pinned revision.

The hub's words are data: a name that is no path inside the model, or a digest that is none, is refused before it
becomes the name of a file here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any
from urllib.parse import quote

from sora.catalog.digests import is_digest
from sora.catalog.fetch import RemoteFile
from sora.catalog.spec import ModelSpec
from sora.catalog.transfer import Session, opened, retried
from sora.errors import ModelError

ATTEMPTS = 4  # fewer than for bytes: who is not connected at all should know soon
MAX_BYTES = 1 << 26  # of a listing


@dataclass(frozen=True)
class Listing:
    """commit: what the revision is, 40 digits in hex. files: those that the model needs."""

    commit: str
    files: tuple[RemoteFile, ...]


def listing_of(spec: ModelSpec, session: Session) -> Listing:
    """Asks the hub. Raises Refused, what the client raises, and ModelError for an answer that makes no sense."""
    from huggingface_hub import constants

    revision = quote(spec.revision, safe="")
    url = f"{constants.ENDPOINT}/api/models/{spec.repo}/revision/{revision}?blobs=true"
    try:
        answer = json.loads(retried(session, lambda: _body(session, url), ATTEMPTS))
        commit, entries = str(answer["sha"]), list(answer["siblings"])
        names = [str(entry["rfilename"]) for entry in entries]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ModelError(f"{url} lists no files as a hub of Hugging Face's would; is HF_ENDPOINT right?") from None
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or (_is_commit(spec.revision) and commit != spec.revision):
        raise ModelError(f"the hub gives {commit[:80]!r} for {spec.repo} at {spec.revision}; is HF_ENDPOINT right?")
    wanted = [(n, e) for n, e in zip(names, entries, strict=True) if any(fnmatch(n, p) for p in spec.files)]
    return Listing(commit, tuple(_remote_files(spec, commit, wanted, session)))


def _is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _body(session: Session, url: str) -> bytes:
    """All of an answer. Raises ValueError for one that is too long to be a listing."""
    whole = bytearray()
    with opened(session, "GET", url) as response:
        for piece in response.pieces:
            session.check()
            whole += piece
            if len(whole) > MAX_BYTES:
                raise ValueError("too long")
    return bytes(whole)


def _remote_files(
    spec: ModelSpec, commit: str, wanted: Iterable[tuple[str, Any]], session: Session
) -> Iterator[RemoteFile]:
    from huggingface_hub import constants

    for name, entry in wanted:
        if not _is_inside(name):
            raise ModelError(f"{spec.repo} lists a file {name[:80]!r}, which is no path inside a model; do not use it")
        url = f"{constants.ENDPOINT}/{spec.repo}/resolve/{commit}/{quote(name)}"
        digest, size = _digest_and_size(entry)
        if not is_digest(digest) or size < 0:
            digest, size = retried(session, lambda url=url: _head(session, url))
        if not is_digest(digest) or size < 0:
            raise ModelError(f"the hub gives no digest of {name}, so that it cannot be checked; is HF_ENDPOINT right?")
        yield RemoteFile(name, url, digest, size)


def _is_inside(name: str) -> bool:
    """Whether a name leads to a file in the folder it is taken in."""
    parts = name.split("/")
    return not any(folder in ("", ".", "..") for folder in parts) and not re.search(r"[\\\0:]", name)


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
