"""A training job, carried out: progress, previews, what is saved on the way, and the file at its end."""

from __future__ import annotations

import time
from statistics import fmean
from typing import Any

import torch
import typer

from sora import __version__, media, memory, models, weights
from sora.cli.progress import Clock, Listener, note, progress
from sora.cli.train_job import DEFAULT_PREVIEWS, DEFAULT_STEPS, TrainJob
from sora.engine import engine
from sora.engine.progress import ProgressEvent
from sora.finetune import dataset, examples
from sora.finetune.lora_trainer import LoRAConfig, LoRATrainer, gradient_checkpointing
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.recipe import sha256_of
from sora.weights import lora_file

STOPPED = 130
LOSS_WINDOW = 50  # steps whose mean loss is reported


def run(job: TrainJob) -> dict[str, Any]:
    """Train and write the file. What was done, as --json tells it."""
    device = memory.choose_device(job.device)
    model = models.load(job.spec, device, memory.choose_dtype(job.dtype, device))
    clock, losses = Clock(), list[float]()
    with progress(clock, "", job.quiet) as on_event:
        seed = job.settings["seed"]
        prepared = examples.prepare(
            model, job.materials, job.size, seed, lambda n, of: on_event(ProgressEvent("encode", n, of))
        )
        trainer = LoRATrainer(model, prepared, LoRAConfig(**job.settings))
        job.folder.mkdir(exist_ok=True)
        if job.resume:
            trainer.resume(job.state_file)
        config = trainer.config
        summary = f"{len(job.materials)} files, {len(prepared)} examples, rank {config.rank}"
        summary += f", rate {trainer.learning_rate:.2g}"
        note(summary + (f", from step {trainer.step}" if trainer.step else ""), job.quiet)
        try:
            with gradient_checkpointing(model):
                _train(job, trainer, losses, on_event)
        except KeyboardInterrupt:
            _save(job, trainer)
            note(f"stopped at step {trainer.step}; {job.out} holds what was learnt, --resume goes on", quiet=False)
            raise typer.Exit(STOPPED) from None
    _save(job, trainer)
    note(f"{job.out}: rank {trainer.config.rank}, {trainer.step} steps in {clock.total:.0f} s", job.quiet)
    facts = {"path": str(job.out), "model": job.spec.name, "steps": trainer.step, "examples": len(prepared)}
    return facts | {"loss": _mean_loss(losses), "seconds": clock.rounded_seconds()}


def _train(job: TrainJob, trainer: LoRATrainer, losses: list[float], on_event: Listener) -> None:
    """Steps until the job is done; previews, and a state to go on from, every so often and at the end."""
    started, preview_seconds, last_share, last_step = time.monotonic(), 0.0, 0.0, -1
    while (done := job.progress(trainer.step, time.monotonic() - started - preview_seconds)) < 1:
        losses.append(trainer.train_step(done))
        total = (
            (job.steps or DEFAULT_STEPS)
            if job.minutes is None
            else max(trainer.step, round(trainer.step / max(done, 1e-3)))
        )
        on_event(ProgressEvent("learn", trainer.step, total))
        if trainer.step % job.save_every == 0 if job.save_every else done - last_share >= 1 / DEFAULT_PREVIEWS:
            pause, last_share, last_step = time.monotonic(), done, trainer.step
            trainer.save(job.state_file)
            note(f"step {trainer.step}: loss {_mean_loss(losses):.4f}", job.quiet)
            _preview(job, trainer, on_event)
            preview_seconds += time.monotonic() - pause  # previews are not charged to --minutes
    if last_step != trainer.step:
        _preview(job, trainer, on_event)


def _mean_loss(losses: list[float]) -> float:
    return round(fmean(losses[-LOSS_WINDOW:]), 5) if losses else 0.0


def _preview(job: TrainJob, trainer: LoRATrainer, on_event: Listener) -> None:
    """Each preview's prompt painted as it would be now, at the model's defaults."""

    spec = job.spec
    d = spec.defaults
    format = spec.format(job.size or spec.grid.nearest_size(1.0, d.area), d.fps)
    for number, prompt in enumerate(job.previews, start=1):
        settings = engine.Settings.from_spec(spec, job.settings["seed"])
        plan = operations.generate((prompt,), frames=d.frames, format=format)
        frames_FCYX = torch.cat(list(engine.paint(trainer.model, plan, settings, on_event)))
        path = job.folder / f"step-{trainer.step:06d}-{number}.mp4"
        media.write_clip(path, Clip(frames_FCYX.permute(0, 2, 3, 1).contiguous().numpy(), d.fps), force=True)


def _save(job: TrainJob, trainer: LoRATrainer) -> None:
    """The state to go on from, and the file to paint with."""
    trainer.save(job.state_file)
    spec, asset = job.spec, weights.asset(job.spec.files[0])
    metadata = {
        "family": spec.family,
        "model": spec.name,
        "weights": sha256_of(asset) if asset.is_file() else "",
        "rank": str(trainer.config.rank),
        "alpha": f"{trainer.config.alpha:g}",
        "steps": str(trainer.step),
        "rate": f"{trainer.learning_rate:g}",
        "words": " ".join(dataset.shared_words(m.caption for m in job.materials)),
        "sora": __version__,
    }
    lora_file.write(job.out, trainer.tensors(), metadata)
