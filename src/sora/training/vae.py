"""Train the embedded model's autoencoder: ``python -m sora.training.vae --minutes 40``.

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.training import judge
from sora.training.critic import Critic
from sora.training.grow import grown_vae
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.worlds import WORLDS, World, draw_film
from sora.training.worlds.render import Rendered, render

CROP, FRAMES, CLIP = 128, 9, 17
SIZES = ((256, 256), (192, 352), (352, 192), (224, 288), (288, 224))
NOISE = 0.05  # added to raw latents, so that neighbours in latent space decode alike
WORN = 0.2  # most noise, in deviations, that a decoder trained alone must see through
SCALE = 1e-3  # weight of the raw latents' mean square
HELD = 10**9  # seed of the first held-out film


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


def crops(world: World, count: int, rng: Random, device: str = "cpu", per_clip: int = 4) -> tuple[Tensor, Tensor]:
    """(pixels_BCFYX in [-1, 1], weights_B1FYX): crops of CROP pixels and FRAMES frames from freshly rendered clips."""
    films = [draw_film(world, rng.getrandbits(48), held=False) for _ in range(-(-count // per_clip))]
    shown = render(films, CLIP, *rng.choice(SIZES), device=device)
    pixels, covers = [], []
    for i in range(count):
        b, f = i // per_clip, rng.randint(0, CLIP - FRAMES)
        y, x = _corner(shown.cover_BFYX[b, f + FRAMES // 2], rng)
        pixels.append(shown.frames_BFCYX[b, f : f + FRAMES, :, y : y + CROP, x : x + CROP])
        covers.append(shown.cover_BFYX[b, None, f : f + FRAMES, y : y + CROP, x : x + CROP])
    stacked = torch.stack(pixels).transpose(1, 2).float() / 127.5 - 1
    moving = (stacked.diff(dim=2).abs().amax(dim=1, keepdim=True) > 0.1).float()
    moving = torch.cat([moving[:, :, :1], moving], dim=2)
    return stacked, 1 + torch.stack(covers).float() / 255 + 2 * moving


def _corner(cover_YX: Tensor, rng: Random) -> tuple[int, int]:
    """Top left of a crop, more than half the time with a place of the subject near its middle."""
    height, width = cover_YX.shape
    inside = torch.nonzero(cover_YX[::8, ::8] > 128) * 8
    if len(inside) and rng.random() < 0.6:
        y, x = (int(v) - CROP // 2 for v in inside[rng.randrange(len(inside))])
    else:
        y, x = rng.randint(0, height - CROP), rng.randint(0, width - CROP)
    return min(max(0, y), height - CROP), min(max(0, x), width - CROP)


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


def psnr_of(error: Tensor) -> float:
    """Peak signal to noise in dB of an error on a scale of 2."""
    return (10 * torch.log10(4 / error.square().mean())).item()


def _whole(shown: Rendered) -> Tensor:
    return shown.frames_BFCYX.transpose(1, 2).float() / 127.5 - 1


@torch.no_grad()
def reconstructed(model: MiniVAE, world: World, clips: int, seed: int = HELD):
    """Held-out clips of CLIP frames, one by one: (rendered, painted), each (1, C, F, Y, X) on 8 bits in [-1, 1]."""
    for i in range(clips):
        film = draw_film(world, seed + i, held=True)
        pixels = _whole(render([film], CLIP, *SIZES[i % len(SIZES)], device=str(model.mean.device)))
        painted = model.decode(model.encode(pixels)).clamp(-1, 1)
        yield pixels, ((painted + 1) * 127.5).round() / 127.5 - 1


def held_out_psnr(model: MiniVAE, world: World, clips: int = 20) -> float:
    """Mean PSNR in dB over whole held-out clips, decoded to 8-bit pixels."""
    return float(np.mean([psnr_of(painted - pixels) for pixels, painted in reconstructed(model, world, clips)]))


@torch.no_grad()
def measure_scale(model: MiniVAE, world: World, clips: int = 64) -> None:
    """Set the latents' mean and deviation per channel from freshly rendered clips."""
    rng, raw, device = Random(7), [], str(model.mean.device)
    for _ in range(clips):
        film = draw_film(world, rng.getrandbits(48), held=False)
        raw.append(model.raw_encode(_whole(render([film], CLIP, *rng.choice(SIZES), device=device)))[0].flatten(1))
    values = torch.cat(raw, dim=1)
    model.mean.copy_(values.mean(dim=1))
    model.deviation.copy_(values.std(dim=1))


def batches(world: World, count: int, rng: Random, device: str) -> Callable[[], tuple[Tensor, Tensor]]:
    """A source of (pixels with holes, weights)."""

    def draw() -> tuple[Tensor, Tensor]:
        pixels, weights = crops(world, count, rng, device)
        return with_holes(pixels, rng), weights

    return draw


def main() -> None:
    args = _arguments()
    world, rng = WORLDS[args.world], Random()
    torch.manual_seed(rng.getrandbits(32))
    model = MiniVAE(MiniVAEConfig(channels=args.channels, detail=args.detail, reach=args.reach))
    if args.start:
        model.load_state_dict(grown_vae(load_file(args.start), model))
    model = model.to(args.device).in_channels_last()
    if args.frozen_encoder:
        for name, p in model.named_parameters():
            p.requires_grad_(not name.startswith(("fold", "encoder", "reduce", "to_latents")))
    trainer = Trainer(
        model,
        Aims(critic=args.critic, anchor=args.anchor, perceptual=args.perceptual),
        encoding=not args.frozen_encoder,
    )
    draw = batches(world, args.batch, rng, args.device)

    def loss(done: float) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.device == "cuda"):
            return trainer.loss(*draw(), done)

    optimiser = Both(model, matrix_lr=args.rate, other_lr=1e-3, plain=("to_latents", "unfold", "fold", "detail.unfold"))
    budget = Budget(args.minutes)
    train(model, optimiser, budget, args.folder, loss, average=0.995, report=lambda _: _report(model, world, args))
    if not args.frozen_encoder and not args.anchor:
        measure_scale(model, world)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, args.folder / "vae.safetensors")
    print(f"held-out PSNR {held_out_psnr(model, world, 60):.2f} dB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of the matrices")
    parser.add_argument("--channels", type=int, default=24, help="of a latent")
    parser.add_argument("--detail", type=int, default=48, help="width of the last stage, which doubles the size")
    parser.add_argument("--reach", type=int, default=3, help="kernel of the temporal layers")
    parser.add_argument("--critic", type=float, default=0.0, help="weight of a critic of patches, near the end")
    parser.add_argument("--perceptual", type=float, default=0.0, help="weight of what the judge sees")
    parser.add_argument("--anchor", type=float, default=0.0, help="weight that holds the latents near those of --start")
    parser.add_argument("--start", type=Path, help="weights to begin from, of a smaller network too")
    parser.add_argument("--frozen-encoder", action="store_true", help="train the decoder alone")
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/vae"))
    return parser.parse_args()


@torch.no_grad()
def _report(model: MiniVAE, world: World, args: argparse.Namespace) -> dict[str, float]:
    """Held-out PSNR, and a sheet of originals over reconstructions."""
    from PIL import Image

    rows = []
    for pair in reconstructed(model, world, 4):
        shown = [((p[0].permute(1, 2, 3, 0)[1::8] + 1) * 127.5).byte().cpu().numpy() for p in pair]
        width = CLIP // 8 * 352
        rows += [np.pad(r := np.concatenate(list(s), axis=1), ((0, 0), (0, width - r.shape[1]), (0, 0))) for s in shown]
    Image.fromarray(np.concatenate(rows)).save(args.folder / "sheet.png")
    return {"held_out_psnr": held_out_psnr(model, world, 10)}


if __name__ == "__main__":
    main()
