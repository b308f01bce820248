"""``paint``: the one sequence of phases that every verb and every model goes through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import record_function

from sora.engine import blend, cyclic, sampler
from sora.engine.canvas import Canvas, Latents
from sora.engine.flowedit import flow_edit
from sora.engine.model import Scheduled
from sora.engine.progress import Listener, ProgressEvent
from sora.engine.seeds import derive_seed
from sora.engine.timeline import Timeline
from sora.errors import OutOfMemory
from sora.plan.crop import Crop
from sora.plan.plan import Plan, Start, Window
from sora.runtime import heap

if TYPE_CHECKING:
    from sora.catalog.spec import ModelSpec
    from sora.engine.model import Model

CYCLIC_LEAD = 5  # latents of a circle that are decoded before its beginning, so that its end runs on into it


@dataclass(frozen=True)
class Settings:
    """How to sample. guidance: 1 is none. shift: of the timesteps, 1 is none. step: a name in ``sampler.STEPS``.
    negative: what to steer away from. overlap: frames go out as soon as nothing can change them any more, so that they
    are encoded while the next are decoded; else window by window."""

    seed: int
    steps: int
    guidance: float
    shift: float
    sampler: str
    negative_prompt: str = ""
    stream: bool = True

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
    ) -> Settings:
        """The defaults of a model, or of its drafts, with what is given (not None) in their place."""
        d = spec.defaults
        return cls(
            seed,
            steps=(d.draft_steps if draft else d.steps) if steps is None else steps,
            guidance=d.guidance if guidance is None else guidance,
            shift=d.shift if shift is None else shift,
            sampler=d.step if sampler is None else sampler,
            negative_prompt=d.negative if negative_prompt is None else negative_prompt,
            stream=stream,
        )


def paint(model: Model, plan: Plan, settings: Settings, on_event: Listener | None = None) -> Iterator[Tensor]:
    """The finished film at its own size, as uint8 chunks (F, 3, Y, X) on the CPU, each as soon as it is finished.

    Known pixels come back exactly as they were. Raises OutOfMemory.
    """
    film, colours = Timeline(plan), dict[int, blend.ColourStatistics]()
    yield from film.pop_ready()
    for number, window in enumerate(plan.windows, start=1):
        if number > 1:
            heap.trim()
        tell = _told(on_event, number, len(plan.windows))
        with _memory_errors(window.frames, plan.format.painted):
            canvas, begin = film.canvas_for(window), 0
            painted = _painted(model, plan, window, canvas, settings, tell)
            wish = None if window.right else colours.get(window.part)
            alone = settings.stream and wish is None and not canvas.known_F1YX.any()
            stands = painted if alone else _joined(model, canvas, painted, window, wish)
            if window.part not in colours and any(w.part == window.part for w in plan.windows[number:]):
                stands = _coloured(stands, window.part, colours)
            for frames_FCYX in stands:
                film.add(window, frames_FCYX, begin)
                begin += len(frames_FCYX)
                yield from film.pop_ready()


def _joined(
    model: Model, canvas: Canvas, chunks: Iterator[Tensor], window: Window, wish: blend.ColourStatistics | None
) -> Iterator[Tensor]:
    """Painted frames as they will stand in the film, beside what is known and in the colours that are wished for: all
    at once, since each may depend on all."""
    painted_FCYX = torch.cat(list(chunks))
    if wish is not None:
        painted_FCYX = blend.match_colours(painted_FCYX, wish)
    known = canvas.known_F1YX
    if known.any() and (model.spec.defaults.meets_pictures or not _only_pictures(window, known)):
        yield blend.blend_known(canvas, painted_FCYX)
    elif known.any():
        yield torch.where(known, canvas.frames_FCYX, painted_FCYX)
    else:
        yield painted_FCYX


def _coloured(chunks: Iterator[Tensor], part: int, colours: dict[int, blend.ColourStatistics]) -> Iterator[Tensor]:
    """The same frames, which set the colours for the windows of their part that follow."""
    seen: list[Tensor] = []
    for chunk in chunks:
        seen.append(chunk)
        yield chunk
    colours[part] = blend.ColourStatistics.of(torch.cat(seen))


def _only_pictures(window: Window, known_F1YX: Tensor) -> bool:
    """Whether nothing is known but a frame at either end."""
    flat = known_F1YX.flatten(1)
    return max(window.left, window.right) <= 1 and torch.equal(flat.all(dim=1), flat.any(dim=1))


def _painted(
    model: Model, plan: Plan, window: Window, canvas: Canvas, settings: Settings, tell: Listener
) -> Iterator[Tensor]:
    """The window's frames as the model gives them, at the film's size, uint8 (F, 3, Y, X), as they are decoded."""
    small = resize_canvas(canvas if plan.crop is None else crop_canvas(canvas, plan.crop), plan.format.painted)
    push = 1.0 if plan.start else _push(model, window)
    seed = derive_seed(settings.seed, window=window.draw)
    drawn = replace(settings, seed=seed, guidance=1 + (settings.guidance - 1) * push)
    latents = paint_latents(
        model, small, plan.prompts[window.shot], drawn, tell, source=plan.start, cyclic=_closes(plan)
    )
    if len(plan.windows) > 1:
        heap.trim()  # before the phase that takes the most
    chunks = _decoded(model, plan, latents, window.frames, tell)
    if not _closes(plan):
        yield from chunks if plan.crop is None else _pasted(canvas, chunks, plan.crop)
        return
    frames = torch.cat(list(chunks))
    yield torch.cat([frames[-1:], frames, frames[: -window.first - 1]])  # once round, from before the film's first


def _push(model: Model, window: Window) -> float:
    """The share of the guidance that a window needs beside the film it knows."""
    d = model.spec.defaults
    if window.left and window.right:
        return d.arriving
    return d.going_on if window.left or window.right else 1.0


def _closes(plan: Plan) -> bool:
    """Whether the whole film is one window on a circle."""
    return plan.circle and not plan.placed


@torch.inference_mode()
def paint_latents(
    model: Model,
    canvas: Canvas,
    prompt: str,
    settings: Settings,
    on_event: Listener = lambda _: None,
    *,
    source: Start | None = None,
    cyclic: bool = False,
) -> Tensor:
    """One canvas of the model's size painted in latent space, (1, C, T, H, W) on the model's device.

    circle_of_time: a cycle of one latent fewer than the canvas, whose first stands only for the one before.
    """
    on_event(ProgressEvent("encode", 0, 1))
    with record_function("encode"):
        latents, velocity = _encoded(model, canvas, prompt, settings, source, cyclic)
    on_event(ProgressEvent("encode", 1, 1))
    channels, length, height, width = model.spec.grid.latent_shape(*canvas.shape)
    noise = sampler.initial_noise((channels, length - cyclic, height, width), settings.seed)
    strength = 1.0 if source is None else source.strength
    times = _times(model, settings, strength, noise[0, 0].numel() // model.spec.grid.patch**2)

    def on_step(done: int, total: int) -> None:
        on_event(ProgressEvent("sample", done, total))

    with record_function("sample"):
        if source is not None and source.method == "flow":
            before = _named("pass", model.bind(canvas, latents, source.was, settings.negative_prompt, 1.0))
            return flow_edit(before, velocity, latents.clean_BCTHW, times, settings.seed, on_step=on_step)
        rule = sampler.SAMPLERS[settings.sampler]
        return sampler.sample(velocity, latents, noise.to(latents.clean_BCTHW), times, sampler=rule, on_step=on_step)


def _times(model: Model, settings: Settings, strength: float, tokens: int) -> Tensor:
    if isinstance(model, Scheduled):
        return model.schedule(settings.sampler, settings.steps, settings.shift, strength, tokens)
    return sampler.timesteps_for_strength(settings.steps, settings.shift, strength)


def _encoded(
    model: Model, canvas: Canvas, prompt: str, settings: Settings, start: Start | None, circle_of_time: bool
) -> tuple[Latents, sampler.Velocity]:
    """(what is known and what is started from, the field that paints the rest)."""
    latents = model.encode(canvas)
    velocity = model.bind(canvas, latents, prompt, settings.negative_prompt, settings.guidance)
    if circle_of_time:
        velocity = cyclic.temporal_roll(velocity, lead=1)
        latents = Latents(latents.clean_BCTHW[:, :, 1:], latents.unknown_B1THW[:, :, 1:])
    if start is not None and (start.strength < 1 or start.method == "flow"):
        everything = Canvas(canvas.frames_FCYX, torch.ones_like(canvas.known_F1YX), canvas.fps)
        length = latents.clean_BCTHW.shape[2]
        latents = Latents(model.encode(everything).clean_BCTHW[:, :, -length:], latents.unknown_B1THW)
    return latents, _named("pass", velocity)


def _named(name: str, velocity: sampler.Velocity) -> sampler.Velocity:
    """The same field, each of whose calls stands under that name in a profile."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        with record_function(name):
            return velocity(x, t)

    return field


def _decoded(model: Model, plan: Plan, latents_BCTHW: Tensor, total: int, tell: Listener) -> Iterator[Tensor]:
    """Frames as the decoder gives them out, at the size of the film or of the plan's crop, rounded."""
    if _closes(plan):
        total = plan.frames
        chunks = cyclic.decode_cyclic(model.decode, latents_BCTHW, model.spec.grid.time, CYCLIC_LEAD)
    else:
        chunks = model.decode(latents_BCTHW)
    done, size = 0, plan.format.size if plan.crop is None else plan.crop.size
    while True:
        with torch.inference_mode(), record_function("decode"):  # not around the yield, or they would hold for a reader
            chunk = next(chunks, None)
            if chunk is None:
                return
            frames_FCYX = to_uint8(chunk, size)
        done += len(frames_FCYX)
        tell(ProgressEvent("decode", done, total))
        yield frames_FCYX


def crop_canvas(canvas: Canvas, crop: Crop) -> Canvas:
    """The part of the canvas that lies in the crop."""
    rows, columns = crop.slices
    return Canvas(canvas.frames_FCYX[..., rows, columns], canvas.known_F1YX[..., rows, columns], canvas.fps)


def _pasted(canvas: Canvas, chunks: Iterator[Tensor], crop: Crop) -> Iterator[Tensor]:
    """Chunks of painted crops as whole frames: the canvas's own, with the crops in their place."""
    rows, columns = crop.slices
    begin = 0
    for chunk in chunks:
        frames = canvas.frames_FCYX[begin : begin + len(chunk)].clone()
        frames[..., rows, columns] = chunk
        begin += len(chunk)
        yield frames


def to_uint8(chunk_FCYX: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels in [-1, 1] as uint8 on the CPU, at ``size``: rounded where they are, so that a byte a number is moved."""
    if chunk_FCYX.shape[-2:] != torch.Size(size):
        chunk_FCYX = resize(chunk_FCYX.float().cpu(), size)
    return ((chunk_FCYX.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def resize_canvas(canvas: Canvas, size: tuple[int, int]) -> Canvas:
    """The canvas at another (height, width). A pixel is known where all that it covers is known."""
    if canvas.shape[1:] == size:
        return canvas
    frames = resize(canvas.frames_FCYX.float(), size).round().clamp(0, 255).to(torch.uint8)
    unknown = F.interpolate((~canvas.known_F1YX).float(), size, mode="area")
    # "area" looks at no more than the nearest pixel when it enlarges, and at all that are covered when it shrinks.
    return Canvas(frames, unknown == 0, canvas.fps)


def resize(frames_FCYX: Tensor, size: tuple[int, int]) -> Tensor:
    """Float frames at another (height, width), bicubic, without aliasing."""
    if frames_FCYX.shape[-2:] == torch.Size(size):
        return frames_FCYX
    pieces = [F.interpolate(f[None], size, mode="bicubic", antialias=True) for f in frames_FCYX]  # memory stays flat
    return torch.cat(pieces)


def _told(on_event: Listener | None, window: int, windows: int) -> Listener:
    if on_event is None:
        return lambda _: None
    return lambda event: on_event(replace(event, window=window, windows=windows))


@contextmanager
def _memory_errors(frames: int, size: tuple[int, int]) -> Iterator[None]:
    """Running out of memory, said in one line."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
            said = str(error).lower()
            if "out of memory" not in said and "can't allocate memory" not in said:
                raise
        raise OutOfMemory(
            f"{frames} frames of {size[1]}x{size[0]} do not fit in memory; try a smaller --size or fewer --frames"
        ) from error
