"""Teach the embedded transformer to paint in few unguided steps: ``python -m sora.training.distil --minutes 15``.

The teacher takes several guided steps where the student takes one. Both start from the state that the student itself
has reached, so it learns to mend its own errors (dataset aggregation, Ross et al., arXiv 1011.0686; guidance distilled
as in Meng et al., arXiv 2210.03142; a window of the path at a time as in PeRFlow, Yan et al., arXiv 2405.07510). The
student starts as a copy of the teacher.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sora import families
from sora.families.mini import TIME_UNITS, beside_noise
from sora.networks.mini_vae import TIME
from sora.networks.wan_dit import WanDiT
from sora.sampler import timesteps
from sora.training.dit import Painter, load_frozen, shapes
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.pool import Batch, Mix, Pool
from sora.training.sizes import SIZES, Recipe, dit_sizes
from sora.training.worlds import WORLDS, World


@dataclass(frozen=True)
class Lesson:
    """steps: of the student. within: guided steps of the teacher in each of them. guidance: the teacher's from words
    alone; going_on and arriving: the share of its push where the beginning, or the end too, is known (as in
    ``families.Defaults``). noised: share of batches that start from rendered clips with noise and not on the student's
    own path."""

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
    noisy = torch.cat([x, beside_noise(batch.seen, batch.known)], dim=1)
    return dit(noisy, torch.full((len(x),), TIME_UNITS * t, device=x.device), slots).float()


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
    """A student with its teacher and an endless source of lessons. batch: clips of 17 frames, others at that cost."""

    def __init__(self, painter: Painter, lesson: Lesson, world: World, recipe: Recipe, batch: int, rng: Random) -> None:
        self.painter, self.recipe, self.batch, self.rng = painter, recipe, batch, rng
        self.teacher = Teacher(copy.deepcopy(painter.dit), lesson)
        self.pool = Pool(painter.vae, world, rng, Mix(limit=recipe.limit))
        self.multiple = painter.vae.config.space * painter.dit.config.patch[1]
        self.shapes = shapes(recipe, self.multiple)
        self.lengths = recipe.curriculum[-1][1]
        self.silent = painter.slots([""])
        self.following: Callable[[], Tensor | None] = lambda: None

    def loss(self, _done: float) -> tuple[Tensor, dict[str, Any]]:
        value = self.following()
        if value is None:
            self.following = self._begun()
            value = self.following()
        assert value is not None
        return value, {"loss": value.detach()}

    def _begun(self) -> Callable[[], Tensor | None]:
        """The lessons of a new batch."""
        rng, lengths = self.rng, self.lengths
        frames = rng.choices(tuple(lengths), tuple(lengths.values()))[0]
        size = rng.choices(tuple(self.shapes), tuple(self.shapes.values()))[0]
        count = max(1, self.batch * 5 // (1 + (frames - 1) // TIME))
        self.pool.fill(size, frames, count, share=1 / 3)
        batch = self.pool.batch(size, frames, count)
        told = ["" if film is None else self.pool.source.tell(film, rng) for film in batch.scenes]
        slots, silent = self.painter.slots(told), self.silent.expand(count, -1, -1)
        noised = rng.random() < self.teacher.lesson.noised
        return lessons(self.painter.dit, self.teacher, batch, slots, silent, noised=noised)


def main() -> None:
    args = _arguments()
    rng, d = Random(), families.find(args.like).with_guidance().defaults
    torch.manual_seed(rng.getrandbits(32))
    vae, text, tokenizer = load_frozen(args.runs, args.device)
    weights = load_file(args.start)
    student = WanDiT(dit_sizes(weights)).to(args.device)
    student.load_state_dict(weights)
    lesson = Lesson(guidance=d.guidance, shift=d.shift, going_on=d.going_on, arriving=d.arriving)
    painter = Painter(student, text, vae, tokenizer, args.device)
    pupil = Pupil(painter, lesson, WORLDS[args.world], SIZES[args.size].dit, args.batch, rng)
    optimiser = Both(student, matrix_lr=args.rate, other_lr=2e-4, plain=("patch_embedding", "proj_out", "scale_shift"))
    train(student, optimiser, Budget(args.minutes, cooldown=0.5), args.folder, pupil.loss, average=0.99, every=120)
    save_file({k: v.contiguous() for k, v in student.state_dict().items()}, args.folder / "dit.safetensors")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the matrices")
    parser.add_argument("--start", type=Path, required=True, help="the teacher's weights")
    parser.add_argument("--like", default="mini", help="the model whose guidance and shift the teacher uses")
    parser.add_argument("--size", choices=SIZES, default="cpu", help="whose shapes and lengths are painted")
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where vae/ and text/ are")
    parser.add_argument("--folder", type=Path, default=Path("runs/distil"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
