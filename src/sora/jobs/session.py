"""A session: one model kept in memory, and every film that is painted with it. The command line and the Python API
both paint through it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sora.engine.progress import Listener, ProgressEvent
from sora.errors import UsageError
from sora.jobs import lora_tags, replay, room
from sora.jobs.arguments import check_names, in_keywords, paths_of, row_of, values_of, with_keywords
from sora.jobs.delivery import InMemory
from sora.jobs.forecast_machine import share_on_disk
from sora.jobs.inputs import Inputs
from sora.jobs.phase_clock import PhaseClock
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.jobs.variants import Variant
from sora.jobs.verb_methods import Verbs
from sora.jobs.video import Picture, Video
from sora.media import background_of
from sora.plan.recipe import Recipe
from sora.plan.request import Request, fields
from sora.plan.verbs import Verb
from sora.runtime import threads

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sora.engine.checkpoint import Checkpoints
    from sora.jobs.job import Extent, Job, Machine
    from sora.jobs.keywords import ModelOptions
    from sora.jobs.paint import Loaded
    from sora.media.drift import DriftMeter
    from sora.plan.geometry import Size
    from sora.runtime.parallel.workers import Workers


class Session(Verbs):
    """Keeps the model that painted last, with its LoRAs, and loads another when a request needs one. Calls from several
    threads wait for one another.

    options: keyword arguments of every verb that is called on the session, where the call does not say them itself.
    """

    def __init__(self, **options: Unpack[ModelOptions]) -> None:
        self._options = options
        self._loaded: Loaded | None = None
        self._watch = threads.LoadMonitor()
        self._thread_count: int | None = None
        self._load_seconds: float | None = None  # of a load that imported torch, until it is recorded
        self._on_disk = 0.0  # of the weights' bytes, where that load did not find them in the page cache
        self._lock = threading.RLock()

    def load(self) -> None:
        """Load the session's own model, as a film of its usual length needs it. Raises ModelError, InputError and
        OutOfMemory."""
        row = row_of("generate")
        check_names("load", row, self._options)
        with in_keywords(row):
            request = Request(verb="generate", prompt="anything", **values_of(row, self._options))
            self.prepare(resolve(request, InMemory(anyway=True)))

    def prepare(self, resolved: ResolvedRequest, on_progress: Listener | None = None) -> str:
        """Load the model for a request unless it is in memory, and return its memory plan as a line for a person, empty
        for a model that is always in memory whole. Raises ModelError, InputError and OutOfMemory."""
        with self._lock, without_garbage_collection():
            room.check(resolved)
            threads.wait_passively(os.environ, self._watch.other_load())
            began, is_first = time.perf_counter(), "torch" not in sys.modules
            self._on_disk = share_on_disk(resolved.spec) if is_first else 0.0
            with room.explained():
                from sora.jobs import paint  # the first import of torch

            self._thread_count = paint.thread_count(resolved.request.threads, self._watch.other_load())
            self._watch = threads.LoadMonitor()  # so that a later film asks how busy the machine is by then
            with paint.painting_threads(self._thread_count):
                if self._loaded is not None and self._loaded.serves(resolved):
                    return paint.arrange(resolved, self._loaded.model)
                workers = self._release()  # frees one model before another is loaded
                report = on_progress or _ignore
                report(ProgressEvent("load", 0, 1))
                with room.explained():
                    loaded, memory_plan = paint.load(resolved, workers)
                self._loaded = loaded
                report(ProgressEvent("load", 1, 1))
                self._load_seconds = time.perf_counter() - began if is_first else None
                return memory_plan

    def write(
        self,
        resolved: ResolvedRequest,
        variant: Variant,
        path: str,
        *,
        force: bool,
        on_progress: Listener,
        keeps_recipe: bool = True,
        checkpoints: Checkpoints | None = None,
        meter: DriftMeter | None = None,
        records: bool = True,
    ) -> Path:
        """Paint one variant of a prepared request into a file as its frames are finished, and return where the file
        stands. Nothing is left there if painting fails. force: replace a file that exists. keeps_recipe: whether its
        recipe is in the file. checkpoints: what they hold is not painted again, None to keep nothing. meter: measures
        the frames as they pass. records: whether its seconds are kept for later forecasts."""
        from sora.engine.checkpoint import keep_nothing
        from sora.jobs import paint

        kept = checkpoints or keep_nothing
        with self._painting(on_progress) as (loaded, listener), room.explained():
            options: dict[str, Any] = {"force": force, "keeps_recipe": keeps_recipe, "checkpoints": kept}
            options |= {"meter": meter}
            with self._recorded(resolved, variant, loaded, listener, records) as on_event:
                return paint.write(resolved, variant, loaded, path, on_event=on_event, **options)

    def decode(
        self,
        job: Job,
        film: int,
        resolved: ResolvedRequest,
        path: str,
        *,
        size: Size | None,
        extent: Extent,
        force: bool,
        on_progress: Listener,
    ) -> Path:
        """Decode what a job painted into a file, as ``jobs.decode.write`` does, once ``prepare`` was called."""
        from sora.jobs import decode

        with self._painting(on_progress) as (loaded, listener), room.explained():
            return decode.write(
                job, film, resolved, loaded, path, size=size, extent=extent, force=force, on_event=listener
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person will want to know of the model that is in memory."""
        return self._loaded.notes if self._loaded is not None else ()

    def machine(self) -> Machine:
        """What a prepared request is painted with. Raises ValueError before ``prepare``."""
        if self._loaded is None:
            raise ValueError("no model is loaded; call prepare first")
        from sora.jobs import paint

        return paint.machine_of(self._loaded, self._thread_count)

    def paint(self, resolved: ResolvedRequest, variant: Variant, on_progress: Listener | None = None) -> Video:
        """Load what a request needs, and paint one of its variants into memory. Raises what ``prepare`` raises, and
        whatever ``on_progress`` does."""
        with self._lock:
            room.check(resolved, in_memory=True)
            memory_plan = self.prepare(resolved, on_progress)
            from sora.jobs import paint  # by now torch is there, and waits as prepare told it to

            with self._painting(on_progress or _ignore) as (loaded, listener), room.explained():
                recipe = paint.recipe_of(resolved, variant, loaded)
                with self._recorded(resolved, variant, loaded, listener, writes=False) as on_event:
                    frames_FYXC = paint.frames_in_memory(resolved, variant, loaded, on_event)
        kind = Picture if recipe.request.verb == "image" else Video
        notes = [*resolved.notes, *variant.notes, *loaded.notes, *([memory_plan] if memory_plan else [])]
        row = row_of(recipe.request.verb)
        notes = tuple(with_keywords(line, row) for line in notes)
        origin: dict[str, Any] = {"sounds": resolved.sounds, "source_type": resolved.source_type}
        return kind(frames_FYXC, recipe, files=resolved.files, notes=notes, **origin)

    def paint_all(
        self, request: Request, *, count: int = 1, anyway: bool = False, on_progress: Listener | None = None
    ) -> Iterator[Video]:
        """Paint every film that a request stands for, each when it is asked for: one for each ``{a|b}`` alternative of
        its words.

        count: films of each, with seeds counting up. Everything is checked before the first one is painted; raises what
        ``generate`` raises.
        """
        with in_keywords(row_of(request.verb)):
            resolved = resolve(request, InMemory(count=count, anyway=anyway))
        for variant in resolved.variants:
            yield self.paint(resolved, variant, on_progress)

    def _paint(self, verb: str, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Video:
        row, options = row_of(verb), {**self._options, **options}
        check_names(verb, row, options)
        with in_keywords(row):
            background = options.get("background")
            files = Inputs(background=background_of(background if isinstance(background, str) else None))
            request = Request(verb=verb, **_values(row, {**inputs, **options}, files))  # type: ignore[arg-type]
            request = lora_tags.followed(request)
            resolved = resolve(request, InMemory(anyway=options.get("anyway", False)), files)
            return self._paint_one(verb, resolved, options)

    def _repaint(self, command: str, source: Any, options: Mapping[str, Any]) -> Video:
        file, recipe, files = _recipe_of(command, source)
        row = row_of("finish") if command == "finish" else replay.row_of(recipe.request)
        given, options = options.get("inputs") or (), {k: v for k, v in options.items() if k != "inputs"}
        check_names(command, row, options)
        with in_keywords(row):
            values = _values(row, options, files)
            if not isinstance(source, Video):
                recipe = replay.located(file, recipe, paths_of(given), values)
            if command == "finish":
                request, notes = replay.finish_request(file, recipe, values), list[str]()
            else:
                request, notes = replay.remake_request(file, recipe, values)
                request = lora_tags.followed(request, names=values)
            # What could be painted once can be painted again, whatever its words say.
            anyway = options.get("anyway", False) or (command == "remake" and "prompt" not in values)
            resolved = replay.resolve_replay(file, recipe, request, InMemory(anyway=anyway), files)
            notes = (*replay.input_notes(file, recipe), *notes, *resolved.notes)
            return self._paint_one(command, replace(resolved, notes=notes), options)

    def _paint_one(self, command: str, resolved: ResolvedRequest, options: Mapping[str, Any]) -> Video:
        """Raises UsageError for words that stand for several films."""
        variant, *others = resolved.variants
        if others:
            films = f"the prompt stands for {1 + len(others)} films, and {command}() paints one"
            raise UsageError(f"{films}; paint_all(Request(...)) paints them all, \\{{ keeps a brace as it is")
        return self.paint(resolved, variant, options.get("on_progress"))

    def close(self) -> None:
        """Free the model's memory. A later request loads it anew."""
        with self._lock:
            self._unload()

    def _unload(self) -> None:
        if (workers := self._release()) is not None:
            workers.close()

    def _release(self) -> Workers | None:
        """Free the model's memory in this process. Returns the other processes that painted with it, which may serve
        another model."""
        workers = None if self._loaded is None else self._loaded.workers
        self._loaded = None
        return workers

    @contextmanager
    def _recorded(
        self,
        resolved: ResolvedRequest,
        variant: Variant,
        loaded: Loaded,
        listener: Listener,
        records: bool = True,
        writes: bool = True,
    ) -> Iterator[Listener]:
        """A listener for the engine, which also measures the film that is painted in the block; its seconds are kept
        for later forecasts where ``records``. writes: whether the film goes to a file."""
        from sora.jobs import forecast, paint

        texts = forecast.texts_to_encode(resolved, (variant,), loaded.model.device, loaded.dtype)  # before they are
        clock, watch = PhaseClock(), threads.LoadMonitor()
        yield clock.before(listener)
        clock.stop()
        load, self._load_seconds = self._load_seconds, None
        if records:
            machine = paint.forecast_machine(resolved, loaded, self._thread_count, self._on_disk)
            is_cpu, other_load = loaded.model.device.type == "cpu", watch.other_load()
            busy = is_cpu and other_load >= threads.BUSY_CORES
            forecast.record(resolved, machine, clock, load=load, busy=busy, writes=writes, texts=texts)

    @contextmanager
    def _painting(self, on_progress: Listener) -> Iterator[tuple[Loaded, Listener]]:
        """(the model, a listener for the engine), while a film is painted. What ``on_progress`` raises is raised here
        as it was."""
        from sora.jobs import paint

        raised: list[BaseException] = []

        def listener(event: ProgressEvent) -> None:
            try:
                on_progress(event)
            except BaseException as error:
                raised.append(error)
                raise

        with self._lock, paint.painting_threads(self._thread_count):
            if self._loaded is None:
                raise ValueError("no model is loaded; call prepare first")
            try:
                yield self._loaded, listener
            except BaseException as error:
                if isinstance(error, MemoryError):
                    self._unload()
                if raised and raised[0] is not error:  # taken for another, as a MemoryError of the caller's own
                    raise raised[0] from None
                raise


def _values(row: Verb, options: Mapping[str, Any], files: Inputs) -> dict[str, Any]:
    """A request's fields. files: take what is in memory. Raises UsageError."""
    named: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or name not in fields() or not row.field(name).is_path or name == "model":
            continue
        if row.field(name).is_list:
            several = value if isinstance(value, list | tuple) else (value,)
            named[name] = tuple(files.add(name, each) for each in several)
        else:
            named[name] = files.add(name, value)
    return values_of(row, {**options, **named})


def _recipe_of(command: str, source: Any) -> tuple[Path, Recipe, Inputs]:
    """(a file, or what a video is called, its recipe, with names in place of paths where it is a file's, what it was
    made of and is in memory). Raises InputError."""
    if not isinstance(source, Video):
        file = Path(source)
        return file, replay.recipe_of(file), Inputs()
    files = Inputs(source.files)
    replay.check("the video", source.own_recipe, files)
    return Path(files.add("draft_file", source) if command == "finish" else "the video"), source.own_recipe, files


def _ignore(event: ProgressEvent) -> None:
    """The listener of nobody."""


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """While modules and weights come into memory, nothing leaves it; looking for garbage meanwhile is lost time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(**options: Unpack[ModelOptions]) -> Session:
    """A session of your own with its model in memory. Its methods are the verbs, with these options unless a call says
    others. Raises ModelError, InputError and OutOfMemory."""
    session = Session(**options)
    session.load()
    return session


_shared = Session()
"""The session of the functions below: the model that painted last stays in memory for the next call."""

generate, image, img2vid = _shared.generate, _shared.image, _shared.img2vid
extend, loop, bridge, edit = _shared.extend, _shared.loop, _shared.bridge, _shared.edit
finish, remake = _shared.finish, _shared.remake
paint_all, unload = _shared.paint_all, _shared.close
