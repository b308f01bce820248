"""A training job, carried out: progress, previews, what is saved on the way, and the file at its end."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

import torch

from sora import __version__, media, memory, models, weights
from sora.cli import signals
from sora.cli.progress import Clock, Listener, note, progress
from sora.cli.train_job import DEFAULT_PREVIEWS, DEFAULT_STEPS, TrainJob
from sora.engine import engine
from sora.engine.progress import ProgressEvent
from sora.errors import InputError
from sora.finetune import dataset, examples, unfinished
from sora.finetune.lora_trainer import LoRAConfig, LoRATrainer, gradient_checkpointing
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.recipe import sha256_of
from sora.storage import refusal
from sora.weights import lora_file

LOSS_WINDOW = 50  # steps whose mean loss is reported
SAVE_SHARE = 20  # times what a save takes go by before the next: at most a twentieth of the time is spent on them
MIN_SAVE_SECONDS = 1.0  # between two saves


@dataclass
class Progress:
    """What the loop knows and the trainer does not. seconds: of training, in all runs. shown: the share that was behind
    at the last preview. losses: of the last steps. finished: whether all steps are done."""

    seconds: float = 0.0
    shown: float = 0.0
    losses: list[float] = field(default_factory=list)
    finished: bool = False

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Progress:
        """Out of a saved state. A training that goes on after its end counts its time from there."""
        progress = cls(**saved)
        return progress if not progress.finished else cls(losses=progress.losses)


@dataclass
class Autosave:
    """Saves the state whenever SAVE_SHARE times what the last save took has gone by, so that a kill costs little and
    the saves less. A save that fails is tried again, since the training in memory is not lost by it."""

    job: TrainJob
    cost: float = 0.0
    last: float = field(default_factory=time.monotonic)
    failed: bool = False

    def after_step(self, trainer: LoRATrainer, progress: Progress) -> None:
        if time.monotonic() - self.last >= max(MIN_SAVE_SECONDS, SAVE_SHARE * self.cost):
            self.save(trainer, progress)

    def save(self, trainer: LoRATrainer, progress: Progress) -> None:
        started = time.monotonic()
        try:
            trainer.save(self.job.state_file, asdict(progress))
        except InputError as error:
            if not self.failed:
                note(f"step {trainer.step} is not saved, the training goes on: {error}", quiet=False)
            self.failed = True
        else:
            self.failed = False
        self.last = time.monotonic()
        self.cost = self.last - started


def run(job: TrainJob) -> dict[str, Any]:
    """Train and write the file. What was done, as --json tells it. Raises InputError where another program trains in
    the same folder."""
    device = memory.choose_device(job.device)
    if line := memory.device_note(job.device, device):
        note(line, job.quiet)
    model = models.load(job.spec, device, memory.choose_dtype(job.dtype, device))
    clock = Clock()
    with progress(clock, "", job.quiet) as on_event:
        seed = job.settings["seed"]
        prepared = examples.prepare(
            model, job.clips, job.size, seed, lambda n, of: on_event(ProgressEvent("encode", n, of))
        )
        trainer = LoRATrainer(model, prepared, LoRAConfig(**job.settings))
        with unfinished.locked(job.folder):
            reached = _train_and_write(job, trainer, len(prepared), on_event)
    note(f"{job.out}: rank {trainer.config.rank}, {trainer.step} steps in {clock.total:.0f} s", job.quiet)
    facts = {"path": str(job.out), "model": job.spec.name, "steps": trainer.step, "examples": len(prepared)}
    return facts | {"loss": _mean_loss(reached.losses), "seconds": clock.rounded_seconds()}


def _train_and_write(job: TrainJob, trainer: LoRATrainer, examples: int, on_event: Listener) -> Progress:
    """The training from where it stands to its end."""
    reached = _begin(job, trainer)
    summary = f"{len(job.clips)} files, {examples} examples, rank {trainer.config.rank}"
    summary += f", rate {trainer.learning_rate:.2g}"
    note(summary + (f", from step {trainer.step}" if trainer.step else ""), job.quiet)
    try:
        with gradient_checkpointing(trainer.model):
            _train(job, trainer, reached, on_event)
    except KeyboardInterrupt as stop:
        stop.args = (_stop(job, trainer, reached),)
        raise
    reached.finished = True
    _write_lora(job, trainer)
    _keep_finished(job, trainer, reached)
    return reached


def _begin(job: TrainJob, trainer: LoRATrainer) -> Progress:
    """How far the training is. Its folder says from now on that it is not finished. Raises InputError."""
    try:
        if not job.resume:
            job.state_file.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {job.folder}: {refusal.explain(error, job.state_file)}") from None
    reached = Progress.of(trainer.resume(job.state_file)) if job.resume else Progress()
    unfinished.begin(job.folder, job.identity)
    return reached


def _keep_finished(job: TrainJob, trainer: LoRATrainer, reached: Progress) -> None:
    """The state, for more steps later. That it cannot be written takes nothing from the file that is there."""
    try:
        trainer.save(job.state_file, asdict(reached))
        unfinished.finish(job.folder, job.identity)
    except InputError as error:
        note(f"{job.out} is whole, but more steps cannot be added to it: {error}", quiet=False)


def _stop(job: TrainJob, trainer: LoRATrainer, reached: Progress) -> str:
    """Keep what was learnt; a line that says how to go on."""
    if not trainer.is_whole:
        return f"stopped in step {trainer.step}; go on with the same command from what was saved last"
    trainer.save(job.state_file, asdict(reached))
    _write_lora(job, trainer)
    kept = f"{job.out} holds what was learnt"
    return f"stopped at step {trainer.step}, {kept}; go on with the same command or --resume"


def _train(job: TrainJob, trainer: LoRATrainer, reached: Progress, on_event: Listener) -> None:
    """Steps until the job is done; previews every so often and at the end, and states to go on from."""
    saver, last_step = Autosave(job), -1
    began = time.monotonic() - reached.seconds
    while (done := job.progress(trainer.step, reached.seconds)) < 1:
        with signals.end_of_step_first(lambda: note("stopping after this step; again stops at once", job.quiet)):
            loss = trainer.train_step(done)
        reached.losses = [*reached.losses, loss][-LOSS_WINDOW:]
        reached.seconds = time.monotonic() - began
        if stop := signals.requested():
            raise stop
        total = (
            (job.steps or DEFAULT_STEPS)
            if job.minutes is None
            else max(trainer.step, round(trainer.step / max(done, 1e-3)))
        )
        on_event(ProgressEvent("learn", trainer.step, total))
        if trainer.step % job.save_every == 0 if job.save_every else done - reached.shown >= 1 / DEFAULT_PREVIEWS:
            reached.shown, last_step = done, trainer.step
            saver.save(trainer, reached)
            note(f"step {trainer.step}: loss {_mean_loss(reached.losses):.4f}", job.quiet)
            _preview(job, trainer, on_event)
            began = time.monotonic() - reached.seconds  # previews are not charged to --minutes
        else:
            saver.after_step(trainer, reached)
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


def _write_lora(job: TrainJob, trainer: LoRATrainer) -> None:
    """The file to paint with. Raises InputError."""
    spec, asset = job.spec, weights.asset(job.spec.files[0])
    metadata = {
        "family": spec.family,
        "model": spec.name,
        "weights": sha256_of(asset) if asset.is_file() else "",
        "rank": str(trainer.config.rank),
        "alpha": str(trainer.config.rank),  # of the factors as they are written: they are scaled already
        "trained_alpha": f"{trainer.config.alpha:g}",
        "steps": str(trainer.step),
        "rate": f"{trainer.learning_rate:g}",
        "words": " ".join(dataset.shared_words(clip.caption for clip in job.clips)),
        "sora": __version__,
    }
    lora_file.write(job.out, trainer.tensors(), metadata)
