"""Models and LoRAs of the hub that are in no row: ``ORG/REPO``, or ``ORG/REPO:FILE`` for some of its files.

What was fetched of them is found in huggingface_hub's cache without the network. A small record for each, in sora's
cache folder, says which files belong to a name, so that they can be listed, checked and removed; without a record, what
other programs fetched is found all the same.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sora.catalog import digests, hub
from sora.errors import ModelError
from sora.storage import atomic, cache, regular
from sora.weights import source

MODEL, LORA = "model", "lora"
BRANCH = "main"
_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(?P<files>.+))?")
_PAGE = re.compile(
    r"(?:https?://)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#:]+)(?:/(?:blob|resolve|tree)/[^/]+/?|:)?([^?#]*)(?:\?.*)?"
)


@dataclass(frozen=True)
class RepositoryName:
    """text: in the one way to write it. repo: OWNER/NAME. files: names in it, or one word of their names; empty for
    all."""

    text: str
    repo: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """What was fetched, or is to be, under a name: ``spec.Fetchable``. kind: MODEL or LORA. revision: a commit. files:
    names in the repository. licence: as its owner names it. like: the row that a model is most like, empty for a
    LoRA. note: what a person should know before it is used, empty for nothing."""

    name: str
    repo: str
    revision: str
    files: tuple[str, ...]
    bytes: int
    kind: str = MODEL
    licence: str = ""
    like: str = ""
    note: str = ""

    @property
    def folder(self) -> Path | None:
        return None

    @property
    def own_paths(self) -> tuple[Path, ...]:
        return ()

    @property
    def path(self) -> Path:
        """The one file of it, or the folder that holds all. It need not be there."""
        return _snapshot_of(self) / posixpath.commonpath(self.files)


def is_inside(name: str) -> bool:
    """Whether a name leads to a file in the folder it is taken in."""
    return not any(folder in ("", ".", "..") for folder in name.split("/")) and not re.search(r"[\\\0:]", name)


def parse(text: str) -> RepositoryName | None:
    """What a name of a repository, or the address of its page, says; None for what is none. It need not exist."""
    if page := _PAGE.fullmatch(text):
        text = f"{page[1]}:{page[2]}" if page[2].strip("/") else page[1]
    found = _NAME.fullmatch(text)
    if found is None or ".." in found["repo"] or found["repo"].endswith((*source.READ, *source.PICKLES)):
        return None
    files = tuple(name.strip().removeprefix(f"{found['repo']}:") for name in (found["files"] or "").split(",") if name)
    if len(files) > 2 or not all(map(is_inside, files)):
        return None
    return RepositoryName(f"{found['repo']}:{','.join(files)}" if files else found["repo"], found["repo"], files)


def paths(name: RepositoryName) -> tuple[Path, ...]:
    """Where a model or LoRA of that name lies in the cache: a folder, a file, or two; nothing where it is not."""
    if (record := recorded(name.text)) is not None and (snapshot := _snapshot_of(record)).is_dir():
        named = [file for file in record.files if file.endswith((".safetensors", ".gguf"))]
        whole = len(named) > 2 or len(named) < len(record.files)
        return (record.path,) if whole else tuple(snapshot / file for file in named)
    snapshots = list(_snapshots(name.repo))
    if not name.files:
        return tuple(snapshots[:1])
    found = [next((s / file for s in snapshots if (s / file).is_file()), None) for file in name.files]
    return tuple(path for path in found if path is not None) if None not in found else ()


def _snapshots(repo: str) -> Iterator[Path]:
    """The folders of a repository's commits, that of its branch first, then the newest."""
    root = hub.cache() / f"models--{repo.replace('/', '--')}"
    with suppress(OSError):
        yield root / "snapshots" / (root / "refs" / BRANCH).read_text(encoding="utf-8").strip()
    with suppress(OSError):
        yield from sorted((root / "snapshots").iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)


def _snapshot_of(record: Fetched) -> Path:
    return hub.repo_folder(record) / "snapshots" / record.revision


def record(fetched: Fetched) -> None:
    """Notes what belongs to a name. Where the note cannot be written, it is not listed."""
    with suppress(OSError):
        note = _note(fetched.name)
        note.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(note, json.dumps(asdict(fetched)).encode(), replace=True, durable=False)


def recorded(name: str) -> Fetched | None:
    """What was noted under a name."""
    return _read(_note(name))


def all_recorded() -> list[Fetched]:
    """Everything that was noted and of which something is here, by name."""
    found = [_read(note) for note in _folder().glob("*.json")]
    here = [each for each in found if each is not None and hub.local_copy(each).state != hub.ABSENT]
    return sorted(here, key=lambda each: each.name)


def forget(name: str) -> None:
    """Removes the note of what is gone."""
    with suppress(OSError):
        _note(name).unlink()


def remove(record: Fetched) -> int:
    """Deletes the files of a name, but bytes that other names share; the bytes that are free now. Raises ModelError."""
    folder = hub.repo_folder(record)
    freed = 0
    try:
        for file in record.files:
            freed += _unlink(_snapshot_of(record) / file, folder)
        for partial in (folder / "blobs").glob("*.incomplete"):
            freed += _unlink(partial, folder)
        if not any(file.is_file() for file in (folder / "snapshots").rglob("*")):
            shutil.rmtree(folder)
    except OSError as error:
        raise ModelError(f"{record.name} cannot be removed from {folder} ({error.strerror or error})") from None
    forget(record.name)
    return freed


def _unlink(file: Path, folder: Path) -> int:
    """Deletes a name and its bytes, where no other name in the repository's folder has them."""
    if not file.is_file():
        file.unlink(missing_ok=True)
        return 0
    blob, size = file.resolve(), file.stat().st_size
    file.unlink()
    if any(other.resolve() == blob for other in (folder / "snapshots").rglob("*") if other.is_symlink()):
        return 0
    digests.forget(blob.name)
    blob.unlink(missing_ok=True)
    return size


def _read(note: Path) -> Fetched | None:
    try:
        values = regular.read_json(note)
        files = tuple(map(str, values.pop("files")))
        found = Fetched(files=files, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    name = parse(found.name)
    sound = name is not None and name.repo == found.repo and digests.is_commit(str(found.revision))
    return found if sound and files and all(map(is_inside, files)) and isinstance(found.bytes, int) else None


def _folder() -> Path:
    return cache.folder() / "fetched"


def _note(name: str) -> Path:
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
