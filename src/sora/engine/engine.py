"""``paint`` turns a plan into frames: for each window encode, sample, decode, blend. All verbs and models share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.profiler import record_function

from sora.engine import cyclic, finishing, finite, matching, sampler
from sora.engine.batches import Batches
from sora.engine.canvas import Canvas, Latents
from sora.engine.checkpoint import NO_CHECKPOINT, Checkpoint, Checkpoints, keep_nothing
from sora.engine.flowedit import flow_edit
from sora.engine.kept_latents import KeptLatents, PlacedLatents, spliced
from sora.engine.matching import Statistics
from sora.engine.progress import Listener, ProgressEvent
from sora.engine.resizing import crop_canvas, resize_canvas, to_uint8
from sora.engine.schedule import largest_tokens, schedule
from sora.engine.seeds import derive_seed
from sora.engine.subject import SubjectFrame
from sora.engine.timeline import Timeline
from sora.engine.velocity import Velocity, profiled
from sora.errors import OutOfMemory
from sora.plan.crop import Crop
from sora.plan.plan import Plan, SourceClip, Window
from sora.runtime import heap

if TYPE_CHECKING:
    from sora.catalog.spec import ModelSpec
    from sora.engine.model import Model

CYCLIC_LEAD = 5  # latents of a cycle's end that are decoded before its beginning, so that the loop closes


@dataclass(frozen=True)
class Settings:
    """How to sample. guidance: the classifier-free guidance scale, 1 disables it. shift: of the timesteps, 1 for none.
    sampler: a name in ``sampler.SAMPLERS``. negative_prompt: what to steer away from. stream: frames are yielded as
    soon as nothing changes them any more, so that they can be written while the next are decoded; otherwise a window at
    a time. keep_latents: windows that go on from painted frames are given the latents that were painted, instead of an
    encoding of the frames. tokens: of the canvas whose schedule is used, None for the one that is painted."""

    seed: int
    steps: int
    guidance: float
    shift: float
    sampler: str
    negative_prompt: str = ""
    stream: bool = True
    keep_latents: bool = True
    tokens: int | None = None

    @classmethod
    def from_spec(
        cls,
        spec: ModelSpec,
        seed: int,
        *,
        draft: bool = False,
        steps: int | None = None,
        guidance: float | None = None,
        shift: float | None = None,
        sampler: str | None = None,
        negative_prompt: str | None = None,
        stream: bool = True,
        keep_latents: bool = True,
    ) -> Settings:
        """The defaults of a model, or of its drafts, except where a value is given (not None)."""
        d = spec.defaults
        return cls(
            seed,
            steps=(d.draft_steps if draft else d.steps) if steps is None else steps,
            guidance=d.guidance if guidance is None else guidance,
            shift=d.shift if shift is None else shift,
            sampler=d.sampler if sampler is None else sampler,
            negative_prompt=d.negative if negative_prompt is None else negative_prompt,
            stream=stream,
            keep_latents=keep_latents,
        )


def paint(
    model: Model,
    plan: Plan,
    settings: Settings,
    on_event: Listener | None = None,
    checkpoints: Checkpoints = keep_nothing,
) -> Iterator[Tensor]:
    """Paint a plan. Yields the clip at its own size, as uint8 chunks (F, 3, Y, X) on the CPU, each as soon as it is
    finished.

    checkpoints: of "window-0001" and so on; what they hold is not painted again. Known pixels come back exactly as they
    were. Raises OutOfMemory, NotFinite, and what a checkpoint raises.
    """
    timeline, subject, firsts = Timeline(plan), SubjectFrame(plan), dict[int, Statistics]()
    kept = KeptLatents(plan, enabled=settings.keep_latents)
    settings = replace(settings, tokens=largest_tokens(plan, model.spec.grid))

    def canvas_of(window: Window) -> Canvas:
        return _at_model_size(plan, timeline.canvas_for(window))

    batches = Batches(model, plan, checkpoints, canvas_of, partial(_window_settings, model, plan, settings))
    yield from timeline.pop_ready()
    for number, window in enumerate(plan.windows, start=1):
        if number > 1:
            heap.trim()
        report = _number_windows(on_event, plan, number)
        with _report_out_of_memory(window.frames, plan.format.model_size):
            checkpoint, begin = batches.checkpoint(number - 1, report), 0
            finished = checkpoint.frames()
            if finished is None or not kept.restore(window, checkpoint):
                canvas = subject.shown_to(window, timeline.canvas_for(window))
                painted = _paint_window(model, plan, window, canvas, settings, report, checkpoint, kept)
                target = None if window.context_after else finishing.target_of(timeline, window, firsts)
                can_stream = settings.stream and target is None and not canvas.known_F1YX.any()
                finished = (
                    painted if can_stream else finishing.blend_window(model, canvas, painted, window, target, kept)
                )
                finished = checkpoint.keep_frames(finished)
            if window.colour_group not in firsts and any(
                w.colour_group == window.colour_group for w in plan.windows[number:]
            ):
                finished = matching.recorded(finished, window.colour_group, firsts)
            for frames_FCYX in finished:
                timeline.add(window, frames_FCYX, begin)
                subject.consider(window, frames_FCYX, begin)
                begin += len(frames_FCYX)
                yield from timeline.pop_ready()


def _paint_window(
    model: Model,
    plan: Plan,
    window: Window,
    canvas: Canvas,
    settings: Settings,
    on_event: Listener,
    checkpoint: Checkpoint,
    kept: KeptLatents,
) -> Iterator[Tensor]:
    """A window's frames as the model decodes them, at the clip's size, uint8 (F, 3, Y, X), before any blending."""
    latents = paint_latents(
        model,
        _at_model_size(plan, canvas),
        plan.prompts[window.shot],
        _window_settings(model, plan, settings, window),
        on_event,
        source=plan.source,
        cyclic=_is_cyclic(plan),
        checkpoint=checkpoint,
        painted_before=lambda: kept.given(window, canvas, _Coder(model, plan)),
    )
    kept.add(window, latents)
    if len(plan.windows) > 1:
        heap.trim()  # before the phase that takes the most
    chunks = _decode(model, plan, latents, window.frames, on_event)
    if not _is_cyclic(plan):
        yield from chunks if plan.crop is None else _paste_crops(canvas, chunks, plan.crop)
        return
    frames = torch.cat(list(chunks))
    # Once round the cycle, beginning before the clip's first frame.
    yield torch.cat([frames[-1:], frames, frames[: -window.first - 1]])


@dataclass(frozen=True)
class _Coder:
    """The ``Coder`` of a plan that paints whole frames."""

    model: Model
    plan: Plan

    def encode(self, canvas: Canvas) -> Tensor:
        return self.model.encode(resize_canvas(canvas, self.plan.format.model_size)).clean_BCTHW

    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        on_device = latents_BCTHW.to(self.model.device)
        return torch.cat(list(_decode(self.model, self.plan, on_device, 0, lambda _: None)))


def _at_model_size(plan: Plan, canvas: Canvas) -> Canvas:
    """What the model sees of a canvas."""
    return resize_canvas(canvas if plan.crop is None else crop_canvas(canvas, plan.crop), plan.format.model_size)


def _window_settings(model: Model, plan: Plan, settings: Settings, window: Window) -> Settings:
    """How one window is sampled."""
    share = 1.0 if plan.source else _guidance_fraction(model, window)
    seed = derive_seed(settings.seed, window=window.noise_index)
    return replace(settings, seed=seed, guidance=1 + (settings.guidance - 1) * share)


def _guidance_fraction(model: Model, window: Window) -> float:
    """The share of the guidance, over 1, for a window that extends known frames (before it) or bridges (before and
    after)."""
    d = model.spec.defaults
    if window.context_before and window.context_after:
        return d.bridge_guidance
    return d.extend_guidance if window.context_before or window.context_after else 1.0


def _is_cyclic(plan: Plan) -> bool:
    """Whether the whole clip is a single cyclic window."""
    return plan.cyclic and not plan.known_clips


@torch.inference_mode()
def paint_latents(
    model: Model,
    canvas: Canvas,
    prompt: str,
    settings: Settings,
    on_event: Listener = lambda _: None,
    *,
    source: SourceClip | None = None,
    cyclic: bool = False,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    painted_before: Callable[[], Sequence[PlacedLatents]] = tuple,
) -> Tensor:
    """Paint one canvas of the model's size, in latent space: (1, C, T, H, W) on the model's device.

    source: what an edit starts from. cyclic: the latents are a cycle with one latent fewer than the canvas has, whose
    first is only there to precede the others. checkpoint: what it holds is not painted again. painted_before: latents
    of known frames that need no encoding.
    """
    if (finished := checkpoint.latents()) is not None:
        on_event(ProgressEvent("sample", settings.steps, settings.steps))
        return finished.to(model.device)
    on_event(ProgressEvent("encode", 0, 1))
    with record_function("encode"):
        latents, velocity = _encode_and_bind(model, canvas, prompt, settings, source, cyclic, painted_before())
    finite.check(latents.clean_BCTHW, "the latents of what is known")
    on_event(ProgressEvent("encode", 1, 1))
    channels, length, height, width = model.spec.grid.latent_shape(*canvas.shape)
    noise = sampler.initial_noise((channels, latents.lead + length - cyclic, height, width), settings.seed)
    strength = 1.0 if source is None else source.strength
    times = schedule(model, settings, strength, noise[0, 0].numel() // model.spec.grid.patch**2)

    def on_step(done: int, total: int) -> None:
        on_event(ProgressEvent("sample", done, total))

    with record_function("sample"):
        if source is not None and source.method == "flow":
            source_velocity = profiled(
                "pass", model.bind(canvas, latents, source.source_prompt, settings.negative_prompt, 1.0)
            )
            clean, seed = latents.clean_BCTHW, settings.seed
            kept: dict[str, Any] = {"on_step": on_step, "checkpoint": checkpoint, "lead": latents.lead}
            finished = flow_edit(source_velocity, velocity, clean, times, seed, **kept)
        else:
            chosen, noise = sampler.seeded(settings.sampler, settings.seed), noise.to(latents.clean_BCTHW)
            finished = sampler.sample(
                velocity, latents, noise, times, sampler=chosen, on_step=on_step, checkpoint=checkpoint
            )
    finished = finished[:, :, latents.lead :]
    checkpoint.keep_latents(finished)
    return finished


def _encode_and_bind(
    model: Model,
    canvas: Canvas,
    prompt: str,
    settings: Settings,
    source: SourceClip | None,
    cyclic_latents: bool,
    painted_before: Sequence[PlacedLatents],
) -> tuple[Latents, Velocity]:
    """(the known latents and those to start from, the velocity that paints the rest)."""
    latents = spliced(model.encode(canvas), painted_before)
    velocity = model.bind(canvas, latents, prompt, settings.negative_prompt, settings.guidance)
    if cyclic_latents:
        velocity = cyclic.temporal_roll(velocity, lead=1, fixed=latents.lead)
    begins = latents
    if source is not None and (source.strength < 1 or source.method == "flow"):
        everything = replace(canvas, known_F1YX=torch.ones_like(canvas.known_F1YX))
        begins = spliced(replace(latents, clean_BCTHW=model.encode(everything).clean_BCTHW), painted_before)
    if cyclic_latents:
        begins = _without_first(begins)
    return begins, profiled("pass", velocity)


def _without_first(latents: Latents) -> Latents:
    """The same latents but the canvas's first."""
    lead, cut = latents.lead, [latents.clean_BCTHW, latents.unknown_B1THW]
    clean, unknown = (torch.cat([each[:, :, :lead], each[:, :, lead + 1 :]], dim=2) for each in cut)
    return Latents(clean, unknown, lead)


def _decode(model: Model, plan: Plan, latents_BCTHW: Tensor, total: int, on_event: Listener) -> Iterator[Tensor]:
    """Decode latents to uint8 frames, at the size of the clip or of the plan's crop. total: frames to report."""
    if _is_cyclic(plan):
        total = plan.frames
        chunks = cyclic.decode_cyclic(model.decode, latents_BCTHW, model.spec.grid.time, CYCLIC_LEAD)
    else:
        chunks = model.decode(latents_BCTHW)
    done, size = 0, plan.format.size if plan.crop is None else plan.crop.size
    while True:
        with torch.inference_mode(), record_function("decode"):  # not around the yield: they would apply to the caller
            chunk = next(chunks, None)
            if chunk is None:
                return
            finite.check(chunk, f"decoded frames {done} to {done + len(chunk) - 1}")
            frames_FCYX = to_uint8(chunk, size)
        done += len(frames_FCYX)
        on_event(ProgressEvent("decode", done, total))
        yield frames_FCYX


def _paste_crops(canvas: Canvas, chunks: Iterator[Tensor], crop: Crop) -> Iterator[Tensor]:
    """Paste chunks of painted crops into the canvas's own frames; yields whole frames."""
    rows, columns = crop.slices
    begin = 0
    for chunk in chunks:
        frames = canvas.frames_FCYX[begin : begin + len(chunk)].clone()
        frames[..., rows, columns] = chunk
        begin += len(chunk)
        yield frames


def _number_windows(on_event: Listener | None, plan: Plan, number: int) -> Listener:
    if on_event is None:
        return lambda _: None
    shot, shots = plan.windows[number - 1].shot + 1, len(plan.prompts)
    return lambda event: on_event(replace(event, window=number, windows=len(plan.windows), shot=shot, shots=shots))


@contextmanager
def _report_out_of_memory(frames: int, size: tuple[int, int]) -> Iterator[None]:
    """Turn running out of memory into OutOfMemory, whose message is one line."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
            message = str(error).lower()
            if "out of memory" not in message and "can't allocate memory" not in message:
                raise
        raise OutOfMemory(
            f"{frames} frames of {size[1]}x{size[0]} do not fit in memory; try a smaller --size or fewer --frames"
        ) from error
