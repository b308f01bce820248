"""The model and the frames: what a resolved request comes to, once torch is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import record_function

from sora import __version__, media, memory, models, weights
from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.engine import engine, upscale
from sora.engine.checkpoint import Checkpoints, keep_nothing
from sora.engine.engine import Settings
from sora.engine.model import Model, Offloadable, Parallelizable
from sora.engine.progress import ProgressEvent
from sora.jobs import forecast, gpus, input_paths, retime
from sora.jobs.delivery import provenance_of
from sora.jobs.job import Machine
from sora.jobs.resolve import ResolvedRequest
from sora.jobs.variants import Variant
from sora.media.drift import DriftMeter
from sora.models import parallel
from sora.plan.plan import Plan
from sora.plan.recipe import WEIGHTS, Recipe, absolute, digest_of, sha256_of
from sora.runtime import threads

if TYPE_CHECKING:
    from sora.runtime.parallel.workers import Workers

Listener = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class Loaded:
    """A model in memory. dtype: that was asked for or chosen. resolved: the request that it was loaded for. notes:
    about its LoRAs, for a person."""

    model: Model
    dtype: torch.dtype
    resolved: ResolvedRequest
    notes: tuple[str, ...] = ()

    def serves(self, resolved: ResolvedRequest) -> bool:
        """Whether another request is painted with the very same."""
        mine, other = self.resolved, resolved
        same = [(each.spec, each.loras, each.speed) for each in (mine, other)]
        fields = ("device", "dtype", "strict", "gpus")
        same_request = [[getattr(each.request, name) for name in fields] for each in (mine, other)]
        return same[0] == same[1] and same_request[0] == same_request[1] and self.is_usable

    @property
    def workers(self) -> Workers | None:
        """The other processes that paint with it."""
        return self.model.workers if isinstance(self.model, Parallelizable) else None

    @property
    def is_usable(self) -> bool:
        """Whether all processes that paint with it are there."""
        return self.workers is None or self.workers.failure is None


def thread_count(requested: int | None, busy_cores: float) -> int:
    """How many threads torch paints with. requested: None lets sora choose. busy_cores: cores that other programs
    use."""
    return threads.thread_count(requested, busy_cores, torch.get_num_threads())


@contextmanager
def painting_threads(count: int | None) -> Iterator[None]:
    """Let torch compute with ``count`` threads in the block and with as many as before after it; None changes
    nothing."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def load(resolved: ResolvedRequest, workers: Workers | None = None) -> tuple[Loaded, str]:
    """(the model with its LoRAs, its memory plan as ``arrange`` returns it). workers: that painted with another model;
    they are closed if they do not serve. Raises ModelError, InputError and OutOfMemory."""
    request = resolved.request
    device = memory.choose_device(request.device)
    dtype = memory.choose_dtype(request.dtype, device)
    gpus.check(resolved, device)
    with record_function("load"), ExitStack() as on_error:
        model = models.load(resolved.spec, device, dtype, resolved.speed)
        painting = _parallelized(resolved, model, dtype, workers, on_error)
        memory_plan = arrange(resolved, painting)
        strict = request.strict
        notes = [memory.device_note(request.device, device)]
        notes += [models.add_lora(model, lora.path, lora.strength, strict=strict) for lora in resolved.loras]
        on_error.pop_all()
    return Loaded(painting, dtype, resolved, tuple(filter(None, notes))), memory_plan


def _parallelized(
    resolved: ResolvedRequest, model: Model, dtype: torch.dtype, workers: Workers | None, on_error: ExitStack
) -> Model:
    """The model that paints on as many devices as are asked for. on_error: closes what is begun here."""
    count = resolved.request.gpus or 1
    if workers is not None and (workers.size, workers.device, workers.failure) != (count, model.device, None):
        workers.close()
        workers = None
    if count == 1:
        return model
    workers = workers or parallel.start(count, model.device)
    on_error.callback(workers.close)
    loras, strict = [(lora.path, lora.strength) for lora in resolved.loras], resolved.request.strict
    return parallel.parallelize(model, workers, dtype, resolved.speed, loras=loras, strict=strict)


def arrange(resolved: ResolvedRequest, model: Model) -> str:
    """As ``models.plan_memory``, for the largest canvas of a request."""
    shape_FYX, known = resolved.largest_canvas
    options: dict[str, Any] = {"references": resolved.pictures, "forced": resolved.request.memory}
    options["guided"] = gpus.is_guided(resolved)
    if isinstance(model, Offloadable):
        dtype = memory.choose_dtype(resolved.request.dtype, model.device)
        options |= {"sampling_seconds": forecast.sampling_seconds(resolved, model.device, dtype)}
    return models.plan_memory(model, shape_FYX, encodes=known, **options)


def settings_of(resolved: ResolvedRequest, variant: Variant) -> Settings:
    """How the engine samples one variant."""
    r = resolved.request
    return Settings.from_spec(
        resolved.spec,
        variant.seed,
        steps=r.steps,
        guidance=r.guidance,
        shift=r.shift,
        sampler=r.sampler,
        negative_prompt=r.negative_prompt,
        stream=resolved.speed.uses("overlap"),
        keep_latents=resolved.speed.uses("kept-latents"),
    )


def frames_of(
    resolved: ResolvedRequest,
    variant: Variant,
    model: Model,
    on_event: Listener,
    checkpoints: Checkpoints = keep_nothing,
) -> Iterator[Tensor]:
    """The film's frames as uint8 (F, 3, Y, X) chunks; a picture with ``--refine`` in all its detail. checkpoints: what
    they hold is not painted again."""
    settings, plan = settings_of(resolved, variant), resolved.plan_of(variant)
    strength = resolved.request.refine
    if not strength:
        yield from retime.film_frames(plan, engine.paint(model, plan, settings, on_event, checkpoints))
        return
    (small_FCYX,) = engine.paint(model, _at_model_size(resolved, plan), settings, on_event, checkpoints)
    yield upscale.refine(model, small_FCYX, resolved.size, variant.prompt, settings, strength, on_event, checkpoints)


def _at_model_size(resolved: ResolvedRequest, plan: Plan) -> Plan:
    """The same plan, at the size that the model paints."""
    return replace(
        plan, format=resolved.spec.format(resolved.model_size, plan.format.fps, draft=resolved.request.draft)
    )


def write(
    resolved: ResolvedRequest,
    variant: Variant,
    loaded: Loaded,
    path: str,
    *,
    force: bool,
    on_event: Listener,
    keeps_recipe: bool = True,
    checkpoints: Checkpoints = keep_nothing,
    meter: DriftMeter | None = None,
) -> Path:
    """Paint one variant into a file and return where it stands. Nothing is left there when painting does not finish.
    path: where it goes; a name that was taken meanwhile is left alone. force: overwrite what is there.
    keeps_recipe: whether its recipe is in the file. checkpoints: what they hold is not painted again. meter: measures
    the frames as they pass."""
    plan, overlap = resolved.plan, resolved.speed.uses("overlap")
    recipe = recipe_of(resolved, variant, loaded) if keeps_recipe else None
    options: dict[str, Any] = {"sounds": resolved.sounds, "provenance": provenance_of(resolved.source_type)}
    with ExitStack() as written:
        text = "" if recipe is None else recipe.to_json()
        opened = media.writer(path, plan.film_fps, plan.format.size, text, force, overlap=overlap, **options)
        file = written.enter_context(opened)
        for frames_FCYX in frames_of(resolved, variant, loaded.model, on_event, checkpoints):
            frames_FYXC = frames_FCYX.permute(0, 2, 3, 1).numpy()
            file.write(frames_FYXC)
            if meter is not None:
                meter.add(frames_FYXC)
        with record_function("write"):  # what is left to do after the last frame
            written.close()
    if recipe is not None:
        input_paths.remember(recipe.inputs)
    return file.path


def frames_in_memory(resolved: ResolvedRequest, variant: Variant, loaded: Loaded, on_event: Listener) -> np.ndarray:
    """The frames of one variant, uint8 RGB (F, Y, X, 3)."""
    frames_FYXC = np.empty((resolved.plan.film_frames, *resolved.size, 3), np.uint8)
    begin = 0
    for frames_FCYX in frames_of(resolved, variant, loaded.model, on_event):
        end = begin + len(frames_FCYX)
        frames_FYXC[begin:end] = frames_FCYX.permute(0, 2, 3, 1).numpy()
        begin = end
    return frames_FYXC


def recipe_of(resolved: ResolvedRequest, variant: Variant, loaded: Loaded) -> Recipe:
    """Everything needed to make this file again."""
    plan, painted, size = resolved.plan, resolved.model_size, resolved.size
    own_weights = () if resolved.spec.repo else dict.fromkeys(resolved.spec.own_paths)
    inputs = [(absolute(file), digest_of(file)) for file in resolved.inputs]
    inputs += [(absolute(path), WEIGHTS + weights.fingerprint(path)) for path in own_weights]
    return Recipe(
        sora=__version__,
        request=resolved.request_of(variant),
        prompts=variant.texts,
        weights=weights_identity(resolved.spec),
        frames=plan.film_frames,
        fps=plan.film_fps,
        painted=(painted[1], painted[0]),
        size=(size[1], size[0]),
        device=loaded.model.device.type,
        dtype=str(loaded.dtype).removeprefix("torch."),
        torch=str(torch.__version__),
        inputs=tuple(inputs),
        threads=torch.get_num_threads(),
    )


def machine_of(loaded: Loaded, thread_count: int | None) -> Machine:
    """What a request is painted with. thread_count: of torch, None for as many as it has."""
    return Machine(
        weights=weights_identity(loaded.resolved.spec),
        device=loaded.model.device.type,
        dtype=str(loaded.dtype).removeprefix("torch."),
        threads=thread_count or torch.get_num_threads(),
        torch=str(torch.__version__),
    )


def forecast_machine(
    resolved: ResolvedRequest, loaded: Loaded, thread_count: int | None, on_disk: float = 0.0
) -> forecast.Machine:
    """The same for a forecast, under the memory plan that the model follows."""
    plan, compiled = models.followed_plan(loaded.model), models.runs_compiled(loaded.model)
    options: dict[str, Any] = {"thread_count": thread_count or 0, "compiled": compiled, "on_disk": on_disk}
    return forecast.machine_of(resolved, loaded.model.device, loaded.dtype, plan, **options)


def weights_identity(spec: ModelSpec) -> str:
    """Which weights painted: the sha256 of a file of the package's, the hub's repository and commit, or the sha256 of
    what the files of a folder say they hold, since to read them all takes longer than to paint."""
    if spec.repo and spec.folder is not None:
        return f"{spec.name}@{spec.revision}"
    prints = [weights.fingerprint(path) for path in spec.own_paths]
    if prints:
        return prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()
    return f"{spec.repo}@{hub.local_path(spec).name}" if spec.repo else sha256_of(weights.asset(spec.files[0]))
