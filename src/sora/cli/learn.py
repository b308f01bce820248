"""A training job, carried out: progress, previews, what is saved on the way, and the file at its end."""

from __future__ import annotations

import time
from statistics import fmean
from typing import Any

import torch
import typer

from sora import __version__, media, memory, models, weights
from sora.cli.progress import Clock, Listener, note, progress
from sora.cli.train_job import PREVIEWS, STEPS, TrainJob
from sora.engine import engine
from sora.engine.progress import ProgressEvent
from sora.finetune import dataset, examples
from sora.finetune.lora_trainer import LoRAConfig, LoRATrainer, gradient_checkpointing
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.recipe import sha256_of
from sora.weights import lora_file

STOPPED = 130
RECENT = 50  # steps whose mean loss is told


def learn(job: TrainJob) -> dict[str, Any]:
    """Train and write the file. What was done, as --json tells it."""
    device = memory.choose_device(job.device)
    model = models.load(job.spec, device, memory.choose_dtype(job.dtype, device))
    clock, losses = Clock(), list[float]()
    with progress(clock, "", job.quiet) as hear:
        seed = job.settings["seed"]
        made = examples.prepare(
            model, job.materials, job.size, seed, lambda n, of: hear(ProgressEvent("encode", n, of))
        )
        fit = LoRATrainer(model, made, LoRAConfig(**job.settings))
        job.folder.mkdir(exist_ok=True)
        if job.resume:
            fit.resume(job.state)
        told = f"{len(job.materials)} files, {len(made)} examples, rank {fit.config.rank}, rate {fit.learning_rate:.2g}"
        note(told + (f", from step {fit.step}" if fit.step else ""), job.quiet)
        try:
            with gradient_checkpointing(model):
                _train(job, fit, losses, hear)
        except KeyboardInterrupt:
            _save(job, fit)
            note(f"stopped at step {fit.step}; {job.out} holds what was learnt, --resume goes on", quiet=False)
            raise typer.Exit(STOPPED) from None
    _save(job, fit)
    facts = {"path": str(job.out), "model": job.spec.name, "steps": fit.step, "examples": len(made)}
    return facts | {"loss": _recent(losses), "seconds": clock.rounded()}


def _train(job: TrainJob, fit: LoRATrainer, losses: list[float], hear: Listener) -> None:
    """Steps until the job is done; previews, and a state to go on from, every so often and at the end."""
    begun, painting, shown, at = time.monotonic(), 0.0, 0.0, -1
    while (done := job.done(fit.step, time.monotonic() - begun - painting)) < 1:
        losses.append(fit.train_step(done))
        total = (job.steps or STEPS) if job.minutes is None else max(fit.step, round(fit.step / max(done, 1e-3)))
        hear(ProgressEvent("learn", fit.step, total))
        if fit.step % job.every == 0 if job.every else done - shown >= 1 / PREVIEWS:
            mark, shown, at = time.monotonic(), done, fit.step
            fit.save(job.state)
            note(f"step {fit.step}: loss {_recent(losses):.4f}", job.quiet)
            _preview(job, fit, hear)
            painting += time.monotonic() - mark  # previews are not charged to --minutes
    if at != fit.step:
        _preview(job, fit, hear)


def _recent(losses: list[float]) -> float:
    return round(fmean(losses[-RECENT:]), 5) if losses else 0.0


def _preview(job: TrainJob, fit: LoRATrainer, hear: Listener) -> None:
    """Each preview's prompt painted as it would be now, at the model's defaults."""

    spec = job.spec
    d, form = (
        spec.defaults,
        spec.form(job.size or spec.grid.nearest_size(1.0, spec.defaults.area), spec.defaults.fps),
    )
    for number, prompt in enumerate(job.previews, start=1):
        settings = engine.Settings.from_spec(spec, job.settings["seed"])
        plan = operations.generate((prompt,), frames=d.frames, form=form)
        frames_FCYX = torch.cat(list(engine.paint(fit.model, plan, settings, hear)))
        path = job.folder / f"step-{fit.step:06d}-{number}.mp4"
        media.write_clip(path, Clip(frames_FCYX.permute(0, 2, 3, 1).contiguous().numpy(), d.fps), force=True)


def _save(job: TrainJob, fit: LoRATrainer) -> None:
    """The state to go on from, and the file to paint with."""
    fit.save(job.state)
    spec, asset = job.spec, weights.asset(job.spec.files[0])
    said = {
        "family": spec.family,
        "model": spec.name,
        "weights": sha256_of(asset) if asset.is_file() else "",
        "rank": str(fit.config.rank),
        "alpha": f"{fit.config.alpha:g}",
        "steps": str(fit.step),
        "rate": f"{fit.learning_rate:g}",
        "words": " ".join(dataset.shared_words(m.caption for m in job.materials)),
        "sora": __version__,
    }
    lora_file.write(job.out, fit.tensors(), said)
