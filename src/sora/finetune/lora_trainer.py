"""The training of a LoRA: rectified flow (Liu et al. 2022) on any family's own velocity field.

It never asks which family it holds: ``Model.bind`` closes over words and known frames, and what it returns is
differentiable in the transformer's weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sora import atomic
from sora.engine.canvas import Latents
from sora.engine.model import Trainable
from sora.engine.sampler import Velocity, shift_times
from sora.engine.seeds import training_step_seed
from sora.errors import InputError, ModelError
from sora.finetune.examples import Example
from sora.runtime import lora

WARMUP_STEPS = 20  # steps in which the rate rises
FINAL_RATE = 0.1  # of the rate that is left at the end
MAX_BOUND = 128  # velocity fields kept ready, least used first to go
RATE_TIMES_WIDTH = 0.3  # rate x width of the transformer: 2e-4 for a width of 1536, more for smaller ones
FRAMES_KNOWN = 1 / 3  # share of the clips whose beginning is known


@dataclass(frozen=True)
class LoRAConfig:
    """How to train. rate: of AdamW at its highest; None follows the width of the transformer. batch: examples a step.
    silent: share of the examples whose words are dropped, for guidance. stills: share that is one frame long, where
    there are clips too. shift: of the timesteps."""

    rank: int
    alpha: float
    learning_rate: float | None
    shift: float
    batch_size: int = 2
    caption_dropout: float = 0.1
    image_share: float = 0.5
    seed: int = 0


class LoRATrainer:
    """A LoRA being trained on a model, step by step. The model paints with it all along."""

    def __init__(self, model: Trainable, examples: Sequence[Example], tuning: LoRAConfig) -> None:
        torch.manual_seed(tuning.seed)
        self.model, self.config, self.step = model, tuning, 0
        self.parameters = lora.inject(model.dit, tuning.rank, targets=model.lora_targets, alpha=tuning.alpha)
        self.learning_rate = (
            RATE_TIMES_WIDTH / _width(model.dit) if tuning.learning_rate is None else tuning.learning_rate
        )
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.stills = [e for e in examples if len(e.frames_FCYX) == 1]
        self.clips = [e for e in examples if len(e.frames_FCYX) > 1]
        self._bound: OrderedDict[tuple[int, int, bool], tuple[Velocity, Latents]] = OrderedDict()

    def train_step(self, done: float) -> float:
        """One step. done: the share of the training that is behind it, in [0, 1]. The mean loss, before the step.
        Raises ModelError where the numbers run away."""
        t = self.config
        rng = Random(f"{t.seed} {self.step}")
        draw = torch.Generator().manual_seed(training_step_seed(t.seed, self.step))
        times = _times(t.batch_size, t.shift, draw)
        total = 0.0
        for time in times:
            value = self.loss(self._pick(rng), time, draw, rng) / t.batch_size
            value.backward()
            total += value.item()
        if not total < 1e4:
            raise ModelError(
                f"the loss ran away at step {self.step} ({total:g}); try a --rate below {self.learning_rate:g}"
            )
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = (
                self.learning_rate * min(1.0, (self.step + 1) / WARMUP_STEPS) * (1 - (1 - FINAL_RATE) * min(1.0, done))
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def loss(self, example: Example, time: float, generator: torch.Generator, rng: Random) -> Tensor:
        """The velocity's squared error over what is to be painted, a scalar."""
        known = 0
        if len(example.frames_FCYX) > 1 and rng.random() < FRAMES_KNOWN:
            known = rng.choice((1, min(self.model.spec.defaults.context, len(example.frames_FCYX) - 1)))
        velocity, latents = self._velocity(example, known, rng.random() < self.config.caption_dropout)
        clean = example.clean_BCTHW.to(self.model.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        wanted = latents.unknown_B1THW.to(clean)
        flow = velocity((1 - time) * clean + time * noise, torch.tensor(time))
        error = wanted * (flow.float() - (noise - clean)).square()
        return error.sum() / (wanted.sum().clamp_min(1) * clean.shape[1])

    def _pick(self, rng: Random) -> Example:
        still = not self.clips or (self.stills and rng.random() < self.config.image_share)
        return rng.choice(self.stills if still else self.clips)

    @torch.no_grad()
    def _velocity(self, example: Example, known: int, silent: bool) -> tuple[Velocity, Latents]:
        """The family's velocity field for an example: words and known frames are frozen, so it is bound once."""
        key = id(example), known, silent
        if key not in self._bound:
            canvas = example.canvas(known)
            latents = self.model.encode(canvas)
            words = "" if silent else example.caption
            self._bound[key] = self.model.bind(canvas, latents, words, "", 1.0), latents
        self._bound.move_to_end(key)
        while len(self._bound) > MAX_BOUND:
            self._bound.popitem(last=False)
        return self._bound[key]

    def tensors(self) -> dict[str, Tensor]:
        """What was learnt, as ``lorafile.write`` takes it."""
        return lora.extract(self.model.dit)

    def save(self, path: Path) -> None:
        """All that is needed to go on, in one step. Raises InputError."""
        state: dict[str, Any] = {"tensors": self.tensors(), "optimiser": self.optimiser.state_dict()}
        state |= {"step": self.step, "rank": self.config.rank, "model": self.model.spec.name}
        try:
            with atomic.written(path, replace=True) as beside:
                torch.save(state, beside)
        except (OSError, RuntimeError) as error:
            raise InputError(f"cannot write {path}: {error}; choose another place") from None

    def resume(self, path: Path) -> None:
        """Goes on where ``save`` stood. Raises InputError, and ModelError for a training of another shape."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            was = state["model"], state["rank"]
        except Exception as error:  # torch's readers raise nearly anything
            raise InputError(
                f"{path} is no training to go on from ({type(error).__name__}); leave --resume out"
            ) from None
        if was != (self.model.spec.name, self.config.rank):
            told = f"{path} is a training of {was[0]} at rank {was[1]}"
            raise ModelError(f"{told}; give the same --model and --rank, or leave --resume out")
        lora.load(self.model.dit, state["tensors"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def _width(dit: nn.Module) -> int:
    """Width of the transformer's tokens: what most of its linear maps take in."""
    widths = [part.in_features for part in dit.modules() if isinstance(part, nn.Linear)]
    return max(set(widths), key=widths.count)


def _times(count: int, shift: float, draw: torch.Generator) -> list[float]:
    """Logit-normal times in (0, 1), spread evenly over the distribution, shifted as sampling will be (Esser et al.
    2024, arXiv 2403.03206)."""
    places = (torch.arange(count) + torch.rand(count, generator=draw)) / count
    normal = torch.special.ndtri(places.clamp(1e-4, 1 - 1e-4))
    return shift_times(normal.sigmoid(), shift).tolist()


@contextmanager
def gradient_checkpointing(model: Trainable) -> Iterator[None]:
    """Where a graphics card's memory is short: while this holds, blocks of the transformer forget what they computed
    and compute it again for the gradients (Chen et al. 2016, arXiv 1604.06174)."""
    blocks = [b for part in model.dit.children() if isinstance(part, nn.ModuleList) for b in part]
    if model.device.type == "cpu":
        blocks = []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
