"""Train the embedded model's transformer: ``python -m sora.training.dit --size cpu --minutes 75``.

Rectified flow on the frozen autoencoder's latents, with the frozen text slots beside. Single frames first (a fifth of
the tokens teach what things look like), then short clips, then whole ones with the others kept in the mix. Cells that
show the subject weigh more, known cells less. A second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from sora import engine, families, operations
from sora.errors import InputError
from sora.families.mini import TIME_UNITS, Mini, beside_noise, word_ids
from sora.grid import Grid
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import TIME, MiniVAE
from sora.networks.wan_dit import WanDiT
from sora.sampler import shift_times
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.pool import FRAMES, Batch, Features, Mix, Pool, Size
from sora.training.sizes import SIZES, Recipe, dit_config, text_sizes, vae_sizes
from sora.training.worlds import WORLDS, World

config = dit_config
MOST = 2048  # clips of a batch
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # noise levels at which held-out losses are measured
HELD = {1: 32, 9: 12, 17: 8}  # held-out clips of how many frames
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


class Painter:
    """The transformer with the frozen networks around it."""

    def __init__(self, dit: WanDiT, text: MiniText, vae: MiniVAE, tokenizer: Tokenizer, device: str) -> None:
        self.dit, self.text, self.vae, self.tokenizer, self.device = dit, text, vae, tokenizer, device
        self.pooled = False  # in comparisons alone: the engine always shows every slot

    def ids(self, texts: list[str]) -> Tensor:
        """(B, L) word ids of the text encoder's full length."""
        rows = word_ids(self.tokenizer, texts, self.text.config.length)
        return F.pad(rows, (0, self.text.config.length - rows.shape[1]))

    @torch.no_grad()
    def slots(self, texts: list[str]) -> Tensor:
        return self.read(word_ids(self.tokenizer, texts, self.text.config.length).to(self.device))

    def read(self, ids_BL: Tensor) -> Tensor:
        slots = self.text(ids_BL)
        return slots.mean(dim=1, keepdim=True) if self.pooled else slots

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def loss(self, batch: Batch, slots: Tensor, t_B: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error of the velocity, one figure a sample."""
        t = t_B.view(-1, 1, 1, 1, 1)
        noisy = torch.cat([(1 - t) * batch.clean + t * noise, beside_noise(batch.seen, batch.known)], dim=1)
        with self.autocast():
            flow = self.dit(noisy, TIME_UNITS * t_B, slots)
        return (batch.weight * (flow.float() - (noise - batch.clean)).square()).flatten(1).mean(dim=1)

    @torch.no_grad()
    def paint(self, prompt: str, seed: int, side: int = 128, *, steps: int = 12, guidance: float = 4.0) -> np.ndarray:
        """A square clip, frames_FYXC uint8, through the engine: what a person would get."""
        spec = families.find("mini").with_guidance()
        grid = Grid(TIME, self.vae.config.space, self.vae.config.channels)
        spec = replace(spec, grid=grid, defaults=replace(spec.defaults, area=side * side))
        d = spec.defaults
        model = Mini(spec, self.vae, self.text, self.dit, self.tokenizer)
        plan = operations.generate((prompt,), frames=FRAMES, form=spec.form((side, side), d.fps))
        settings = engine.Settings(seed, steps, guidance, d.shift, d.step)
        return torch.cat(list(engine.paint(model, plan, settings))).permute(0, 2, 3, 1).cpu().numpy()


class Agreement(nn.Module):
    """Tokens of a middle block, projected, against what a frozen network sees of the clean pixels (REPA, Yu et al.
    2024, arXiv 2410.06940). Nothing of it is kept for painting."""

    def __init__(self, dit: WanDiT, seen: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(dit.config.dim, dit.config.dim), nn.SiLU(), nn.Linear(dit.config.dim, seen)
        )
        self.patch = dit.config.patch
        self.tokens: Tensor | None = None
        dit.blocks[len(dit.blocks) // 2].register_forward_hook(self._remember)

    def _remember(self, _block: nn.Module, _given: Any, tokens: Tensor) -> None:
        self.tokens = tokens if torch.is_grad_enabled() else None

    def forward(self, features_BDTHW: Tensor, latents: tuple[int, int, int]) -> Tensor:
        """One minus the mean cosine, for the transformer's last pass."""
        assert self.tokens is not None
        grid = [size // p for size, p in zip(latents, self.patch, strict=True)]
        wish = F.interpolate(features_BDTHW, grid, mode="trilinear").flatten(2).mT
        return 1 - F.cosine_similarity(self.project(self.tokens.float()), wish, dim=-1).mean()


# What a step learns from --------------------------------------------------------------------------------------------


def draw_length(done: float, curriculum: Recipe, rng: Random) -> int:
    """Frames of the next batch, given the share of the training that is done: looks first, then motion."""
    for until, lengths in curriculum.curriculum:
        if done < until:
            return rng.choices(tuple(lengths), tuple(lengths.values()))[0]
    raise ValueError(f"{done} of the training is done already")


def shapes(recipe: Recipe, multiple: int) -> dict[Size, float]:
    """How often clips of which (height, width), on the grid of the model."""
    found: dict[Size, float] = {}
    for side, often in recipe.sides.items():
        for aspect, share in recipe.aspects.items():
            sides = [multiple * max(1, round(side * max(1.0, ratio) / multiple)) for ratio in (1 / aspect, aspect)]
            size = sides[0], sides[1]
            found[size] = found.get(size, 0.0) + often * share
    return found


def clips_of(recipe: Recipe, size: Size, frames: int, multiple: int) -> int:
    """Clips of a batch: as many as give it ``tokens`` tokens."""
    tokens = (1 + (frames - 1) // TIME) * (size[0] // multiple) * (size[1] // multiple)
    return min(MOST, recipe.limit, max(1, round(recipe.tokens / tokens)))


def draw_times(recipe: Recipe, count: int, device: str) -> Tensor:
    """Training times in (0, 1), shifted towards noise."""
    if recipe.deviation:
        return shift_times((recipe.deviation * torch.randn(count, device=device)).sigmoid(), recipe.shift)
    return shift_times(torch.rand(count, device=device), recipe.shift)


class Trainer:
    """The losses of one training. student: the transformer, and what is learnt beside it and dropped."""

    def __init__(self, painter: Painter, world: World, recipe: Recipe, rng: Random, features: Features | None) -> None:
        self.painter, self.world, self.recipe, self.rng = painter, world, recipe, rng
        self.student = nn.ModuleDict({"dit": painter.dit})
        self.multiple = painter.vae.config.space * painter.dit.config.patch[1]
        self.shapes = shapes(recipe, self.multiple)
        self.agreement: Agreement | None = None
        if recipe.align:
            if features is None:
                raise InputError("align needs the features of a trained judge; train it first, or set align=0")
            seen = features(torch.zeros(1, 3, 1, 64, 64, device=painter.device)).shape[1]
            self.agreement = Agreement(painter.dit, seen).to(painter.device)
            self.student["align"] = self.agreement
        read = painter.ids if painter.device == "cuda" else None
        mix = Mix(cover=recipe.cover, motion=recipe.motion, limit=recipe.limit)
        self.pool = Pool(painter.vae, world, rng, mix, read=read, features=features if recipe.align else None)

    def loss(self, done: float) -> tuple[Tensor, dict[str, Any]]:
        recipe, rng = self.recipe, self.rng
        frames = draw_length(done, recipe, rng)
        size = rng.choices(tuple(self.shapes), tuple(self.shapes.values()))[0]
        count = clips_of(recipe, size, frames, self.multiple)
        self.pool.fill(size, frames, count, recipe.fresh)
        batch = self.pool.batch(size, frames, count)
        t = draw_times(recipe, count, self.painter.device)
        value = self.painter.loss(batch, self._slots(batch), t, torch.randn_like(batch.clean)).mean()
        figures: dict[str, Any] = {f"loss_{frames}": value.detach()}
        if self.agreement is not None and batch.features is not None:
            shape = batch.clean.shape
            apart = self.agreement(batch.features, (shape[2], shape[3], shape[4]))
            figures["apart"] = apart.detach()
            value = value + recipe.align * apart
        return value, figures

    @torch.no_grad()
    def _slots(self, batch: Batch) -> Tensor:
        """What the captions say; some are left out, for guidance."""
        if batch.ids is not None:
            told = torch.rand(len(batch.ids), 1, device=batch.ids.device) >= self.recipe.silent
            return self.painter.read(batch.ids * told)
        source, rng, silent = self.pool.source, self.rng, self.recipe.silent
        return self.painter.slots(
            ["" if s is None or rng.random() < silent else source.tell(s, rng) for s in batch.scenes]
        )


# Held-out losses ----------------------------------------------------------------------------------------------------


class Holdout:
    """Fixed held-out batches, single frames and clips, nothing known; fixed captions and noise."""

    def __init__(self, painter: Painter, world: World, size: Size, counts: dict[int, int]) -> None:
        pool = Pool(painter.vae, world, Random(11), Mix(entangled=0.0, midway=0.0, limit=64))
        self.painter, self.batches, self.texts = painter, [], []
        for frames, count in counts.items():
            pool.add(size, frames, count, held=True)
            batch, rng = pool.batch(size, frames, count), Random(3)
            batch = replace(batch, known=torch.zeros_like(batch.known), weight=torch.ones_like(batch.weight))
            self.batches.append(batch)
            self.texts.append([pool.source.tell(s, rng, complete=True) for s in batch.scenes if s])

    @torch.no_grad()
    def losses(self) -> dict[str, float]:
        """Mean losses by the number of latent frames ("held_1") and by noise level ("held_t0.5")."""
        table = torch.tensor(
            [[self._loss(b, texts, t) for t in LEVELS] for b, texts in zip(self.batches, self.texts, strict=True)]
        )
        by_length = {f"held_{b.clean.shape[2]}": v for b, v in zip(self.batches, table.mean(1).tolist(), strict=True)}
        return by_length | {f"held_t{t}": v for t, v in zip(LEVELS, table.mean(0).tolist(), strict=True)}

    def _loss(self, batch: Batch, texts: list[str], t: float) -> float:
        draw = torch.Generator().manual_seed(3)
        noise = torch.randn(batch.clean.shape, generator=draw).to(batch.clean)
        times = torch.full((len(noise),), t, device=noise.device)
        return self.painter.loss(batch, self.painter.slots(texts), times, noise).mean().item()


# The program --------------------------------------------------------------------------------------------------------


def fit(
    runs: Path,
    folder: Path,
    recipe: Recipe,
    world: World,
    device: str,
    minutes: float,
    *,
    start: Path | None = None,
    skip: float = 0.0,
    previews: int = len(PREVIEWS),
    every: float = 360.0,
    seed: int | None = None,
    features: Features | None = None,
) -> Painter:
    """Train for that long, going on from ``folder``/state where there is one, and write ``folder``/dit.safetensors.

    start, skip: weights to begin from, and the share of the curriculum that they have behind them. seed: of weights
    and data, drawn where None. Returns the painter with the averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(seed)
    torch.manual_seed(rng.getrandbits(32))
    vae, text, tokenizer = load_frozen(runs, device)
    dit = WanDiT(config(vae.config.channels, text.config.width, recipe.width, recipe.layers)).to(device)
    dit.init_weights()
    if start:
        dit.load_state_dict(load_file(start))
    painter = Painter(dit, text, vae, tokenizer, device)
    painter.pooled = recipe.pooled
    trainer = Trainer(painter, world, recipe, rng, features)
    if recipe.compile:
        for block in dit.blocks:
            block.compile()
    size = max(trainer.shapes, key=trainer.shapes.__getitem__)
    frames = max(f for _, lengths in recipe.curriculum for f in lengths)
    holdout = Holdout(painter, world, size, {f: n for f, n in HELD.items() if f <= frames})

    def report(_: int) -> dict[str, float]:
        if previews:
            _sheet(painter, folder / "sheet.png", previews, min(size))
        return holdout.losses()

    plain = ("dit.patch_embedding", "dit.proj_out", "dit.scale_shift", "align")
    optimiser = Both(trainer.student, matrix_lr=recipe.rate, other_lr=1e-3, plain=plain)
    loss: Callable[[float], tuple[Tensor, dict[str, Any]]] = lambda done: trainer.loss(skip + (1 - skip) * done)  # noqa: E731
    budget = Budget(minutes, cooldown=recipe.cooldown)
    train(trainer.student, optimiser, budget, folder, loss, average=recipe.average, every=every, report=report)
    save_file({k: v.contiguous() for k, v in dit.state_dict().items()}, folder / "dit.safetensors")
    return painter


def load_frozen(runs: Path, device: str) -> tuple[MiniVAE, MiniText, Tokenizer]:
    """The autoencoder, text encoder and tokeniser as their trainings left them."""
    tokenizer = Tokenizer.from_file(str(runs / "text" / "tokenizer.json"))
    tensors = {part: load_file(runs / part / f"{part}.safetensors") for part in ("vae", "text")}
    told = runs / "text" / "config.json"
    sizes = MiniTextConfig(**json.loads(told.read_text())) if told.exists() else text_sizes(tensors["text"])
    vae, text = MiniVAE(vae_sizes(tensors["vae"])), MiniText(sizes)
    vae.load_state_dict(tensors["vae"])
    text.load_state_dict(tensors["text"])
    vae, text = vae.to(device).in_channels_last(), text.to(device)
    return vae.eval().requires_grad_(False), text.eval().requires_grad_(False), tokenizer


def _sheet(painter: Painter, path: Path, count: int, side: int) -> None:
    """Previews as rows of every fourth frame."""
    from PIL import Image

    films = [painter.paint(p, seed, side)[::4] for seed, p in enumerate(PREVIEWS[:count])]
    rows = [np.concatenate(list(f), axis=1) for f in films]
    Image.fromarray(np.concatenate(rows)).save(path)


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


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sora.training.dit", description=__doc__)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="settings of sizes.Recipe")
    parser.add_argument("--start", type=Path, help="weights to begin from")
    parser.add_argument("--skip", type=float, default=0.0, help="share of the curriculum that --start has behind it")
    parser.add_argument("--world", choices=WORLDS, help="default: the size's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--previews", type=int, default=len(PREVIEWS))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where vae/ and text/ are")
    parser.add_argument("--folder", type=Path, default=None, help="default: dit/ there")
    args = parser.parse_args(argv)
    preset = SIZES[args.size]
    recipe, world = changed(preset.dit, args.set), WORLDS[args.world or preset.world]
    if args.device == "cuda":
        torch.set_float32_matmul_precision("high")
    fit(
        *(args.runs, args.folder or args.runs / "dit", recipe, world, args.device, args.minutes),
        start=args.start,
        skip=args.skip,
        previews=args.previews,
    )


if __name__ == "__main__":
    main()
