"""Distil the transformer into a student that needs few unguided steps: ``python -m minitrain distil --budget 15m``.

The teacher takes several guided steps where the student takes one. Both start from the state that the student itself
has reached, so it learns to correct its own errors (dataset aggregation, Ross et al., arXiv 1011.0686; guidance
distillation as in Meng et al., arXiv 2210.03142; one window of the trajectory at a time as in PeRFlow, Yan et al.,
arXiv 2405.07510).

The student is its teacher plus a low-rank difference (``sora.runtime.lora``), which is all that is trained and
published; with ``student_rank=0`` all of its weights are its own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minitrain.clip_bank import ClipBank
from minitrain.clips import DataMix
from minitrain.compilation import compile_blocks
from minitrain.dit import ENCODE_BATCH, LatentFeeder, trial_loss
from minitrain.latent_buffer import Batch, LatentBuffer
from minitrain.optim import MuonAdamW
from minitrain.pipeline import Pipeline, cpu_state_dict, load_frozen_networks
from minitrain.presets import DiTTrainingConfig, dit_config_of
from minitrain.retry import Attempt, minutes_left, train_with_retries
from minitrain.training_loop import Budget, LossFunction
from sora.engine.sampler import timesteps
from sora.models.mini.model import NETWORK_TIME, conditioning_channels
from sora.networks.mini_vae import TEMPORAL_COMPRESSION
from sora.networks.wan.dit import LORA_TARGETS, WanDiT
from sora.runtime import lora

LORA_TARGETS_OF_STUDENT = (*LORA_TARGETS, "time_embedder.linear_1", "time_embedder.linear_2", "time_proj", "proj_out")
"""Maps of the student that differ from its teacher's."""

LORA_FILE = "lora.safetensors"  # in the log's folder: the student's difference to its teacher
FULL_FILE = "dit.safetensors"  # the same of a student with weights of its own
ADAMW_PREFIXES = ("patch_embedding", "proj_out", "scale_shift")  # matrices that Muon must not orthogonalise


@dataclass(frozen=True)
class DistillationConfig:
    """steps: of the student. teacher_steps_per_step: guided steps of the teacher for each of them. guidance: the
    teacher's scale where nothing is known; extend_guidance and bridge_guidance: the share of it where the beginning, or
    both ends, are known (as in ``catalog.Defaults`` of the guided weights). noised_share: share of batches that start
    from noised rendered clips instead of the student's own trajectory."""

    steps: int = 4
    teacher_steps_per_step: int = 3
    shift: float = 3.0
    guidance: float = 4.0
    extend_guidance: float = 0.3
    bridge_guidance: float = 0.0
    noised_share: float = 0.25

    def timesteps(self) -> list[float]:
        """The student's timesteps, from 1 to 0."""
        return timesteps(self.steps, self.shift).tolist()

    def guidance_scales(self, known_BFTHW: Tensor) -> Tensor:
        """The teacher's guidance scale for each sample, (B, 1, 1, 1, 1), by which of its ends are known."""
        ends = known_BFTHW.amin(dim=1).flatten(2).amin(dim=-1)
        left, right = ends[:, 0] > 0, ends[:, -1] > 0
        fraction = torch.where(left & right, self.bridge_guidance, torch.where(left | right, self.extend_guidance, 1.0))
        return (1 + (self.guidance - 1) * fraction).view(-1, 1, 1, 1, 1)


class Teacher:
    """The frozen transformer with classifier-free guidance."""

    def __init__(self, dit: WanDiT, config: DistillationConfig) -> None:
        self.dit, self.config = dit.eval().requires_grad_(False), config

    @torch.no_grad()
    def integrate(self, x: Tensor, batch: Batch, slots: Tensor, null_slots: Tensor, start: float, end: float) -> Tensor:
        """The state at time ``end`` after Euler steps from ``start``, spaced evenly before the timestep shift."""
        guidance = self.config.guidance_scales(batch.known_mask).to(x)
        for t, t_next in pairwise(self._timesteps_between(start, end)):
            velocity = velocity_of(self.dit, x, batch, slots, t)
            if (guidance != 1).any():
                unconditional = velocity_of(self.dit, x, batch, null_slots, t)
                velocity = unconditional + guidance * (velocity - unconditional)
            x = x + (t_next - t) * velocity
        return x

    def _timesteps_between(self, start: float, end: float) -> list[float]:
        fine = timesteps(self.config.steps * self.config.teacher_steps_per_step, self.config.shift).tolist()
        return [t for t in fine if end - 1e-6 <= t <= start + 1e-6]


def velocity_of(dit: WanDiT, x: Tensor, batch: Batch, slots: Tensor, t: float) -> Tensor:
    """The velocity at one time for a whole batch."""
    noisy = torch.cat([x, conditioning_channels(batch.known_latents, batch.known_mask)], dim=1)
    return dit(noisy, torch.full((len(x),), NETWORK_TIME * t, device=x.device), slots).float()


def replace_known(x: Tensor, batch: Batch, noise: Tensor, t: float) -> Tensor:
    """x with the wholly known cells replaced by what they are at time t, as the sampler does."""
    known = batch.known_mask.amin(dim=1, keepdim=True)
    return x + known * ((1 - t) * batch.clean + t * noise - x)


def rollout_losses(
    student: WanDiT, teacher: Teacher, batch: Batch, slots: Tensor, null_slots: Tensor, *, noised: bool
) -> Callable[[], Tensor | None]:
    """A function that returns one loss for each step of the student, from noise to picture, and None at the end of the
    trajectory."""
    noise, times = torch.randn_like(batch.clean), teacher.config.timesteps()
    state, k = noise, 0

    def next_loss() -> Tensor | None:
        nonlocal state, k
        if k == len(times) - 1:
            return None
        t, t_next, k = times[k], times[k + 1], k + 1
        x = (1 - t) * batch.clean + t * noise if noised else replace_known(state, batch, noise, t)
        target = (teacher.integrate(x, batch, slots, null_slots, t, t_next) - x) / (t_next - t)
        predicted = velocity_of(student, x, batch, slots, t)
        state = (x + (t_next - t) * predicted).detach()
        return (batch.loss_weight * (predicted - target).square()).flatten(1).mean()

    return next_loss


class Distiller:
    """A student with its teacher and an endless sequence of rollouts. batch: clips of 17 square frames of the config's
    first side, and as many of other shapes as cost the same."""

    def __init__(self, pipeline: Pipeline, teacher: WanDiT, feeder: LatentFeeder, batch: int, rng: Random) -> None:
        self.pipeline, self.feeder, self.batch, self.rng = pipeline, feeder, batch, rng
        self.teacher = Teacher(teacher, DistillationConfig())
        self.lengths = dict(feeder.config.curriculum[-1][1])
        self.null_slots = pipeline.encode_prompts([""])
        side = next(iter(feeder.config.sides))
        self.tokens = 5 * side * side * batch
        self._next_loss: Callable[[], Tensor | None] = lambda: None

    def loss(self, attempt: Attempt | None = None) -> tuple[Tensor, dict[str, Any]]:
        with self.pipeline.autocast():
            value = self._next_loss()
            if value is None:
                self._next_loss = self._new_rollout(attempt or Attempt())
                value = self._next_loss()
        assert value is not None
        return value, {"loss": value.detach()}

    def _new_rollout(self, attempt: Attempt) -> Callable[[], Tensor | None]:
        """The losses of a new batch."""
        self.feeder.encode_new(1.0)
        size, frames = self.feeder.draw_shape(self.lengths)
        count = attempt.batch_size(self.tokens // ((1 + (frames - 1) // TEMPORAL_COMPRESSION) * size[0] * size[1]))
        batch = self.feeder.buffer.sample(size, frames, count)
        null_slots = self.null_slots.expand(count, -1, -1)
        noised = self.rng.random() < self.teacher.config.noised_share
        return rollout_losses(self.pipeline.dit, self.teacher, batch, batch.slots, null_slots, noised=noised)


# The stage ----------------------------------------------------------------------------------------------------------


def train_student(
    runs: Path, folder: Path, config: DiTTrainingConfig, bank: ClipBank, minutes: float, *, batch: int
) -> None:
    """Distil the transformer of ``runs``/dit for that many minutes, and write ``folder``/lora.safetensors, or
    dit.safetensors with all weights if the student's rank is 0."""
    end = time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    device, rng = bank.workers.device, Random()
    vae, text, tokenizer = load_frozen_networks(runs, device)
    teacher = _transformer(load_file(runs / "dit" / "dit.safetensors"), device)
    student = copy.deepcopy(teacher)
    adapters = lora.inject(student, config.student_rank, targets=LORA_TARGETS_OF_STUDENT) if config.student_rank else []
    first_values = [a.detach().clone() for a in adapters] or [p.detach().clone() for p in student.parameters()]
    pipeline = Pipeline(student, text, vae, tokenizer, device)
    feeder = _build_feeder(pipeline, bank, config, rng)
    if config.compile:
        for dit in (teacher, student):
            compile_blocks(dit, lambda dit=dit: trial_loss(dit, config, feeder.multiple, device))
    distiller = Distiller(pipeline, teacher, feeder, batch, rng)

    def setup(attempt: Attempt) -> tuple[MuonAdamW, LossFunction]:
        rates = {"muon_lr": config.student_learning_rate * attempt.lr_factor, "adamw_lr": 2e-4 * attempt.lr_factor}
        return MuonAdamW(
            student, **rates, adamw_prefixes=ADAMW_PREFIXES if not adapters else ()
        ), lambda _: distiller.loss(attempt)

    def restore_first() -> None:
        with torch.no_grad():
            for parameter, value in zip(adapters or student.parameters(), first_values, strict=True):
                parameter.copy_(value)

    budget = Budget(minutes_left(end), cooldown=0.5)
    train_with_retries(student, setup, budget, folder, restore_first, ema_decay=0.98, report_every=120)
    for name in (LORA_FILE, FULL_FILE):
        (folder / name).unlink(missing_ok=True)
    if adapters:
        save_file({name: t.half().contiguous() for name, t in lora.extract(student).items()}, folder / LORA_FILE)
    else:
        save_file(cpu_state_dict(student), folder / FULL_FILE)


def load_student(runs: Path, device: str) -> WanDiT | None:
    """The student under ``runs``; None if there is none."""
    folder = runs / "distil"
    if (folder / FULL_FILE).is_file():
        return _transformer(load_file(folder / FULL_FILE), device)
    if not (folder / LORA_FILE).is_file():
        return None
    student = _transformer(load_file(runs / "dit" / "dit.safetensors"), device)
    lora.merge(student, load_file(folder / LORA_FILE), label=str(folder / LORA_FILE))
    return student


def _transformer(weights: dict[str, Tensor], device: str) -> WanDiT:
    dit = WanDiT(dit_config_of(weights)).to(device)
    dit.load_state_dict(weights)
    return dit


def _build_feeder(pipeline: Pipeline, bank: ClipBank, config: DiTTrainingConfig, rng: Random) -> LatentFeeder:
    mix, lengths = (
        DataMix(subject_weight=config.subject_weight, clips_per_shape=config.clips_per_shape),
        {n for _, row in config.curriculum for n in row},
    )
    encode_batch = min(ENCODE_BATCH.get(pipeline.device, 4), config.initial_clips)
    bank.workers.include_second_world = False
    buffer = bank.latent_buffer or LatentBuffer(
        pipeline.vae, pipeline.encode_ids, mix, lengths, rng, encode_batch=encode_batch
    )
    feeder = LatentFeeder(bank, buffer, config, pipeline.vae.config.space * pipeline.dit.config.patch[1], rng)
    feeder.encode_initial(config.initial_clips)
    return feeder
