"""Train the embedded model's autoencoder: ``python -m minitrain.vae --minutes 40``.

It is trained on crops of rendered clips, half of them cut around the subject, some with grey holes (a box, or a stretch
of frames), since the canvas it will encode later has unknown parts. Edges, the subject and moving pixels have larger
weights. With ``--frozen-encoder`` the decoder alone is trained: latents keep their meaning, so a transformer trained on
them stays valid, and the decoder is given latents with as much noise as a transformer's last errors have. With
``--anchor`` the encoder is trained too, but its latents are held near those of ``--start``, so that the transformer
needs little retraining.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
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
from minitrain.held_out import HeldOutClips, reconstruct, render_held_out, vae_psnr
from minitrain.optim import MuonAdamW
from minitrain.pipeline import caption_tokenizer, cpu_state_dict, save_contact_sheet
from minitrain.presets import PRESETS, clip_shapes
from minitrain.render_workers import COVER_CELL, ClipGroup, RenderConfig, RenderWorkers
from minitrain.retry import Attempt, minutes_left, train_with_retries
from minitrain.tokenizer import build_tokenizer
from minitrain.training_loop import Budget, LossFunction
from minitrain.worlds import WORLDS
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.runtime.winograd import Winograd

SCALE_FRAMES = 17  # frames of the clips that the latents' scale is measured on
SCALE_GROUPS = 96  # groups of them
LATENT_NOISE = 0.05  # added to raw latents, so that close latents decode alike
MAX_LATENT_NOISE = 0.2  # most noise, in deviations, that a decoder trained alone must see through
LATENT_SCALE_WEIGHT = 1e-3  # weight of the raw latents' mean square
NEW_ENTRY_SCALE = 0.25  # of their own beginning that new entries of an old weight keep
ADAMW_PREFIXES = ("to_latents", "unfold", "fold", "detail.unfold")  # matrices that Muon must not orthogonalise


@dataclass(frozen=True)
class LossWeights:
    """squared_weight: of the squared error. edge_weight: of the differences of the error between neighbours in space
    and time. critic_weight: of a patch discriminator in the last ``critic_share`` of the training, which sharpens and
    costs a little PSNR. anchor_weight: of the squared distance, in standard deviations, from an older encoder's
    latents. perceptual_weight: of the squared distance of the judge's convolutional features, at half the size, which
    it was trained on."""

    squared_weight: float = 2.0
    edge_weight: float = 0.5
    critic_weight: float = 0.0
    critic_share: float = 0.3
    anchor_weight: float = 0.0
    perceptual_weight: float = 0.0


def add_holes(pixels_BCFYX: Tensor, rng: Random) -> Tensor:
    """Replace a box or a stretch of frames by grey in a quarter of the batch. Works in place."""
    frames, side = pixels_BCFYX.shape[2], pixels_BCFYX.shape[-1]
    for clip in pixels_BCFYX:
        if rng.random() < 0.15:
            y, x = rng.randrange(side - 16), rng.randrange(side - 16)
            clip[:, :, y : y + rng.randint(16, side), x : x + rng.randint(16, side)] = 0
        elif rng.random() < 0.12:
            start = rng.randint(0, frames - 1)
            clip[:, start : rng.randint(start + 1, frames)] = 0
    return pixels_BCFYX


class VAETrainer:
    """The losses of one training. train_encoder: whether the encoder is trained too. With an anchor, the older encoder
    is the model as it is now."""

    def __init__(self, model: MiniVAE, loss_weights: LossWeights, *, train_encoder: bool) -> None:
        self.model, self.loss_weights, self.train_encoder = model, loss_weights, train_encoder
        self.perceptual_net = (
            judge.load(device=model.mean.device).requires_grad_(False) if loss_weights.perceptual_weight else None
        )
        self.anchor_model = copy.deepcopy(model).eval().requires_grad_(False) if loss_weights.anchor_weight else None
        self.critic = Critic(model.mean.device) if loss_weights.critic_weight else None

    def loss(self, pixels: Tensor, weights: Tensor, done: float) -> tuple[Tensor, dict[str, Any]]:
        """Weighted absolute and squared error, differences of neighbours, the latents' scale, and the discriminator's
        loss."""
        raw, noise = self._latents(pixels)
        decoded, _ = self.model.raw_decode(raw + noise, [None] * len(self.model.decoder_time))
        decoded = decoded[:, :, 3:]
        error = decoded - pixels
        flat = (weights * error.abs()).mean() / weights.mean()
        square = (weights * error.square()).mean() / weights.mean()
        edges = torch.stack([error.diff(dim=d).abs().mean() for d in (2, 3, 4)]).mean()
        loss = flat + self.loss_weights.squared_weight * square + self.loss_weights.edge_weight * edges
        if self.perceptual_net is not None:
            loss = loss + self.loss_weights.perceptual_weight * self._perceptual_distance(decoded, pixels)
        if self.train_encoder:
            loss = loss + LATENT_SCALE_WEIGHT * raw.square().mean()
        if self.anchor_model is not None:
            loss = loss + self.loss_weights.anchor_weight * self._latent_drift(raw, pixels).square().mean()
        figures: dict[str, Any] = {
            "loss": loss.detach(),
            "psnr": 10 * torch.log10(4 / error.detach().float().square().mean()),
        }
        if self.critic is not None and done > 1 - self.loss_weights.critic_share:
            figures["critic"] = self.critic.update(pixels, decoded.detach())
            loss = loss + self.loss_weights.critic_weight * self.critic.generator_loss(decoded)
        return loss, figures

    def _perceptual_distance(self, decoded: Tensor, pixels: Tensor) -> Tensor:
        """Squared distance of the judge's convolutional features of the two, from 0 to 4."""
        assert self.perceptual_net is not None
        ours, theirs = (
            judge.feature_maps(self.perceptual_net, F.avg_pool3d(x, (1, 2, 2)).transpose(1, 2))
            for x in (decoded, pixels)
        )
        return (ours - theirs).square().sum(dim=1).mean()

    def _latent_drift(self, raw: Tensor, pixels: Tensor) -> Tensor:
        """Distance of the raw latents from the older encoder's, in standard deviations."""
        assert self.anchor_model is not None
        with torch.no_grad():
            before = self.anchor_model.raw_encode(pixels)
        return (raw - before) / self.anchor_model.deviation.view(1, -1, 1, 1, 1)

    def _latents(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The raw latents and the noise to add: a little, or, if a transformer generates such latents already, at times
        as much as it errs."""
        with torch.set_grad_enabled(self.train_encoder):
            raw = self.model.raw_encode(pixels)
        if self.train_encoder and self.anchor_model is None:
            return raw, LATENT_NOISE * torch.randn_like(raw)
        amount = MAX_LATENT_NOISE * (2 * torch.rand(len(raw), 1, 1, 1, 1, device=raw.device) - 1).clamp(min=0)
        return raw, amount * self.model.deviation.view(1, -1, 1, 1, 1) * torch.randn_like(raw)


@torch.no_grad()
def measure_latent_scale(model: MiniVAE, groups: Sequence[ClipGroup]) -> None:
    """Set the latents' mean and deviation of each channel from rendered clips."""
    raw = [
        model.raw_encode(g.frames[:, :, :SCALE_FRAMES].float() / 127.5 - 1).transpose(0, 1).flatten(1) for g in groups
    ]
    values = torch.cat(raw, dim=1)
    model.mean.copy_(values.mean(dim=1))
    model.deviation.copy_(values.std(dim=1))


def train_vae(
    model: MiniVAE,
    bank: ClipBank,
    held_out: HeldOutClips,
    folder: Path,
    minutes: float,
    *,
    loss_weights: LossWeights | None = None,
    batch: int = 8,
    learning_rate: float = 0.01,
    train_encoder: bool = True,
    report_every: float = 240.0,
) -> None:
    """Train for that many minutes, resuming ``folder``/state if it exists, and write ``folder``/vae.safetensors.
    train_encoder: whether the encoder is trained too."""
    loss_weights, end = loss_weights or LossWeights(), time.monotonic() + 60 * minutes
    device, first_weights = str(model.mean.device), copy.deepcopy(model.state_dict())
    if not train_encoder:
        for name, p in model.named_parameters():
            p.requires_grad_(not name.startswith(("fold", "encoder", "reduce", "to_latents")))
    trainer = VAETrainer(model, loss_weights, train_encoder=train_encoder)
    bank.wait_for(-(-batch // bank.workers.config.clips_per_group))

    def setup(attempt: Attempt) -> tuple[MuonAdamW, LossFunction]:
        def loss(done: float) -> tuple[Tensor, dict[str, Any]]:
            bank.receive()
            pixels, weights = bank.crops(attempt.batch_size(batch))
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                return trainer.loss(add_holes(pixels, bank.rng), weights, done)

        return MuonAdamW(
            model,
            muon_lr=learning_rate * attempt.lr_factor,
            adamw_lr=1e-3 * attempt.lr_factor,
            adamw_prefixes=ADAMW_PREFIXES,
        ), loss

    def report(_: int) -> dict[str, float]:
        return {"held_out_psnr": vae_psnr(model, held_out), "clips": bank.workers.clips}

    def restore_first() -> None:
        model.load_state_dict(first_weights)

    budget = Budget(minutes_left(end), cooldown=0.3)
    train_with_retries(model, setup, budget, folder, restore_first, report_every=report_every, report=report)
    if train_encoder and not loss_weights.anchor_weight:
        measure_latent_scale(model, bank.captioned(SCALE_GROUPS))
    save_file(cpu_state_dict(model), folder / "vae.safetensors")
    save_preview(model, held_out, folder / "sheet.jpg")


def grow_vae(old: Mapping[str, Tensor], model: MiniVAE) -> dict[str, Tensor]:
    """The model's whole state dict with the weights of a smaller autoencoder copied in, so that what it learnt is kept
    (Net2Net, Chen et al., arXiv 1511.05641). There may be more latent channels, of which the first are the old ones,
    and larger kernels in time. New entries of a weight keep the model's own initialisation, scaled down, so that they
    disturb little at first. Raises ValueError for weights that do not fit into it."""
    return {
        name: _grow_tensor(name, own, old.get(name)) for name, own in _require_known(old, model.state_dict()).items()
    }


def _grow_tensor(name: str, own: Tensor, old: Tensor | None) -> Tensor:
    if old is None or old.shape == own.shape:
        return own.clone() if old is None else old.clone()
    if name.endswith("mix.weight"):  # the middle of the kernel is the old layer, which saw no neighbours
        grown, middle = torch.zeros_like(own), own.shape[-1] // 2
        grown[:, :, middle, middle] = old
        return grown
    grown = own.clone() if own.ndim == 1 else NEW_ENTRY_SCALE * own
    grown[tuple(slice(0, n) for n in old.shape)] = old
    return grown


def _require_known(old: Mapping[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    unknown = sorted(set(old) - set(state))
    if unknown:
        raise ValueError(f"the larger network has no such weights: {', '.join(unknown[:3])}")
    return state


@torch.no_grad()
def save_preview(model: MiniVAE, held_out: HeldOutClips, path: Path, count: int = 6) -> None:
    """A contact sheet of originals, each above its reconstruction."""
    pairs = []
    for i in range(min(count, len(held_out.pixels))):
        pixels = held_out.clip(i, model.mean.device)
        pairs += [pixels, reconstruct(model, pixels)]
    shown = ((torch.cat(pairs) + 1) * 127.5).round().byte().transpose(1, 2).cpu()
    save_contact_sheet(shown, path, columns=1)


def main(argv: Sequence[str] | None = None) -> None:
    args = _arguments(argv)
    preset, world = PRESETS["cpu"], WORLDS[args.world]
    model = MiniVAE(MiniVAEConfig(channels=args.channels, detail=args.detail, reach=args.reach))
    model.convolver = Winograd
    if args.start:
        model.load_state_dict(grow_vae(load_file(args.start), model))
    render_config = RenderConfig(clip_shapes(preset.dit, 2 * COVER_CELL), {SCALE_FRAMES: 1.0})
    tokenize = caption_tokenizer(build_tokenizer(world), 1)  # it learns nothing of captions
    with RenderWorkers(
        [world], render_config, tokenize, args.workers, Random().getrandbits(32), device=args.device
    ) as workers:
        model = model.to(args.device).in_channels_last()
        bank = ClipBank(workers, preset.bank_bytes, Random())
        loss_weights = LossWeights(
            critic_weight=args.critic, anchor_weight=args.anchor, perceptual_weight=args.perceptual
        )
        held_out = render_held_out(world, 12, max(preset.dit.sides))
        options = {
            "loss_weights": loss_weights,
            "batch": args.batch,
            "learning_rate": args.learning_rate,
            "train_encoder": not args.frozen_encoder,
        }
        train_vae(model, bank, held_out, args.folder, args.minutes, **options)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m minitrain.vae", description=__doc__)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", "--rate", type=float, default=0.01, help="learning rate of the matrices")
    parser.add_argument("--channels", type=int, default=32, help="of a latent")
    parser.add_argument("--detail", type=int, default=48, help="width of the last stage, which doubles the size")
    parser.add_argument("--reach", type=int, default=3, help="kernel of the temporal layers")
    parser.add_argument("--critic", type=float, default=0.0, help="weight of a patch discriminator, near the end")
    parser.add_argument("--perceptual", type=float, default=0.0, help="weight of the distance of the judge's features")
    parser.add_argument("--anchor", type=float, default=0.0, help="weight of the distance from the latents of --start")
    parser.add_argument("--start", type=Path, help="initial weights, also of a smaller network")
    parser.add_argument("--frozen-encoder", action="store_true", help="train the decoder alone")
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/vae"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
