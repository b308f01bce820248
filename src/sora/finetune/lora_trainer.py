"""Training a LoRA: rectified flow (Liu et al. 2022) on the velocity of any family.

The family does not matter here: ``Model.bind`` closes over the prompt and the known frames, and the velocity that it
returns is differentiable in the transformer's weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sora.engine.canvas import Latents
from sora.engine.model import Trainable
from sora.engine.sampler import shift_times
from sora.engine.seeds import training_step_seed
from sora.engine.velocity import Velocity
from sora.errors import InputError, ModelError
from sora.finetune.examples import Example
from sora.runtime import lora
from sora.storage import atomic, refusal

WARMUP_STEPS = 20  # in which the learning rate rises to its highest
FINAL_RATE = 0.1  # at the end, as a fraction of the highest
MAX_BOUND = 128  # velocities kept in memory; those not used for longest are dropped
RATE_TIMES_WIDTH = 0.3  # learning rate x width of the transformer: 2e-4 for a width of 1536
FRAMES_KNOWN = 1 / 3  # the fraction of the clips whose beginning is known
BUFFER = 1 << 20  # bytes; torch writes tensor by tensor


@dataclass(frozen=True)
class LoRAConfig:
    """How to train a LoRA. learning_rate: of AdamW, at its highest; None to choose it by the width of the transformer.
    shift: of the timesteps. batch_size: examples a step. caption_dropout: the fraction of examples trained without
    their caption, for guidance. image_share: the fraction that is one frame long, where there are longer ones too."""

    rank: int
    alpha: float
    learning_rate: float | None
    shift: float
    batch_size: int = 2
    caption_dropout: float = 0.1
    image_share: float = 0.5
    seed: int = 0


class LoRATrainer:
    """Trains a LoRA on a model, step by step. The model can paint at any time, with what has been learnt so far.

    is_whole: False where an update of the parameters was interrupted, so that they belong to no step.
    """

    def __init__(self, model: Trainable, examples: Sequence[Example], config: LoRAConfig) -> None:
        torch.manual_seed(config.seed)
        self.model, self.config, self.step, self.is_whole = model, config, 0, True
        self.parameters = lora.inject(model.dit, config.rank, targets=model.lora_targets, alpha=config.alpha)
        self.learning_rate = (
            RATE_TIMES_WIDTH / _width(model.dit) if config.learning_rate is None else config.learning_rate
        )
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.stills = [e for e in examples if len(e.frames_FCYX) == 1]
        self.clips = [e for e in examples if len(e.frames_FCYX) > 1]
        self._bound: OrderedDict[tuple[int, int, bool], tuple[Velocity, Latents]] = OrderedDict()

    def train_step(self, done: float) -> float:
        """Train one step; returns the mean loss before it. done: the fraction of the training that is finished, in [0,
        1]. Raises ModelError where the loss diverges."""
        config = self.config
        self.optimiser.zero_grad(set_to_none=True)  # also what a step that was interrupted left
        rng = Random(f"{config.seed} {self.step}")
        generator = torch.Generator().manual_seed(training_step_seed(config.seed, self.step))
        times = _times(config.batch_size, config.shift, generator)
        total = 0.0
        for time in times:
            value = self.loss(self._pick(rng), time, generator, rng) / config.batch_size
            value.backward()
            total += value.item()
        norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if not (total < 1e4 and norm.isfinite()):
            raise ModelError(
                f"the loss ran away at step {self.step} ({total:g}); try a --learning-rate below {self.learning_rate:g}"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = (
                self.learning_rate * min(1.0, (self.step + 1) / WARMUP_STEPS) * (1 - (1 - FINAL_RATE) * min(1.0, done))
            )
        self.is_whole = False
        self.optimiser.step()
        self.step += 1
        self.is_whole = True
        return total

    def loss(self, example: Example, time: float, generator: torch.Generator, rng: Random) -> Tensor:
        """The mean squared error of the velocity over the unknown latents, a scalar. time: in (0, 1)."""
        known = 0
        if len(example.frames_FCYX) > 1 and rng.random() < FRAMES_KNOWN:
            known = rng.choice((1, min(self.model.spec.defaults.context, len(example.frames_FCYX) - 1)))
        velocity, latents = self._velocity(example, known, rng.random() < self.config.caption_dropout)
        clean = example.clean_BCTHW.to(self.model.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        unknown = latents.unknown_B1THW.to(clean)
        flow = velocity((1 - time) * clean + time * noise, torch.tensor(time))
        error = unknown * (flow.float() - (noise - clean)).square()
        return error.sum() / (unknown.sum().clamp_min(1) * clean.shape[1])

    def _pick(self, rng: Random) -> Example:
        still = not self.clips or (self.stills and rng.random() < self.config.image_share)
        return rng.choice(self.stills if still else self.clips)

    @torch.no_grad()
    def _velocity(self, example: Example, known: int, drop_caption: bool) -> tuple[Velocity, Latents]:
        """The velocity bound to an example, and its latents. It is bound once, since caption and known frames are
        fixed. drop_caption: bind it to an empty prompt."""
        key = id(example), known, drop_caption
        if key not in self._bound:
            canvas = example.canvas(known)
            latents = self.model.encode(canvas)
            prompt = "" if drop_caption else example.caption
            self._bound[key] = self.model.bind(canvas, latents, prompt, "", 1.0), latents
        self._bound.move_to_end(key)
        while len(self._bound) > MAX_BOUND:
            self._bound.popitem(last=False)
        return self._bound[key]

    def tensors(self) -> dict[str, Tensor]:
        """The LoRA's tensors, for ``lora_file.write``."""
        return lora.extract(self.model.dit)

    def save(self, path: Path, progress: Mapping[str, Any] | None = None) -> None:
        """Write all that is needed to resume, atomically: to the bit what it is now. progress: numbers and texts of the
        caller's own, which ``resume`` returns. Raises InputError, and ValueError in the middle of an update."""
        if not self.is_whole:
            raise ValueError("the optimizer's update did not end")
        state: dict[str, Any] = {"parameters": [parameter.detach().cpu() for parameter in self.parameters]}
        state |= {"optimiser": self.optimiser.state_dict(), "progress": dict(progress or {})}
        state |= {"step": self.step, "rank": self.config.rank, "model": self.model.spec.name}
        try:
            with atomic.written(path, replace=True) as temporary, temporary.open("wb", BUFFER) as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:
            reason = error if isinstance(error, OSError) else error.__context__  # torch hides what the file raised
            reason = refusal.explain(reason, path) if isinstance(reason, OSError) else str(error).splitlines()[0]
            raise InputError(f"cannot write {path}: {reason}") from None

    def resume(self, path: Path) -> dict[str, Any]:
        """Resume from a file of ``save``, and return its progress. Raises InputError, and ModelError for another model
        or rank."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved = state["model"], state["rank"]
        except Exception as error:  # torch's readers raise nearly anything
            raise InputError(
                f"{path} is no training to go on from ({type(error).__name__}); leave --resume out"
            ) from None
        if saved != (self.model.spec.name, self.config.rank):
            problem = f"{path} is a training of {saved[0]} at rank {saved[1]}"
            raise ModelError(f"{problem}; give the same --model and --rank, or leave --resume out")
        if "parameters" in state:
            with torch.no_grad():
                for parameter, saved_parameter in zip(self.parameters, state["parameters"], strict=True):
                    parameter.copy_(saved_parameter)
        else:  # a file of an earlier version
            lora.load(self.model.dit, state["tensors"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        return state.get("progress", {})


def _width(dit: nn.Module) -> int:
    """The width of the transformer: the input width of most of its linear layers."""
    widths = [layer.in_features for layer in dit.modules() if isinstance(layer, nn.Linear)]
    return max(set(widths), key=widths.count)


def _times(count: int, shift: float, generator: torch.Generator) -> list[float]:
    """Logit-normal times in (0, 1), stratified over the distribution, and shifted like those of sampling (Esser et al.
    2024, arXiv 2403.03206)."""
    quantiles = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    normal = torch.special.ndtri(quantiles.clamp(1e-4, 1 - 1e-4))
    return shift_times(normal.sigmoid(), shift).tolist()


@contextmanager
def gradient_checkpointing(model: Trainable) -> Iterator[None]:
    """Gradient checkpointing on a GPU, to save memory: in this context the blocks of the transformer keep no
    activations, and compute them again for the gradients (Chen et al. 2016, arXiv 1604.06174). No effect on a CPU."""
    blocks = [b for module in model.dit.children() if isinstance(module, nn.ModuleList) for b in module]
    if model.device.type == "cpu":
        blocks = []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
