"""Trainings that are not finished: what each was asked for, kept in its folder from its first step on, so that the same
command goes on with it and no other one takes its place. Nothing here needs torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sora.errors import InputError
from sora.storage import atomic, refusal

if TYPE_CHECKING:
    from sora.finetune.dataset import TrainingClip

FILE, LOCK = "training.json", "lock"
MAX_BYTES = 1 << 20


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other program trains in the folder while the block runs; it is made where it is missing. Raises InputError."""
    from filelock import FileLock, Timeout  # late: it brings asyncio

    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another sora trains in {folder}; wait for its end, or choose another -o") from None
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {refusal.explain(error, folder / LOCK)}") from None
    try:
        yield
    finally:
        lock.release()


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """From now on the folder holds an unfinished training of these settings. Raises InputError."""
    _write(folder, {"settings": dict(settings), "finished": False})


def finish(folder: Path, settings: Mapping[str, Any]) -> None:
    """The training is finished. Raises InputError."""
    _write(folder, {"settings": dict(settings), "finished": True})


def settings_in(folder: Path) -> dict[str, Any] | None:
    """The settings of the unfinished training in a folder; None where there is none."""
    try:
        with (folder / FILE).open("rb") as file:
            found = json.loads(file.read(MAX_BYTES))
        return None if found["finished"] else dict(found["settings"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting that is another, as "rank 4, now 8"; empty where all are the same."""
    now = json.loads(json.dumps(now))
    name = next((name for name in now if before.get(name) != now[name]), None)
    return "" if name is None else f"{name.replace('_', ' ')} {_shown(before.get(name))}, now {_shown(now[name])}"


def clips_digest(clips: Iterable[TrainingClip]) -> str:
    """A digest of the clips' names, sizes and captions, since to read all that is in them takes long."""
    listed = [(clip.path.name, clip.path.stat().st_size, clip.caption) for clip in clips]
    return sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _shown(value: Any) -> str:
    return "by default" if value is None else str(value)[:40]


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    path = folder / FILE
    try:
        atomic.write(path, json.dumps(record, indent=1).encode(), replace=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {refusal.explain(error, path)}") from None
