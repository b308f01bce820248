"""A course of training, carried out: progress, previews, what is saved on the way, and the file at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer

from sora import __version__, catalog, models, weights
from sora.cli.progress import Clock, Listener, note, progress

if TYPE_CHECKING:
    from sora.finetune.dataset import Material
    from sora.finetune.fit import Fit

    Materials = tuple[Material, ...]

STEPS = 400  # where neither steps nor minutes are said
STOPPED = 130
RECENT = 50  # steps whose mean loss is told
PREVIEWS = 4  # times that a training saves and shows what it has learnt, where nobody says how often


@dataclass(frozen=True)
class Course:
    """What to train, how long, and where it goes. settings: of ``tuning.fit.Tuning``. size: (height, width) on the
    grid, or None for each clip's own shape. every: steps between two previews, None for PREVIEWS in all."""

    spec: catalog.ModelSpec
    materials: Materials
    out: Path
    settings: dict[str, Any]
    size: tuple[int, int] | None
    steps: int | None
    minutes: float | None
    every: int | None
    previews: tuple[str, ...]
    resume: bool
    device: str | None
    dtype: str | None
    quiet: bool

    @property
    def folder(self) -> Path:
        """Where previews are, and the state to go on from."""
        return self.out.with_name(f"{self.out.stem}-training")

    @property
    def state(self) -> Path:
        return self.folder / "state.pt"

    def done(self, step: int, seconds: float) -> float:
        """The share that is behind, 1 or more at the end. seconds: of this run."""
        return step / (self.steps or STEPS) if self.minutes is None else seconds / (60 * self.minutes)


def learn(course: Course) -> dict[str, Any]:
    """Train and write the file. What was done, as --json tells it."""
    from sora import memory
    from sora.engine.engine import Event
    from sora.finetune import examples
    from sora.finetune.fit import Fit, Tuning, frugal

    device = memory.choose_device(course.device)
    model = models.load(course.spec, device, memory.choose_dtype(course.dtype, device))
    clock, losses = Clock(), list[float]()
    with progress(clock, "", course.quiet) as hear:
        seed = course.settings["seed"]
        made = examples.prepare(model, course.materials, course.size, seed, lambda n, of: hear(Event("encode", n, of)))
        fit = Fit(model, made, Tuning(**course.settings))
        course.folder.mkdir(exist_ok=True)
        if course.resume:
            fit.resume(course.state)
        told = f"{len(course.materials)} files, {len(made)} examples, rank {fit.tuning.rank}, rate {fit.rate:.2g}"
        note(told + (f", from step {fit.step}" if fit.step else ""), course.quiet)
        try:
            with frugal(model):
                _train(course, fit, losses, hear)
        except KeyboardInterrupt:
            _save(course, fit)
            note(f"stopped at step {fit.step}; {course.out} holds what was learnt, --resume goes on", quiet=False)
            raise typer.Exit(STOPPED) from None
    _save(course, fit)
    facts = {"path": str(course.out), "model": course.spec.name, "steps": fit.step, "examples": len(made)}
    return facts | {"loss": _recent(losses), "seconds": clock.rounded()}


def _train(course: Course, fit: Fit, losses: list[float], hear: Listener) -> None:
    """Steps until the course is done; previews, and a state to go on from, every so often and at the end."""
    from sora.engine.engine import Event

    begun, painting, shown, at = time.monotonic(), 0.0, 0.0, -1
    while (done := course.done(fit.step, time.monotonic() - begun - painting)) < 1:
        losses.append(fit.advance(done))
        total = (course.steps or STEPS) if course.minutes is None else max(fit.step, round(fit.step / max(done, 1e-3)))
        hear(Event("learn", fit.step, total))
        if fit.step % course.every == 0 if course.every else done - shown >= 1 / PREVIEWS:
            mark, shown, at = time.monotonic(), done, fit.step
            fit.save(course.state)
            note(f"step {fit.step}: loss {_recent(losses):.4f}", course.quiet)
            _preview(course, fit, hear)
            painting += time.monotonic() - mark  # previews are not charged to --minutes
    if at != fit.step:
        _preview(course, fit, hear)


def _recent(losses: list[float]) -> float:
    return round(fmean(losses[-RECENT:]), 5) if losses else 0.0


def _preview(course: Course, fit: Fit, hear: Listener) -> None:
    """Each preview's prompt painted as it would be now, at the model's defaults."""
    import torch

    from sora import media
    from sora.engine import engine
    from sora.plan import operations
    from sora.plan.clip import Clip

    spec = course.spec
    d, form = (
        spec.defaults,
        spec.form(course.size or spec.grid.nearest_size(1.0, spec.defaults.area), spec.defaults.fps),
    )
    for number, prompt in enumerate(course.previews, start=1):
        how = d.steps, d.guidance, d.shift, d.step, d.negative
        settings = engine.Settings(course.settings["seed"], *how)
        plan = operations.generate((prompt,), frames=d.frames, form=form)
        frames_FCYX = torch.cat(list(engine.paint(fit.model, plan, settings, hear)))
        path = course.folder / f"step-{fit.step:06d}-{number}.mp4"
        media.write_clip(path, Clip(frames_FCYX.permute(0, 2, 3, 1).contiguous().numpy(), d.fps), force=True)


def _save(course: Course, fit: Fit) -> None:
    """The state to go on from, and the file to paint with."""
    from sora.finetune import dataset
    from sora.plan.recipe import sha256_of
    from sora.weights import lora_file

    fit.save(course.state)
    spec, asset = course.spec, weights.asset(course.spec.files[0])
    said = {
        "family": spec.family,
        "model": spec.name,
        "weights": sha256_of(asset) if asset.is_file() else "",
        "rank": str(fit.tuning.rank),
        "alpha": f"{fit.tuning.alpha:g}",
        "steps": str(fit.step),
        "rate": f"{fit.rate:g}",
        "words": " ".join(dataset.shared_words(m.caption for m in course.materials)),
        "sora": __version__,
    }
    lora_file.write(course.out, fit.tensors(), said)
