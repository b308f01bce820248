"""A job on disk: a request and what has been reached of it, in a folder of its own in the user's state.

``job.json``       the request, where its films go, and what it was begun with; written once
``progress.json``  how far it is; replaced as it goes on
``film-001/``      latents, the state of the sampler and finished frames of each film, see ``checkpoints``
``lock``           held by the process that paints it, and freed by the system when that process is gone
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from sora import __version__
from sora.errors import InputError, UsageError
from sora.jobs.delivery import Delivery
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.plan.recipe import digest_of, with_new_names
from sora.plan.recipe_names import is_in_memory
from sora.plan.request import from_data, to_data
from sora.storage import atomic, state

if TYPE_CHECKING:
    from filelock import FileLock

StructT = TypeVar("StructT", bound=Struct)

FORMAT = 1
FINISHED_BYTES = 1 << 30  # of all finished jobs; the oldest go when another job begins
FINISHED_DAYS = 14.0
MAX_RECORD_BYTES = 1 << 24
Extent = Literal["whole", "part", "preview"]
"""How much of a film is decoded: all, the windows that are finished, or those and what the next one looks like so
far."""

FINISHED, FAILED, STOPPED, RUNNING = "finished", "failed", "stopped", "running"


class Machine(Struct, frozen=True):
    """What a job is painted with. weights: as a recipe names them. threads: of torch."""

    weights: str
    device: str
    dtype: str
    threads: int
    torch: str


class Record(Struct, frozen=True, kw_only=True):
    """What a job is. key: of the command that asked for it, so that the same command finds it. created: seconds since
    1970. request: complete, with the first seed. delivery: where the films go, with absolute paths. films: how many.
    canvases: windows and tiles of each, as far as that is known beforehand. inputs: (path, sha256) of every file that
    is read."""

    id: str
    key: str
    created: float
    request: dict[str, Any]
    delivery: dict[str, Any]
    films: int
    canvases: int
    inputs: tuple[tuple[str, str], ...]
    machine: Machine
    sora: str = __version__
    format: int = FORMAT


class Progress(Struct, kw_only=True):
    """How far a job is. state: FINISHED, FAILED, STOPPED or RUNNING, as its last process left it. film, canvas: that
    are being painted, counted from 1. step, steps: of the canvas. steps_done, steps_total: of the whole job, of what is
    kept. seconds: that were spent. done: where each finished film stands, by its number. paths: where each goes that
    was begun."""

    state: str = RUNNING
    film: int = 1
    canvas: int = 1
    step: int = 0
    steps: int = 0
    steps_done: int = 0
    steps_total: int = 0
    seconds: float = 0.0
    done: dict[str, str] = msgspec.field(default_factory=dict)
    paths: dict[str, str] = msgspec.field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True)
class Job:
    """A job's folder. Whoever changes it holds its lock."""

    folder: Path
    record: Record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def published(self) -> frozenset[str]:
        """Where films of it stand, or may stand if it was killed the moment after."""
        progress = self.progress
        return frozenset((*progress.done.values(), *progress.paths.values()))

    @property
    def delivery(self) -> Delivery:
        """Where its films go, by absolute paths."""
        return _delivery_of(self.record.delivery)

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    @property
    def lock(self) -> FileLock:
        return _lock(self.folder)

    @property
    def is_running(self) -> bool:
        """Whether a process paints it now."""
        try:
            with self.locked():
                return False
        except UsageError:
            return True

    @contextmanager
    def locked(self) -> Iterator[FileLock]:
        """Its lock, held while the block runs. Raises UsageError where another process holds it."""
        from filelock import Timeout

        lock = self.lock
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"job {self.id} is being painted by another process; stop that first") from None
        try:
            yield lock
        finally:
            lock.release()

    @property
    def progress(self) -> Progress:
        """How far it is; nothing done where that cannot be read."""
        try:
            return _decoded(_read(self.folder / "progress.json"), Progress)
        except (OSError, ValueError, RecursionError):
            return Progress()

    def write_progress(self, progress: Progress) -> None:
        """Raises OSError."""
        atomic.overwrite(self.folder / "progress.json", _encoded(progress), sync=False)

    def film_folder(self, film: int) -> Path:
        return self.folder / f"film-{film:03d}"

    def resolve(self, delivery: Delivery | None = None) -> tuple[ResolvedRequest, Delivery]:
        """(its request, where the films go) as when it was begun. delivery: instead of the job's own. Raises InputError
        where a file that it reads has changed, and what ``resolve`` raises."""
        request = from_data(with_new_names(self.record.request), f"the request of job {self.id}")
        self._check_inputs()
        delivery = delivery or self.delivery
        delivery = replace(delivery, done=self.published, anyway=True)
        return resolve(request, delivery), delivery

    def check_idle(self) -> None:
        """Raises UsageError while it is being painted."""
        with self.locked():
            pass

    def remove(self) -> None:
        """Raises UsageError while it is being painted."""
        self.check_idle()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_inputs(self) -> None:
        for path, digest in self.record.inputs:
            if digest_of(path) != digest:
                raise InputError(f"job {self.id} reads {path}, which has changed since; put the old one back")


def jobs_folder() -> Path:
    return state.folder() / "jobs"


def every() -> list[Job]:
    """All jobs, the newest last; what cannot be read as one is passed over."""
    try:
        folders = sorted(folder for folder in jobs_folder().iterdir() if folder.is_dir())
    except OSError:
        return []
    found = [job for folder in folders if (job := _load(folder)) is not None]
    return sorted(found, key=lambda job: job.record.created)


def last() -> Job:
    """The newest job. Raises UsageError."""
    found = every()
    if not found:
        raise UsageError("there are no jobs; paintings that take over 30 s leave one")
    return found[-1]


def last_waiting() -> Job:
    """The newest job that was not finished and that no process paints. Raises UsageError."""
    waiting = [job for job in every() if job.progress.state != FINISHED and not job.is_running]
    if not waiting:
        raise UsageError("no job waits to be gone on with; `sora jobs` lists all there are")
    return waiting[-1]


def find(name: str | None, default: Callable[[], Job]) -> Job:
    """The job whose name begins so, ``default`` for None. Raises UsageError."""
    if name is None:
        return default()
    jobs = every()
    matching = [job for job in jobs if job.id == name] or [job for job in jobs if job.id.startswith(name)]
    if not matching:
        raise UsageError(f"there is no job {name}; `sora jobs` lists all there are")
    if len(matching) > 1:
        raise UsageError(f"{name} begins the names of {', '.join(job.id for job in matching)}; write one in full")
    return matching[0]


def published() -> frozenset[str]:
    """Where films of jobs that were not finished stand, or may stand."""
    waiting = (job for job in every() if job.progress.state != FINISHED)
    return frozenset(path for job in waiting for path in job.published)


def unfinished(key: str) -> Job | None:
    """The newest job of a command that was not finished and that no process paints."""
    waiting = (job for job in reversed(every()) if job.record.key == key)
    return next((job for job in waiting if job.progress.state != FINISHED and not job.is_running), None)


def key_of(resolved: ResolvedRequest, delivery: Delivery) -> str:
    """What two commands have in common that ask for the same films at the same place."""
    request = to_data(msgspec.structs.replace(resolved.request, threads=None, gpus=None))
    asked = json.dumps([request, _delivery_data(delivery)], sort_keys=True)
    return hashlib.sha256(asked.encode(errors="surrogateescape")).hexdigest()


def begin(
    resolved: ResolvedRequest, delivery: Delivery, canvases: int, machine: Machine, key: str
) -> tuple[Job, FileLock]:
    """A new job, locked. Raises OSError."""
    _make_room()
    seed = resolved.variants[0].seed
    folder = _new_folder()
    lock = _lock(folder)
    lock.acquire(timeout=0)
    record = Record(
        id=folder.name,
        key=key,
        created=time.time(),
        request=to_data(msgspec.structs.replace(resolved.request, seed=seed, threads=machine.threads)),
        delivery=_delivery_data(delivery),
        films=len(resolved.variants),
        canvases=canvases,
        inputs=tuple((str(path), digest_of(path)) for path in resolved.inputs if not is_in_memory(path)),
        machine=machine,
    )
    job = Job(folder, record)
    job.write_progress(Progress())
    atomic.overwrite(folder / "job.json", _encoded(record), sync=True)
    return job, lock


def _new_folder() -> Path:
    jobs_folder().mkdir(parents=True, exist_ok=True)
    while True:
        folder = jobs_folder() / f"{time.strftime('%m%d')}-{secrets.token_hex(2)}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder


def _make_room() -> None:
    """Finished jobs that are old, or the oldest of too many, go."""
    kept = 0
    for job in reversed(every()):
        if job.progress.state != FINISHED or job.is_running:
            continue
        kept += job.bytes
        if kept > FINISHED_BYTES or time.time() - job.record.created > FINISHED_DAYS * 86400:
            job.remove()


def _encoded(record: Struct) -> bytes:
    """A record as JSON, in ASCII: a path that is not UTF-8 holds halves of characters, which JSON alone can escape."""
    return json.dumps(msgspec.to_builtins(record)).encode()


def _decoded(data: bytes, kind: type[StructT]) -> StructT:
    """Raises ValueError."""
    return msgspec.convert(json.loads(data), kind)


def _load(folder: Path) -> Job | None:
    try:
        record = _decoded(_read(folder / "job.json"), Record)
    except (OSError, ValueError, RecursionError):
        return None
    return Job(folder, record) if record.id == folder.name and record.format == FORMAT else None


def _lock(folder: Path) -> FileLock:
    from filelock import FileLock  # late: it brings asyncio, and most commands need no lock

    return FileLock(folder / "lock")


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_RECORD_BYTES)


def _delivery_data(delivery: Delivery) -> dict[str, Any]:
    """A delivery as JSON has it, that means the same from any folder."""
    data = asdict(delivery) | {"folder": str(delivery.folder.absolute())}
    del data["done"]
    if delivery.output is not None and not delivery.is_piped:
        slash = "/" if delivery.output.endswith("/") else ""
        data["output"] = f"{Path(delivery.output).absolute()}{slash}"
    return data


def _delivery_of(data: Mapping[str, Any]) -> Delivery:
    """What could be painted once can be painted again, whatever its words say."""
    known = {field.name for field in fields(Delivery)}
    values = {name: value for name, value in data.items() if name in known}
    return Delivery(**values | {"folder": Path(data["folder"]), "anyway": True})
