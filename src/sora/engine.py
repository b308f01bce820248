"""``paint``: the one sequence of phases that every verb and every model goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from sora import circle, sampler, seams
from sora.canvas import Canvas, Latents, Plan, Start, Window
from sora.errors import OutOfMemory
from sora.film import Film
from sora.flowedit import flow_edit

if TYPE_CHECKING:
    from sora.families import Model

LEAD = 5  # latents of a circle that are decoded before its beginning, so that its end runs on into it
ANOTHER_DRAW = 1_000_003  # from one window's seed to the next one's, far from seeds that people count up


@dataclass(frozen=True)
class Settings:
    """How to sample. guidance: 1 is none. shift: of the timesteps, 1 is none. step: a name in ``sampler.STEPS``.
    negative: what to steer away from. schedule: as in ``sampler.times_for``."""

    seed: int
    steps: int
    guidance: float
    shift: float
    step: str
    negative: str = ""
    schedule: str = "even"


@dataclass(frozen=True)
class Event:
    """Progress. phase: "encode", "sample" or "decode"; done of total steps, or frames for "decode". window: which of
    windows, counted from 1."""

    phase: str
    done: int
    total: int
    window: int = 1
    windows: int = 1


Listener = Callable[[Event], None]


def paint(model: Model, plan: Plan, settings: Settings, on_event: Listener | None = None) -> Iterator[Tensor]:
    """The finished film at its own size, as uint8 chunks (F, 3, Y, X) on the CPU, each as soon as it is finished.

    Known pixels come back exactly as they were. Raises OutOfMemory.
    """
    film, colours = Film(plan), dict[int, seams.Colours]()
    yield from film.ready()
    for number, window in enumerate(plan.windows, start=1):
        tell = _told(on_event, number, len(plan.windows))
        with _memory_errors(window.frames, plan.format.painted):
            canvas = film.canvas(window)
            painted = _painted(model, plan, window, canvas, settings, tell)
            film.put(window, _joined(model, canvas, painted, window, colours))
        yield from film.ready()


def _joined(
    model: Model, canvas: Canvas, painted_FCYX: Tensor, window: Window, colours: dict[int, seams.Colours]
) -> Tensor:
    """Painted frames as they will stand in the film. The first window of a part sets the colours of the others."""
    if window.part in colours and not window.right:
        painted_FCYX = seams.matched(painted_FCYX, colours[window.part])
    known, settled = canvas.known_F1YX, painted_FCYX
    if known.any() and (model.spec.defaults.meets_pictures or not _only_pictures(window, known)):
        settled = seams.settled(canvas, painted_FCYX)
    elif known.any():
        settled = torch.where(known, canvas.frames_FCYX, painted_FCYX)
    colours.setdefault(window.part, seams.Colours.of(settled))
    return settled


def _only_pictures(window: Window, known_F1YX: Tensor) -> bool:
    """Whether nothing is known but a frame at either end."""
    flat = known_F1YX.flatten(1)
    return max(window.left, window.right) <= 1 and torch.equal(flat.all(dim=1), flat.any(dim=1))


def _painted(model: Model, plan: Plan, window: Window, canvas: Canvas, settings: Settings, tell: Listener) -> Tensor:
    """All the window's frames as the model gives them, at the film's size, uint8 (F, 3, Y, X)."""
    small = scaled(canvas, plan.format.painted)
    seed = (settings.seed + ANOTHER_DRAW * window.draw) % 2**63
    push = 1.0 if plan.start else _push(model, window)
    drawn = replace(settings, seed=seed, guidance=1 + (settings.guidance - 1) * push)
    latents = paint_latents(model, small, window.prompt, drawn, tell, start=plan.start, circle_of_time=_closes(plan))
    frames = torch.cat(list(_decoded(model, plan, latents, window.frames, tell)))
    if not _closes(plan):
        return frames
    return torch.cat(
        [frames[-1:], frames, frames[: -window.first - 1]]
    )  # once round, from before the film's first frame


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
    tell: Listener = lambda _: None,
    *,
    start: Start | None = None,
    circle_of_time: bool = False,
) -> Tensor:
    """One canvas of the model's size painted in latent space, (1, C, T, H, W) on the model's device.

    circle_of_time: a cycle of one latent fewer than the canvas, whose first stands only for the one before.
    """
    tell(Event("encode", 0, 1))
    latents = model.encode(canvas)
    channels, length, height, width = model.spec.grid.latent_shape(*canvas.shape)
    velocity = model.bind(canvas, latents, prompt, settings.negative, settings.guidance)
    if circle_of_time:
        velocity = circle.rolled(velocity, lead=1)
        length -= 1
        latents = Latents(latents.clean_BCTHW[:, :, 1:], latents.unknown_B1THW[:, :, 1:])
    noise = sampler.noise_for((channels, length, height, width), settings.seed)
    strength = 1.0 if start is None else start.strength
    times = sampler.times_for(settings.schedule, settings.step, settings.steps, settings.shift, strength)
    if start is not None and (start.strength < 1 or start.method == "flow"):
        everything = Canvas(canvas.frames_FCYX, torch.ones_like(canvas.known_F1YX), canvas.fps)
        latents = Latents(model.encode(everything).clean_BCTHW[:, :, -length:], latents.unknown_B1THW)
    tell(Event("encode", 1, 1))

    def on_step(done: int, total: int) -> None:
        tell(Event("sample", done, total))

    if start is not None and start.method == "flow":
        before = model.bind(canvas, latents, start.was, settings.negative, 1.0)
        return flow_edit(before, velocity, latents.clean_BCTHW, times, settings.seed, on_step=on_step)
    rule = sampler.STEPS[settings.step]
    return sampler.sample(velocity, latents, noise.to(latents.clean_BCTHW), times, step=rule, on_step=on_step)


def _decoded(model: Model, plan: Plan, latents_BCTHW: Tensor, total: int, tell: Listener) -> Iterator[Tensor]:
    """Frames as the decoder gives them out, at the film's size, rounded."""
    if _closes(plan):
        total = plan.frames
        chunks = circle.circular(model.decode, latents_BCTHW, model.spec.grid.time, LEAD)
    else:
        chunks = model.decode(latents_BCTHW)
    done = 0
    with torch.inference_mode():
        for chunk in chunks:
            pixels = resized(chunk.float().cpu(), plan.format.size).clamp(-1, 1)
            done += pixels.shape[0]
            tell(Event("decode", done, total))
            yield ((pixels + 1) * 127.5).round().to(torch.uint8)


def scaled(canvas: Canvas, size: tuple[int, int]) -> Canvas:
    """The canvas at another (height, width). A pixel is known where all that it covers is known."""
    if canvas.shape[1:] == size:
        return canvas
    frames = resized(canvas.frames_FCYX.float(), size).round().clamp(0, 255).to(torch.uint8)
    unknown = F.interpolate((~canvas.known_F1YX).float(), size, mode="area")
    # "area" looks at no more than the nearest pixel when it enlarges, and at all that are covered when it shrinks.
    return Canvas(frames, unknown == 0, canvas.fps)


def resized(frames_FCYX: Tensor, size: tuple[int, int]) -> Tensor:
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
