"""``paint``: the one sequence of phases that every verb and every model goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sora import sampler
from sora.canvas import Canvas, Plan, to_FCYX
from sora.errors import OutOfMemory

if TYPE_CHECKING:
    from sora.families import Model


@dataclass(frozen=True)
class Settings:
    """How to sample. guidance: 1 is none. shift: of the timesteps, 1 is none. step: a name in ``sampler.STEPS``.
    negative: what to steer away from."""

    seed: int
    steps: int
    guidance: float
    shift: float
    step: str
    negative: str = ""


@dataclass(frozen=True)
class Event:
    """Progress. phase: "encode", "sample" or "decode"; done of total steps, or frames for "decode"."""

    phase: str
    done: int
    total: int


Listener = Callable[[Event], None]


def paint(model: Model, plan: Plan, settings: Settings, on_event: Listener | None = None) -> Iterator[Tensor]:
    """The finished film as uint8 chunks (F, 3, Y, X) on the CPU: what stands before, the kept frames, what follows.

    Known pixels come back exactly as they were. Raises OutOfMemory.
    """
    tell = on_event or (lambda _: None)
    if plan.before is not None:
        yield to_FCYX(plan.before)
    for canvas, prompt in zip(plan.canvases, plan.prompts, strict=True):
        with _memory_errors(canvas):
            latents = paint_latents(model, canvas, prompt, settings, tell)
            yield from _kept(_decoded(model, canvas, latents, tell), plan.keep, canvas.shape[0])
    if plan.after is not None:
        yield to_FCYX(plan.after)


@torch.inference_mode()
def paint_latents(
    model: Model, canvas: Canvas, prompt: str, settings: Settings, tell: Listener = lambda _: None
) -> Tensor:
    """One canvas painted in latent space, (1, C, T, H, W) on the model's device."""
    tell(Event("encode", 0, 1))
    latents = model.encode(canvas)
    noise = sampler.noise_for(model.spec.grid.latent_shape(*canvas.shape), settings.seed)
    velocity = model.bind(canvas, latents, prompt, settings.negative, settings.guidance)
    tell(Event("encode", 1, 1))
    return sampler.sample(
        velocity,
        latents,
        noise.to(latents.clean_BCTHW),
        sampler.timesteps(settings.steps, settings.shift),
        step=sampler.STEPS[settings.step],
        on_step=lambda done, total: tell(Event("sample", done, total)),
    )


def _decoded(model: Model, canvas: Canvas, latents_BCTHW: Tensor, tell: Listener) -> Iterator[Tensor]:
    """Pixels as the decoder gives them out, rounded, with the canvas's known pixels pasted over."""
    total, done = canvas.shape[0], 0
    for chunk in model.decode(latents_BCTHW):
        painted = ((chunk.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
        done += painted.shape[0]
        tell(Event("decode", done, total))
        yield canvas.paste_known(painted, done - painted.shape[0])


def _kept(chunks: Iterator[Tensor], keep: slice, total: int) -> Iterator[Tensor]:
    """Only the frames of a slice out of a stream of ``total`` frames."""
    start, stop, _ = keep.indices(total)
    frames = islice((frame for chunk in chunks for frame in chunk), start, stop)
    for frame in frames:
        yield frame[None]


@contextmanager
def _memory_errors(canvas: Canvas) -> Iterator[None]:
    """Running out of memory, said in one line."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
            said = str(error).lower()
            if "out of memory" not in said and "can't allocate memory" not in said:
                raise
        frames, height, width = canvas.shape
        raise OutOfMemory(
            f"{frames} frames of {width}x{height} do not fit in memory; try a smaller --size or fewer --frames"
        ) from error
