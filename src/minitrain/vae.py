"""Train the embedded model's autoencoder: ``python -m minitrain.vae --minutes 40``.

It learns on crops of rendered clips, half of them cut around the subject, some with grey holes (a box, or a stretch of
frames), since the canvas it will encode later has unknown parts. Edges, the subject and whatever moves weigh more. With
``--frozen-encoder`` the decoder alone is trained: latents keep their meaning, so a transformer trained on them keeps
its worth, and the decoder meets latents with as much noise as a transformer's last errors have. With ``--anchor``
the encoder learns too, but its latents are held near those of ``--start``, so that the transformer has little to learn
anew.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from minitrain import judge
from minitrain.clip_bank import ClipBank
from minitrain.critic import Critic
from minitrain.grow import grown_vae
from minitrain.held_out import HeldOut, held_out, psnr, reconstructed
from minitrain.optim import Both
from minitrain.pipeline import sheet, weights_of, word_reader
from minitrain.presets import SIZES, shapes
from minitrain.render_workers import CELL, ClipGroup, RenderPlan, RenderWorkers
from minitrain.retry import Attempt, left, persist
from minitrain.tokenizer import build_tokenizer
from minitrain.training_loop import Budget, Loss
from minitrain.worlds import WORLDS
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.runtime.winograd import Winograd

CLIP = 17  # frames of the clips that the latents' scale is measured on
MEASURED = 96  # groups of them
NOISE = 0.05  # added to raw latents, so that neighbours in latent space decode alike
WORN = 0.2  # most noise, in deviations, that a decoder trained alone must see through
SCALE = 1e-3  # weight of the raw latents' mean square
PLAIN = ("to_latents", "unfold", "fold", "detail.unfold")  # not matrices that Muon may turn


@dataclass(frozen=True)
class Aims:
    """Weights of the loss. edges: of the error's differences between neighbours in space and time. critic: of a critic
    of patches in the last ``critic_share`` of the training, which sharpens and costs a little PSNR. anchor: of the
    squared way, in deviations, from where an older encoder puts the same pixels. perceptual: of the squared distance in
    what the judge's convolutions see, at half the size, as it was trained to look."""

    square: float = 2.0
    edges: float = 0.5
    critic: float = 0.0
    critic_share: float = 0.3
    anchor: float = 0.0
    perceptual: float = 0.0


def with_holes(pixels_BCFYX: Tensor, rng: Random) -> Tensor:
    """A quarter of the batch loses a box or a stretch of frames to grey. Works in place."""
    frames, side = pixels_BCFYX.shape[2], pixels_BCFYX.shape[-1]
    for clip in pixels_BCFYX:
        if rng.random() < 0.15:
            y, x = rng.randrange(side - 16), rng.randrange(side - 16)
            clip[:, :, y : y + rng.randint(16, side), x : x + rng.randint(16, side)] = 0
        elif rng.random() < 0.12:
            start = rng.randint(0, frames - 1)
            clip[:, start : rng.randint(start + 1, frames)] = 0
    return pixels_BCFYX


class Trainer:
    """The losses of one training. encoding: whether the encoder learns too. With an anchor, the older encoder is the
    model as it is now."""

    def __init__(self, model: MiniVAE, aims: Aims, *, encoding: bool) -> None:
        self.model, self.aims, self.encoding = model, aims, encoding
        self.eye = judge.load(device=model.mean.device).requires_grad_(False) if aims.perceptual else None
        self.older = copy.deepcopy(model).eval().requires_grad_(False) if aims.anchor else None
        self.critic = Critic(model.mean.device) if aims.critic else None

    def loss(self, pixels: Tensor, weights: Tensor, done: float) -> tuple[Tensor, dict[str, Any]]:
        """Weighted absolute and squared error, differences of neighbours, the latents' scale, the critic's word."""
        raw, noise = self._latents(pixels)
        painted, _ = self.model.raw_decode(raw + noise, [None] * len(self.model.decoder_time))
        painted = painted[:, :, 3:]
        error = painted - pixels
        flat = (weights * error.abs()).mean() / weights.mean()
        square = (weights * error.square()).mean() / weights.mean()
        edges = torch.stack([error.diff(dim=d).abs().mean() for d in (2, 3, 4)]).mean()
        loss = flat + self.aims.square * square + self.aims.edges * edges
        if self.eye is not None:
            loss = loss + self.aims.perceptual * self._unlike(painted, pixels)
        if self.encoding:
            loss = loss + SCALE * raw.square().mean()
        if self.older is not None:
            loss = loss + self.aims.anchor * self._way(raw, pixels).square().mean()
        figures: dict[str, Any] = {
            "loss": loss.detach(),
            "psnr": 10 * torch.log10(4 / error.detach().float().square().mean()),
        }
        if self.critic is not None and done > 1 - self.aims.critic_share:
            figures["critic"] = self.critic.learn(pixels, painted.detach())
            loss = loss + self.aims.critic * self.critic.dislike(painted)
        return loss, figures

    def _unlike(self, painted: Tensor, pixels: Tensor) -> Tensor:
        """How differently the judge's convolutions see the two, from 0 to 4."""
        assert self.eye is not None
        ours, theirs = (judge.maps(self.eye, F.avg_pool3d(x, (1, 2, 2)).transpose(1, 2)) for x in (painted, pixels))
        return (ours - theirs).square().sum(dim=1).mean()

    def _way(self, raw: Tensor, pixels: Tensor) -> Tensor:
        """How far the raw latents are from the older encoder's, in deviations."""
        assert self.older is not None
        with torch.no_grad():
            before = self.older.raw_encode(pixels)
        return (raw - before) / self.older.deviation.view(1, -1, 1, 1, 1)

    def _latents(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The raw latents and the noise to add: a little, or where a transformer paints such latents already, at times
        as much as it errs."""
        with torch.set_grad_enabled(self.encoding):
            raw = self.model.raw_encode(pixels)
        if self.encoding and self.older is None:
            return raw, NOISE * torch.randn_like(raw)
        amount = WORN * (2 * torch.rand(len(raw), 1, 1, 1, 1, device=raw.device) - 1).clamp(min=0)
        return raw, amount * self.model.deviation.view(1, -1, 1, 1, 1) * torch.randn_like(raw)


@torch.no_grad()
def measure_scale(model: MiniVAE, groups: Sequence[ClipGroup]) -> None:
    """Set the latents' mean and deviation per channel from rendered clips."""
    raw = [model.raw_encode(g.frames[:, :, :CLIP].float() / 127.5 - 1).transpose(0, 1).flatten(1) for g in groups]
    values = torch.cat(raw, dim=1)
    model.mean.copy_(values.mean(dim=1))
    model.deviation.copy_(values.std(dim=1))


def fit(
    model: MiniVAE,
    bank: ClipBank,
    held: HeldOut,
    folder: Path,
    minutes: float,
    *,
    aims: Aims | None = None,
    batch: int = 8,
    rate: float = 0.01,
    encoding: bool = True,
    every: float = 240.0,
) -> None:
    """Train for that long, going on from ``folder``/state where there is one, and write ``folder``/vae.safetensors.
    encoding: whether the encoder learns too."""
    aims, end = aims or Aims(), time.monotonic() + 60 * minutes
    device, begun = str(model.mean.device), copy.deepcopy(model.state_dict())
    if not encoding:
        for name, p in model.named_parameters():
            p.requires_grad_(not name.startswith(("fold", "encoder", "reduce", "to_latents")))
    trainer = Trainer(model, aims, encoding=encoding)
    bank.fill(-(-batch // bank.workers.plan.group))

    def setup(attempt: Attempt) -> tuple[Both, Loss]:
        def loss(done: float) -> tuple[Tensor, dict[str, Any]]:
            bank.pump()
            pixels, weights = bank.crops(attempt.clips(batch))
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                return trainer.loss(with_holes(pixels, bank.rng), weights, done)

        return Both(model, matrix_lr=rate * attempt.rate, other_lr=1e-3 * attempt.rate, plain=PLAIN), loss

    def report(_: int) -> dict[str, float]:
        return {"held_out_psnr": psnr(model, held), "clips": bank.workers.clips}

    def begin() -> None:
        model.load_state_dict(begun)

    budget = Budget(left(end), cooldown=0.3)
    persist(model, setup, budget, folder, begin, every=every, report=report)
    if encoding and not aims.anchor:
        measure_scale(model, bank.told(MEASURED))
    save_file(weights_of(model), folder / "vae.safetensors")
    preview(model, held, folder / "sheet.jpg")


@torch.no_grad()
def preview(model: MiniVAE, held: HeldOut, path: Path, count: int = 6) -> None:
    """Originals above their reconstructions."""
    pairs = []
    for i in range(min(count, len(held.pixels))):
        pixels = held.shown(i, model.mean.device)
        pairs += [pixels, reconstructed(model, pixels)]
    shown = ((torch.cat(pairs) + 1) * 127.5).round().byte().transpose(1, 2).cpu()
    sheet(shown, path, columns=1)


def main(argv: Sequence[str] | None = None) -> None:
    args = _arguments(argv)
    preset, world = SIZES["cpu"], WORLDS[args.world]
    model = MiniVAE(MiniVAEConfig(channels=args.channels, detail=args.detail, reach=args.reach))
    model.convolver = Winograd
    if args.start:
        model.load_state_dict(grown_vae(load_file(args.start), model))
    plan = RenderPlan(shapes(preset.dit, 2 * CELL), {CLIP: 1.0})
    blind = word_reader(build_tokenizer(world), 1)  # it learns nothing of captions
    with RenderWorkers([world], plan, blind, args.workers, Random().getrandbits(32), device=args.device) as workers:
        model = model.to(args.device).in_channels_last()
        bank = ClipBank(workers, preset.bank, Random())
        aims = Aims(critic=args.critic, anchor=args.anchor, perceptual=args.perceptual)
        held = held_out(world, 12, max(preset.dit.sides))
        how = {"aims": aims, "batch": args.batch, "rate": args.rate, "encoding": not args.frozen_encoder}
        fit(model, bank, held, args.folder, args.minutes, **how)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m minitrain.vae", description=__doc__)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of the matrices")
    parser.add_argument("--channels", type=int, default=32, help="of a latent")
    parser.add_argument("--detail", type=int, default=48, help="width of the last stage, which doubles the size")
    parser.add_argument("--reach", type=int, default=3, help="kernel of the temporal layers")
    parser.add_argument("--critic", type=float, default=0.0, help="weight of a critic of patches, near the end")
    parser.add_argument("--perceptual", type=float, default=0.0, help="weight of what the judge sees")
    parser.add_argument("--anchor", type=float, default=0.0, help="weight that holds the latents near those of --start")
    parser.add_argument("--start", type=Path, help="weights to begin from, of a smaller network too")
    parser.add_argument("--frozen-encoder", action="store_true", help="train the decoder alone")
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/vae"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
