"""Train the embedded model's transformer: ``python -m minitrain dit --size cpu --budget 75m``.

Rectified flow on the frozen autoencoder's latents, with the frozen text slots beside. Single frames first (a fifth of
the tokens teach what things look like), then clips, with single frames kept in the mix. Cells that show the subject
weigh more, known cells less. A second call goes on where the first one stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minitrain.clip_bank import ClipBank
from minitrain.clips import Mix, Size
from minitrain.compilation import compile_blocks
from minitrain.held_out import HeldOut, Losses
from minitrain.latent_buffer import Features, LatentBuffer
from minitrain.optim import Both
from minitrain.pipeline import Painter, load_frozen, sheet, weights_of
from minitrain.presets import Recipe, clips_of, dit_config, shapes
from minitrain.representation_alignment import Agreement
from minitrain.retry import Attempt, left, persist
from minitrain.training_loop import Budget, Loss
from sora.engine.sampler import shift_times
from sora.errors import InputError
from sora.networks.mini_vae import TIME
from sora.networks.wan.dit import WanDiT

AT_ONCE = {"cpu": 4, "cuda": 32}  # clips encoded at once
PLAIN = ("dit.patch_embedding", "dit.proj_out", "dit.scale_shift", "align")  # not matrices that Muon may turn
TEXT_SLOTS = 12  # of a compiler's trial
PREVIEWS = (
    "a red balloon floats up over a green meadow",
    "a turtle swims to the right under the sea",
    "a red car drives left through the city",
    "an elephant stands still in the snow",
    "a blue ball bounces in the desert",
    "a rocket spins at sunset",
    "a chick gets bigger at night",
    "a sailboat goes to the left at sunset",
)


@dataclass(frozen=True)
class Start:
    """Weights to begin from, and the share of the curriculum that they have behind them."""

    weights: Path
    skip: float = 0.5


# What a step learns from --------------------------------------------------------------------------------------------


def lengths_at(done: float, recipe: Recipe) -> dict[int, float]:
    """How often clips of how many frames, given the share of the training that is done: looks first, then motion."""
    for until, lengths in recipe.curriculum:
        if done < until:
            return dict(lengths)
    raise ValueError(f"{done} of the training is done already")


def draw_times(recipe: Recipe, count: int, device: str) -> Tensor:
    """Training times in (0, 1), shifted towards noise."""
    if recipe.deviation:
        return shift_times((recipe.deviation * torch.randn(count, device=device)).sigmoid(), recipe.shift)
    return shift_times(torch.rand(count, device=device), recipe.shift)


class Feeder:
    """Clips from the workers into the latent buffer, in at most a share of the time, and shapes to draw from it."""

    def __init__(self, bank: ClipBank, buffer: LatentBuffer, recipe: Recipe, multiple: int, rng: Random) -> None:
        self.bank, self.buffer, self.recipe, self.rng, self.multiple = bank, buffer, recipe, rng, multiple
        self.shapes = shapes(recipe, multiple)
        self.began, self.spent = time.monotonic(), 0.0

    def begin(self, least: int) -> None:
        """Encode what is in the bank, and wait for more until there are enough clips to begin with."""
        self.buffer.feed(self.bank.drain())
        while self.buffer.clips < least or not self.buffer.rings:
            self.buffer.feed(self.bank.workers.take(8, wait=1.0))
        self.began, self.spent = time.monotonic(), 0.0

    def feed(self, done: float) -> None:
        """Take in new clips, if that has not had its share of the time. Lengths that the curriculum will not ask for
        soon are not worth it."""
        before = time.monotonic()
        if self.spent > self.recipe.feeding * (before - self.began):
            return
        soon = lengths_at(done, self.recipe) | lengths_at(min(1.0, done + self.recipe.ahead), self.recipe)
        self.buffer.feed(self.bank.workers.take(6), soon)
        self.spent += time.monotonic() - before

    def shape(self, lengths: dict[int, float]) -> tuple[Size, int]:
        """(size, frames) of the next batch, of which there are clips."""
        there = {n: often for n, often in lengths.items() if self._sizes(n)} or {
            n: 1.0 for _, n in self.buffer.rings if self._sizes(n)
        }
        frames = self.rng.choices(tuple(there), tuple(there.values()))[0]
        sizes = self._sizes(frames)
        return self.rng.choices(tuple(sizes), tuple(sizes.values()))[0], frames

    def _sizes(self, frames: int) -> dict[Size, float]:
        there = self.buffer.sizes_with(frames)
        return {size: often for size, often in self.shapes.items() if size in there}


class Trainer:
    """The losses of one training. student: the transformer, and what is learnt beside it and dropped. samples: clips
    that were learnt from."""

    def __init__(self, painter: Painter, feeder: Feeder, recipe: Recipe, skip: float = 0.0) -> None:
        self.painter, self.feeder, self.recipe, self.skip, self.samples = painter, feeder, recipe, skip, 0
        self.student = nn.ModuleDict({"dit": painter.dit})
        self.silent = painter.slots([""])
        self.agreement: Agreement | None = None
        if recipe.align:
            features = feeder.buffer.features
            if features is None:
                raise InputError("align needs the features of a trained judge; train it first, or set align=0")
            seen = features(torch.zeros(1, 3, 1, 64, 64, device=painter.device)).shape[1]
            self.agreement = Agreement(painter.dit, seen).to(painter.device)
            self.student["align"] = self.agreement

    def loss(self, done: float, attempt: Attempt | None = None) -> tuple[Tensor, dict[str, Any]]:
        recipe, feeder = self.recipe, self.feeder
        done = self.skip + (1 - self.skip) * done
        feeder.feed(done)
        size, frames = feeder.shape(lengths_at(done, recipe))
        count = (attempt or Attempt()).clips(clips_of(recipe, size, frames, feeder.multiple))
        self.samples += count
        batch = feeder.buffer.batch(size, frames, count)
        told = torch.rand(count, 1, 1, device=self.painter.device) >= recipe.silent
        slots = torch.where(told, batch.slots, self.silent)
        t = draw_times(recipe, count, self.painter.device)
        value = self.painter.loss(batch, slots, t, torch.randn_like(batch.clean)).mean()
        figures: dict[str, Any] = {f"loss_{frames}": value.detach()}
        if self.agreement is not None and batch.features is not None:
            shape = batch.clean.shape
            apart = self.agreement(batch.features, (shape[2], shape[3], shape[4]))
            figures["apart"] = apart.detach()
            value = value + recipe.align * apart
        return value, figures


# The stage ----------------------------------------------------------------------------------------------------------


def fit(
    runs: Path,
    folder: Path,
    recipe: Recipe,
    bank: ClipBank,
    held: HeldOut,
    minutes: float,
    *,
    start: Start | None = None,
    previews: int = len(PREVIEWS),
    every: float = 360.0,
    seed: int | None = None,
    features: Features | None = None,
) -> Painter:
    """Train for that long, going on from ``folder``/state where there is one, and write ``folder``/dit.safetensors.

    seed: of weights, drawn where None. Returns the painter with the averaged weights.
    """
    end = time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    painter, begin = _begun(runs, bank.workers.device, recipe, start, Random(seed))
    bank.workers.broad = False
    trainer = _trainer(painter, bank, recipe, start, features)
    if recipe.compile:
        compile_blocks(painter.dit, lambda: trial(painter.dit, recipe, trainer.feeder.multiple, painter.device))
    losses = Losses(painter, held)

    def report(step: int) -> dict[str, float]:
        if previews:
            _preview(losses.painter, painter.dit, folder / f"sheet-{step}.jpg", previews, min(recipe.sides))
        return losses.of(painter.dit) | {"samples": trainer.samples, "clips": trainer.feeder.buffer.clips}

    def setup(attempt: Attempt) -> tuple[Both, Loss]:
        rates = {"matrix_lr": recipe.rate * attempt.rate, "other_lr": 1e-3 * attempt.rate}
        return Both(trainer.student, **rates, plain=PLAIN), lambda done: trainer.loss(done, attempt)

    budget = Budget(left(end), warmup=0.02, cooldown=recipe.cooldown)
    persist(*(trainer.student, setup, budget, folder, begin), average=recipe.average, every=every, report=report)
    save_file(weights_of(painter.dit), folder / "dit.safetensors")
    return painter


def _begun(
    runs: Path, device: str, recipe: Recipe, start: Start | None, rng: Random
) -> tuple[Painter, Callable[[], None]]:
    """The painter before its training, and what brings its first weights back."""
    torch.manual_seed(rng.getrandbits(32))
    vae, text, tokenizer = load_frozen(runs, device)
    dit = WanDiT(dit_config(vae.config.channels, text.config.width, recipe.width, recipe.layers)).to(device)

    def begin() -> None:
        if start:
            dit.load_state_dict(load_file(start.weights))
        else:
            dit.init_weights()

    try:
        begin()
    except RuntimeError:
        raise InputError(
            f"the weights to begin from are not {recipe.layers} blocks of width {recipe.width} on these latents; choose"
            " the --size that they were trained at"
        ) from None
    painter = Painter(dit, text, vae, tokenizer, device)
    painter.pooled = recipe.pooled
    return painter, begin


def _trainer(
    painter: Painter, bank: ClipBank, recipe: Recipe, start: Start | None, features: Features | None
) -> Trainer:
    rng, lengths = Random(), {n for _, lengths in recipe.curriculum for n in lengths}
    mix = Mix(cover=recipe.cover, motion=recipe.motion, limit=recipe.limit)
    at_once = min(AT_ONCE.get(painter.device, 4), recipe.begin)
    seen = features if recipe.align else None
    buffer = LatentBuffer(painter.vae, painter.read, mix, lengths, rng, at_once=at_once, features=seen)
    feeder = Feeder(bank, buffer, recipe, painter.vae.config.space * painter.dit.config.patch[1], rng)
    feeder.begin(recipe.begin)
    bank.encoded = buffer
    print(f"{buffer.clips} clips encoded", flush=True)
    return Trainer(painter, feeder, recipe, start.skip if start else 0.0)


def trial(dit: WanDiT, recipe: Recipe, multiple: int, device: str) -> Tensor:
    """A loss of noise, of batches as large as those to come, no two of whose sizes are alike: a compiler would tie
    them."""
    values, size, channels = [], max(shapes(recipe, multiple).items(), key=lambda row: row[1])[0], dit.config
    for frames in (1, 17):
        count = max(3, clips_of(recipe, size, frames, multiple))
        shape = (1 + (frames - 1) // TIME, size[0] // multiple * 2, size[1] // multiple * 2)
        x = torch.randn(count, channels.in_channels, *shape, device=device)
        slots = torch.randn(count, TEXT_SLOTS, channels.text_dim, device=device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            values.append(dit(x, 1000 * torch.rand(count, device=device), slots).float().square().mean())
    return torch.stack(values).sum()


def _preview(painter: Painter, dit: WanDiT, path: Path, count: int, side: int) -> None:
    """The averaged weights' look, by an uncompiled copy."""
    painter.dit.load_state_dict(dit.state_dict())
    sheet(painter.paint(PREVIEWS[:count], (side, side), 17, steps=6), path)


def changed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with "name=value" settings in place of its own. Raises InputError naming what there is."""
    kinds = {f.name: type(getattr(recipe, f.name)) for f in fields(recipe)}
    plain = {name: kind for name, kind in kinds.items() if kind in (int, float, bool)}
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in plain:
            raise InputError(f"{name!r} is no setting of the training; there is {', '.join(plain)}")
        try:
            values[name] = value.lower() in ("1", "true", "yes") if plain[name] is bool else plain[name](value)
        except ValueError:
            raise InputError(f"{setting!r} gives no {plain[name].__name__}; write {name}=NUMBER") from None
    return replace(recipe, **values)
