"""Teach the embedded transformer to paint in few unguided steps: ``python -m minitrain distil --budget 15m``.

The teacher takes several guided steps where the student takes one. Both start from the state that the student itself
has reached, so it learns to mend its own errors (dataset aggregation, Ross et al., arXiv 1011.0686; guidance distilled
as in Meng et al., arXiv 2210.03142; a window of the path at a time as in PeRFlow, Yan et al., arXiv 2405.07510).

The student is its teacher and a difference of low rank (``networks.lora``), which is all that is trained and shipped;
with rank 0 all of its weights are its own.
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
from minitrain.clips import Mix
from minitrain.compilation import compile_blocks
from minitrain.dit import AT_ONCE, Feeder, trial
from minitrain.latent_buffer import Batch, LatentBuffer
from minitrain.optim import Both
from minitrain.pipeline import Painter, load_frozen, weights_of
from minitrain.presets import Recipe, dit_sizes
from minitrain.retry import Attempt, left, persist
from minitrain.training_loop import Budget, Loss
from sora.engine.sampler import timesteps
from sora.models.mini.model import NETWORK_TIME, conditioning_channels
from sora.networks.mini_vae import TIME
from sora.networks.wan.dit import LORA_TARGETS, WanDiT
from sora.runtime import lora

TARGETS = (*LORA_TARGETS, "time_embedder.linear_1", "time_embedder.linear_2", "time_proj", "proj_out")
"""Maps of the student that differ from its teacher's."""

DIFFERENCE = "lora.safetensors"  # beside the log: what the student adds to its teacher
WHOLE = "dit.safetensors"  # the same of a student with weights of its own
PLAIN = ("patch_embedding", "proj_out", "scale_shift")  # not matrices that Muon may turn


@dataclass(frozen=True)
class Lesson:
    """steps: of the student. within: guided steps of the teacher in each of them. guidance: the teacher's from words
    alone; going_on and arriving: the share of its push where the beginning, or the end too, is known (as in
    ``catalog.Defaults`` of guided weights). noised: share of batches that start from rendered clips with noise and not
    on the student's own path."""

    steps: int = 4
    within: int = 3
    shift: float = 3.0
    guidance: float = 4.0
    going_on: float = 0.3
    arriving: float = 0.0
    noised: float = 0.25

    def times(self) -> list[float]:
        """The student's, from 1 to 0."""
        return timesteps(self.steps, self.shift).tolist()

    def guidances(self, known_BFTHW: Tensor) -> Tensor:
        """The teacher's guidance scale for each sample, (B, 1, 1, 1, 1), by what is known of its ends."""
        ends = known_BFTHW.amin(dim=1).flatten(2).amin(dim=-1)
        left, right = ends[:, 0] > 0, ends[:, -1] > 0
        push = torch.where(left & right, self.arriving, torch.where(left | right, self.going_on, 1.0))
        return (1 + (self.guidance - 1) * push).view(-1, 1, 1, 1, 1)


class Teacher:
    """The frozen transformer with its guidance."""

    def __init__(self, dit: WanDiT, lesson: Lesson) -> None:
        self.dit, self.lesson = dit.eval().requires_grad_(False), lesson

    @torch.no_grad()
    def walk(self, x: Tensor, batch: Batch, slots: Tensor, silent: Tensor, start: float, end: float) -> Tensor:
        """The state at time ``end``, by Euler steps evenly spaced before the shift."""
        guidance = self.lesson.guidances(batch.known).to(x)
        for t, t_next in pairwise(self._between(start, end)):
            told = flow(self.dit, x, batch, slots, t)
            if (guidance != 1).any():
                unsaid = flow(self.dit, x, batch, silent, t)
                told = unsaid + guidance * (told - unsaid)
            x = x + (t_next - t) * told
        return x

    def _between(self, start: float, end: float) -> list[float]:
        fine = timesteps(self.lesson.steps * self.lesson.within, self.lesson.shift).tolist()
        return [t for t in fine if end - 1e-6 <= t <= start + 1e-6]


def flow(dit: WanDiT, x: Tensor, batch: Batch, slots: Tensor, t: float) -> Tensor:
    """The velocity at one time for a whole batch."""
    noisy = torch.cat([x, conditioning_channels(batch.seen, batch.known)], dim=1)
    return dit(noisy, torch.full((len(x),), NETWORK_TIME * t, device=x.device), slots).float()


def pinned(x: Tensor, batch: Batch, noise: Tensor, t: float) -> Tensor:
    """x with wholly known cells put where they belong at time t, as the sampler does."""
    known = batch.known.amin(dim=1, keepdim=True)
    return x + known * ((1 - t) * batch.clean + t * noise - x)


def lessons(
    student: WanDiT, teacher: Teacher, batch: Batch, slots: Tensor, silent: Tensor, *, noised: bool
) -> Callable[[], Tensor | None]:
    """A source of losses, one for each step of the student, from noise to picture; None at the end of the path."""
    noise, times = torch.randn_like(batch.clean), teacher.lesson.times()
    state, k = noise, 0

    def next_loss() -> Tensor | None:
        nonlocal state, k
        if k == len(times) - 1:
            return None
        t, t_next, k = times[k], times[k + 1], k + 1
        x = (1 - t) * batch.clean + t * noise if noised else pinned(state, batch, noise, t)
        wish = (teacher.walk(x, batch, slots, silent, t, t_next) - x) / (t_next - t)
        said = flow(student, x, batch, slots, t)
        state = (x + (t_next - t) * said).detach()
        return (batch.weight * (said - wish).square()).flatten(1).mean()

    return next_loss


class Pupil:
    """A student with its teacher and an endless source of lessons. batch: clips of 17 square frames of the recipe's
    first side, others at that cost."""

    def __init__(self, painter: Painter, teacher: WanDiT, feeder: Feeder, batch: int, rng: Random) -> None:
        self.painter, self.feeder, self.batch, self.rng = painter, feeder, batch, rng
        self.teacher = Teacher(teacher, Lesson())
        self.lengths = dict(feeder.recipe.curriculum[-1][1])
        self.silent = painter.slots([""])
        side = next(iter(feeder.recipe.sides))
        self.tokens = 5 * side * side * batch
        self._following: Callable[[], Tensor | None] = lambda: None

    def loss(self, attempt: Attempt | None = None) -> tuple[Tensor, dict[str, Any]]:
        with self.painter.autocast():
            value = self._following()
            if value is None:
                self._following = self._begun(attempt or Attempt())
                value = self._following()
        assert value is not None
        return value, {"loss": value.detach()}

    def _begun(self, attempt: Attempt) -> Callable[[], Tensor | None]:
        """The lessons of a new batch."""
        self.feeder.feed(1.0)
        size, frames = self.feeder.shape(self.lengths)
        count = attempt.clips(self.tokens // ((1 + (frames - 1) // TIME) * size[0] * size[1]))
        batch = self.feeder.buffer.batch(size, frames, count)
        silent = self.silent.expand(count, -1, -1)
        noised = self.rng.random() < self.teacher.lesson.noised
        return lessons(self.painter.dit, self.teacher, batch, batch.slots, silent, noised=noised)


# The stage ----------------------------------------------------------------------------------------------------------


def fit(runs: Path, folder: Path, recipe: Recipe, bank: ClipBank, minutes: float, *, batch: int) -> None:
    """Teach for that long a student of ``runs``/dit, and write ``folder``/lora.safetensors, or dit.safetensors with all
    of its weights where the recipe's rank is 0."""
    end = time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    device, rng = bank.workers.device, Random()
    vae, text, tokenizer = load_frozen(runs, device)
    teacher = _transformer(load_file(runs / "dit" / "dit.safetensors"), device)
    student = copy.deepcopy(teacher)
    adapters = lora.inject(student, recipe.rank, targets=TARGETS) if recipe.rank else []
    first = [a.detach().clone() for a in adapters] or [p.detach().clone() for p in student.parameters()]
    painter = Painter(student, text, vae, tokenizer, device)
    feeder = _feeder(painter, bank, recipe, rng)
    if recipe.compile:
        for dit in (teacher, student):
            compile_blocks(dit, lambda dit=dit: trial(dit, recipe, feeder.multiple, device))
    pupil = Pupil(painter, teacher, feeder, batch, rng)

    def setup(attempt: Attempt) -> tuple[Both, Loss]:
        rates = {"matrix_lr": recipe.student_rate * attempt.rate, "other_lr": 2e-4 * attempt.rate}
        return Both(student, **rates, plain=PLAIN if not adapters else ()), lambda _: pupil.loss(attempt)

    def begin() -> None:
        with torch.no_grad():
            for parameter, value in zip(adapters or student.parameters(), first, strict=True):
                parameter.copy_(value)

    budget = Budget(left(end), cooldown=0.5)
    persist(student, setup, budget, folder, begin, average=0.98, every=120)
    for name in (DIFFERENCE, WHOLE):
        (folder / name).unlink(missing_ok=True)
    if adapters:
        save_file({name: t.half().contiguous() for name, t in lora.extract(student).items()}, folder / DIFFERENCE)
    else:
        save_file(weights_of(student), folder / WHOLE)


def load_student(runs: Path, device: str) -> WanDiT | None:
    """The student that was taught under ``runs``; None where there is none."""
    folder = runs / "distil"
    if (folder / WHOLE).is_file():
        return _transformer(load_file(folder / WHOLE), device)
    if not (folder / DIFFERENCE).is_file():
        return None
    student = _transformer(load_file(runs / "dit" / "dit.safetensors"), device)
    lora.merge(student, load_file(folder / DIFFERENCE), called=str(folder / DIFFERENCE))
    return student


def _transformer(weights: dict[str, Tensor], device: str) -> WanDiT:
    dit = WanDiT(dit_sizes(weights)).to(device)
    dit.load_state_dict(weights)
    return dit


def _feeder(painter: Painter, bank: ClipBank, recipe: Recipe, rng: Random) -> Feeder:
    mix, lengths = Mix(cover=recipe.cover, limit=recipe.limit), {n for _, row in recipe.curriculum for n in row}
    at_once = min(AT_ONCE.get(painter.device, 4), recipe.begin)
    bank.workers.broad = False
    kept = bank.encoded or LatentBuffer(painter.vae, painter.read, mix, lengths, rng, at_once=at_once)
    feeder = Feeder(bank, kept, recipe, painter.vae.config.space * painter.dit.config.patch[1], rng)
    feeder.begin(recipe.begin)
    return feeder
