"""Train the embedded model's transformer: ``python -m minitrain dit --size cpu --budget 75m``.

Rectified flow on the frozen autoencoder's latents, conditioned on the frozen text encoder's slots. The curriculum
begins with single frames (a fifth of the tokens teach what things look like) and goes on to clips, with single frames
kept in the mix. Cells that show the subject have larger loss weights, known cells smaller ones. A second call continues
the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minitrain.clip_bank import ClipBank
from minitrain.clips import DataMix, Size
from minitrain.compilation import compile_blocks
from minitrain.held_out import HeldOutClips, HeldOutLosses
from minitrain.latent_buffer import FeatureExtractor, LatentBuffer
from minitrain.optim import MuonAdamW
from minitrain.pipeline import Pipeline, cpu_state_dict, load_frozen_networks, save_contact_sheet
from minitrain.presets import DiTTrainingConfig, batch_size, clip_shapes, dit_config
from minitrain.retry import Attempt, minutes_left, train_with_retries
from minitrain.training_loop import Budget, LossFunction
from sora.engine.sampler import shift_times
from sora.errors import InputError
from sora.networks.mini_vae import TEMPORAL_COMPRESSION
from sora.networks.wan.dit import WanDiT

ENCODE_BATCH = {"cpu": 4, "cuda": 32}  # clips encoded at once
ADAMW_PREFIXES = ("dit.patch_embedding", "dit.proj_out", "dit.scale_shift", "align")  # not for Muon
TRIAL_TEXT_SLOTS = 12  # of a compiler's trial
PREVIEW_PROMPTS = (
    "a red balloon floats up over a green meadow",
    "a turtle swims to the right under the sea",
    "a red car drives left through the city",
    "an elephant stands still in the snow",
    "a blue ball bounces in the desert",
    "a rocket spins at sunset",
    "a chick gets bigger at night",
    "a sailboat goes to the left at sunset",
)

FORMER_SETTINGS = {
    "tokens": "batch_tokens",
    "rate": "learning_rate",
    "average": "ema_decay",
    "shift": "timestep_shift",
    "deviation": "timestep_std",
    "silent": "caption_dropout",
    "cover": "subject_weight",
    "motion": "motion_weight",
    "limit": "clips_per_shape",
    "begin": "initial_clips",
    "feeding": "encoding_share",
    "ahead": "lookahead",
    "align": "alignment_weight",
    "pooled": "pool_text",
    "rank": "student_rank",
    "student_rate": "student_learning_rate",
}
"""Former names of settings, which the commands on published cards still use."""


@dataclass(frozen=True)
class StartWeights:
    """Weights to start from, and the share of the curriculum that they have already done."""

    weights: Path
    curriculum_done: float = 0.5


# What a step learns from --------------------------------------------------------------------------------------------


def lengths_at(done: float, config: DiTTrainingConfig) -> dict[int, float]:
    """How often clips of which number of frames are drawn, after the share ``done`` of the training: stills first, then
    motion."""
    for until, lengths in config.curriculum:
        if done < until:
            return dict(lengths)
    raise ValueError(f"{done} of the training is done already")


def sample_timesteps(config: DiTTrainingConfig, count: int, device: str) -> Tensor:
    """Training timesteps in (0, 1), shifted towards noise."""
    if config.timestep_std:
        return shift_times((config.timestep_std * torch.randn(count, device=device)).sigmoid(), config.timestep_shift)
    return shift_times(torch.rand(count, device=device), config.timestep_shift)


class LatentFeeder:
    """Encodes the workers' clips into the latent buffer, in at most a share of the time, and draws the shape of the
    next batch."""

    def __init__(
        self, bank: ClipBank, buffer: LatentBuffer, config: DiTTrainingConfig, multiple: int, rng: Random
    ) -> None:
        self.bank, self.buffer, self.config, self.rng, self.multiple = bank, buffer, config, rng, multiple
        self.shapes = clip_shapes(config, multiple)
        self.started, self.encoding_seconds = time.monotonic(), 0.0

    def encode_initial(self, clips: int) -> None:
        """Encode the bank's clips, and wait for more until the buffer has received ``clips``."""
        self.buffer.add(self.bank.drain())
        while self.buffer.clips < clips or not self.buffer.ring_buffers:
            self.buffer.add(self.bank.workers.take(8, wait=1.0))
        self.started, self.encoding_seconds = time.monotonic(), 0.0

    def encode_new(self, done: float) -> None:
        """Encode new clips, unless that has used its share of the time already. Clips of lengths that the curriculum
        will not need soon are skipped."""
        before = time.monotonic()
        if self.encoding_seconds > self.config.encoding_share * (before - self.started):
            return
        soon = lengths_at(done, self.config) | lengths_at(min(1.0, done + self.config.lookahead), self.config)
        self.buffer.add(self.bank.workers.take(6), soon)
        self.encoding_seconds += time.monotonic() - before

    def draw_shape(self, lengths: dict[int, float]) -> tuple[Size, int]:
        """(size, frames) of the next batch, among those that the buffer holds."""
        there = {n: often for n, often in lengths.items() if self._sizes(n)} or {
            n: 1.0 for _, n in self.buffer.ring_buffers if self._sizes(n)
        }
        frames = self.rng.choices(tuple(there), tuple(there.values()))[0]
        sizes = self._sizes(frames)
        return self.rng.choices(tuple(sizes), tuple(sizes.values()))[0], frames

    def _sizes(self, frames: int) -> dict[Size, float]:
        there = self.buffer.sizes_with(frames)
        return {size: often for size, often in self.shapes.items() if size in there}


class RepresentationAlignment(nn.Module):
    """Representation alignment (REPA, Yu et al. 2024, arXiv 2410.06940), an auxiliary loss: compares projected tokens
    of a middle block with a frozen network's features of the clean pixels. Nothing of it is saved with the model."""

    def __init__(self, dit: WanDiT, feature_channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(dit.config.dim, dit.config.dim), nn.SiLU(), nn.Linear(dit.config.dim, feature_channels)
        )
        self.patch = dit.config.patch
        self.tokens: Tensor | None = None
        dit.blocks[len(dit.blocks) // 2].register_forward_hook(self._store_tokens)

    def _store_tokens(self, _block: nn.Module, _given: Any, tokens: Tensor) -> None:
        self.tokens = tokens if torch.is_grad_enabled() else None

    def forward(self, features_BDTHW: Tensor, latent_shape: tuple[int, int, int]) -> Tensor:
        """One minus the mean cosine similarity, for the transformer's last forward pass. features_BDTHW: the frozen
        network's features. latent_shape: (T, H, W) of the latents."""
        assert self.tokens is not None
        grid = [size // p for size, p in zip(latent_shape, self.patch, strict=True)]
        target = F.interpolate(features_BDTHW, grid, mode="trilinear").flatten(2).mT
        return 1 - F.cosine_similarity(self.project(self.tokens.float()), target, dim=-1).mean()


class DiTTrainer:
    """The losses of one training. student: the transformer, and the alignment head that is trained with it and then
    discarded. samples: clips that were trained on."""

    def __init__(
        self, pipeline: Pipeline, feeder: LatentFeeder, config: DiTTrainingConfig, curriculum_done: float = 0.0
    ) -> None:
        self.pipeline, self.feeder, self.config = pipeline, feeder, config
        self.curriculum_done, self.samples = curriculum_done, 0
        self.student = nn.ModuleDict({"dit": pipeline.dit})
        self.null_slots = pipeline.encode_prompts([""])
        self.alignment: RepresentationAlignment | None = None
        if config.alignment_weight:
            features = feeder.buffer.features
            if features is None:
                raise InputError("alignment needs a trained judge; train it first, or set alignment_weight=0")
            feature_channels = features(torch.zeros(1, 3, 1, 64, 64, device=pipeline.device)).shape[1]
            self.alignment = RepresentationAlignment(pipeline.dit, feature_channels).to(pipeline.device)
            self.student["align"] = self.alignment

    def loss(self, done: float, attempt: Attempt | None = None) -> tuple[Tensor, dict[str, Any]]:
        config, feeder = self.config, self.feeder
        done = self.curriculum_done + (1 - self.curriculum_done) * done
        feeder.encode_new(done)
        size, frames = feeder.draw_shape(lengths_at(done, config))
        count = (attempt or Attempt()).batch_size(batch_size(config, size, frames, feeder.multiple))
        self.samples += count
        batch = feeder.buffer.sample(size, frames, count)
        has_caption = torch.rand(count, 1, 1, device=self.pipeline.device) >= config.caption_dropout
        slots = torch.where(has_caption, batch.slots, self.null_slots)
        t = sample_timesteps(config, count, self.pipeline.device)
        value = self.pipeline.loss(batch, slots, t, torch.randn_like(batch.clean)).mean()
        figures: dict[str, Any] = {f"loss_{frames}": value.detach()}
        if self.alignment is not None and batch.features is not None:
            shape = batch.clean.shape
            alignment_loss = self.alignment(batch.features, (shape[2], shape[3], shape[4]))
            figures["apart"] = alignment_loss.detach()
            value = value + config.alignment_weight * alignment_loss
        return value, figures


# The stage ----------------------------------------------------------------------------------------------------------


def train_dit(
    runs: Path,
    folder: Path,
    config: DiTTrainingConfig,
    bank: ClipBank,
    held_out: HeldOutClips,
    minutes: float,
    *,
    start: StartWeights | None = None,
    previews: int = len(PREVIEW_PROMPTS),
    report_every: float = 360.0,
    seed: int | None = None,
    features: FeatureExtractor | None = None,
) -> Pipeline:
    """Train for that many minutes, resuming ``folder``/state if it exists, and write ``folder``/dit.safetensors.
    Returns the pipeline with the averaged weights.

    start: weights to begin from. previews: prompts of each contact sheet. report_every: seconds between reports. seed:
    of the initial weights, random if None. features: for the alignment loss.
    """
    end = time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    pipeline, init_weights = _build_pipeline(runs, bank.workers.device, config, start, Random(seed))
    bank.workers.include_second_world = False
    trainer = _build_trainer(pipeline, bank, config, start, features)
    if config.compile:
        compile_blocks(pipeline.dit, lambda: trial_loss(pipeline.dit, config, trainer.feeder.multiple, pipeline.device))
    losses = HeldOutLosses(pipeline, held_out)

    def report(step: int) -> dict[str, float]:
        if previews:
            _preview(losses.pipeline, pipeline.dit, folder / f"sheet-{step}.jpg", previews, min(config.sides))
        return losses.measure(pipeline.dit) | {"samples": trainer.samples, "clips": trainer.feeder.buffer.clips}

    def setup(attempt: Attempt) -> tuple[MuonAdamW, LossFunction]:
        rates = {"muon_lr": config.learning_rate * attempt.lr_factor, "adamw_lr": 1e-3 * attempt.lr_factor}
        return MuonAdamW(trainer.student, **rates, adamw_prefixes=ADAMW_PREFIXES), lambda done: trainer.loss(
            done, attempt
        )

    budget = Budget(minutes_left(end), warmup=0.02, cooldown=config.cooldown)
    train_with_retries(
        *(trainer.student, setup, budget, folder, init_weights),
        ema_decay=config.ema_decay,
        report_every=report_every,
        report=report,
    )
    save_file(cpu_state_dict(pipeline.dit), folder / "dit.safetensors")
    return pipeline


def _build_pipeline(
    runs: Path, device: str, config: DiTTrainingConfig, start: StartWeights | None, rng: Random
) -> tuple[Pipeline, Callable[[], None]]:
    """The pipeline before its training, and a function that restores its initial weights."""
    torch.manual_seed(rng.getrandbits(32))
    vae, text, tokenizer = load_frozen_networks(runs, device)
    dit = WanDiT(dit_config(vae.config.channels, text.config.width, config.width, config.layers)).to(device)

    def init_weights() -> None:
        if start:
            dit.load_state_dict(load_file(start.weights))
        else:
            dit.init_weights()

    try:
        init_weights()
    except RuntimeError:
        raise InputError(
            f"the weights to begin from are not {config.layers} blocks of width {config.width} on these latents; choose"
            " the --size that they were trained at"
        ) from None
    pipeline = Pipeline(dit, text, vae, tokenizer, device)
    pipeline.pooled = config.pool_text
    return pipeline, init_weights


def _build_trainer(
    pipeline: Pipeline,
    bank: ClipBank,
    config: DiTTrainingConfig,
    start: StartWeights | None,
    features: FeatureExtractor | None,
) -> DiTTrainer:
    rng, lengths = Random(), {n for _, lengths in config.curriculum for n in lengths}
    mix = DataMix(
        subject_weight=config.subject_weight, motion_weight=config.motion_weight, clips_per_shape=config.clips_per_shape
    )
    encode_batch = min(ENCODE_BATCH.get(pipeline.device, 4), config.initial_clips)
    extractor = features if config.alignment_weight else None
    buffer = LatentBuffer(
        pipeline.vae, pipeline.encode_ids, mix, lengths, rng, encode_batch=encode_batch, features=extractor
    )
    feeder = LatentFeeder(bank, buffer, config, pipeline.vae.config.space * pipeline.dit.config.patch[1], rng)
    feeder.encode_initial(config.initial_clips)
    bank.latent_buffer = buffer
    print(f"{buffer.clips} clips encoded", flush=True)
    return DiTTrainer(pipeline, feeder, config, start.curriculum_done if start else 0.0)


def trial_loss(dit: WanDiT, config: DiTTrainingConfig, multiple: int, device: str) -> Tensor:
    """A loss on noise, of batches as large as in training. No two of their sizes are equal, since a compiler would
    treat equal sizes as one."""
    values, size, channels = [], max(clip_shapes(config, multiple).items(), key=lambda row: row[1])[0], dit.config
    for frames in (1, 17):
        count = max(3, batch_size(config, size, frames, multiple))
        shape = (1 + (frames - 1) // TEMPORAL_COMPRESSION, size[0] // multiple * 2, size[1] // multiple * 2)
        x = torch.randn(count, channels.in_channels, *shape, device=device)
        slots = torch.randn(count, TRIAL_TEXT_SLOTS, channels.text_dim, device=device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            values.append(dit(x, 1000 * torch.rand(count, device=device), slots).float().square().mean())
    return torch.stack(values).sum()


def _preview(pipeline: Pipeline, dit: WanDiT, path: Path, count: int, side: int) -> None:
    """Sample a contact sheet with the averaged weights, by an uncompiled copy."""
    pipeline.dit.load_state_dict(dit.state_dict())
    save_contact_sheet(pipeline.sample(PREVIEW_PROMPTS[:count], (side, side), 17, steps=6), path)


def with_settings(config: DiTTrainingConfig, settings: Sequence[str]) -> DiTTrainingConfig:
    """The config with "name=value" settings applied; FORMER_SETTINGS are understood. Raises InputError that lists the
    settings."""
    types = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    settable = {name: kind for name, kind in types.items() if kind in (int, float, bool)}
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        name = FORMER_SETTINGS.get(name, name)
        if name not in settable:
            raise InputError(f"{name!r} is not a setting of the training; settings: {', '.join(settable)}")
        try:
            values[name] = value.lower() in ("1", "true", "yes") if settable[name] is bool else settable[name](value)
        except ValueError:
            raise InputError(f"{setting!r} is not a {settable[name].__name__}; write {name}=NUMBER") from None
    return replace(config, **values)
