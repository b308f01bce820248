"""Train the embedded model's autoencoder: ``python -m sora.training.vae --minutes 40``.

It learns on crops of rendered clips, half of them cut around the subject, some with grey holes (a box, or a stretch of
frames), since the canvas it will encode later has unknown parts. Edges, the subject and whatever moves weigh more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from sora.networks.mini_vae import MiniVAE
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.world import WORLDS, World, draw_scene, render

CROP, FRAMES = 64, 9
SIZES = ((128, 128), (96, 176), (176, 96), (112, 144), (144, 112))
NOISE = 0.05  # added to raw latents, so that neighbours in latent space decode alike
SCALE = 1e-3  # weight of the raw latents' mean square


def crops(world: World, count: int, rng: Random, per_clip: int = 4) -> tuple[Tensor, Tensor]:
    """(pixels_BCFYX in [-1, 1], weights_B1FYX): crops of CROP pixels and FRAMES frames from freshly rendered clips."""
    pixels, weights = [], []
    while len(pixels) < count:
        height, width = rng.choice(SIZES)
        film, cover = render(draw_scene(world, rng.getrandbits(48), held=False), 17, height, width)
        for _ in range(per_clip):
            f = rng.randint(0, 17 - FRAMES)
            y, x = _corner(cover[f + FRAMES // 2], rng)
            box = (slice(f, f + FRAMES), slice(y, y + CROP), slice(x, x + CROP))
            pixels.append(torch.from_numpy(film[box].copy()).permute(3, 0, 1, 2))
            weights.append(torch.from_numpy(cover[box].copy())[None])
    stacked = torch.stack(pixels[:count]).float() / 127.5 - 1
    moving = (stacked.diff(dim=2).abs().amax(dim=1, keepdim=True) > 0.1).float()
    moving = torch.cat([moving[:, :, :1], moving], dim=2)
    return stacked, 1 + torch.stack(weights[:count]).float() / 255 + 2 * moving


def _corner(cover_YX: np.ndarray, rng: Random) -> tuple[int, int]:
    """Top left of a crop, half the time with a place of the subject near its middle."""
    height, width = cover_YX.shape
    inside = np.argwhere(cover_YX > 128)
    if len(inside) and rng.random() < 0.6:
        y, x = inside[rng.randrange(len(inside))]
        y, x = int(y) - CROP // 2, int(x) - CROP // 2
    else:
        y, x = rng.randint(0, height - CROP), rng.randint(0, width - CROP)
    return min(max(0, y), height - CROP), min(max(0, x), width - CROP)


def with_holes(pixels_BCFYX: Tensor, rng: Random) -> Tensor:
    """A quarter of the batch loses a box or a stretch of frames to grey."""
    frames, side = pixels_BCFYX.shape[2], pixels_BCFYX.shape[-1]
    for clip in pixels_BCFYX:
        if rng.random() < 0.15:
            y, x = rng.randrange(side - 8), rng.randrange(side - 8)
            clip[:, :, y : y + rng.randint(8, side), x : x + rng.randint(8, side)] = 0
        elif rng.random() < 0.12:
            start = rng.randint(0, frames - 1)
            clip[:, start : rng.randint(start + 1, frames)] = 0
    return pixels_BCFYX


def objective(model: MiniVAE, pixels: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Weighted absolute and squared error, differences of neighbours in space and time, and the latents' scale."""
    raw = model.raw_encode(pixels)
    noisy = raw + NOISE * torch.randn_like(raw)
    painted, _ = model.raw_decode(noisy, [None] * len(model.decoder_time))
    error = painted[:, :, 3:] - pixels
    flat = (weights * error.abs()).mean() / weights.mean()
    square = (weights * error.square()).mean() / weights.mean()
    edges = sum(error.diff(dim=d).abs().mean() for d in (2, 3, 4)) / 3
    loss = flat + 2 * square + 0.5 * edges + SCALE * raw.square().mean()
    return loss, {"loss": loss.item(), "psnr": _psnr(error), "scale": raw.square().mean().sqrt().item()}


def _psnr(error: Tensor) -> float:
    """Peak signal to noise in dB of an error on a scale of 2."""
    return (10 * torch.log10(4 / error.square().mean())).item()


@torch.no_grad()
def held_out_psnr(model: MiniVAE, world: World, clips: int = 20, seed: int = 10**9) -> float:
    """Mean PSNR in dB over whole held-out clips of 17 frames, decoded to 8-bit pixels."""
    scores = []
    for i in range(clips):
        height, width = SIZES[i % len(SIZES)]
        film, _ = render(draw_scene(world, seed + i, held=True), 17, height, width)
        pixels = torch.from_numpy(film).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        device = model.mean.device
        painted = model.decode(model.encode(pixels.to(device))).clamp(-1, 1).cpu()
        scores.append(_psnr(((painted + 1) * 127.5).round() / 127.5 - 1 - pixels))
    return float(np.mean(scores))


@torch.no_grad()
def measure_scale(model: MiniVAE, world: World, clips: int = 64) -> None:
    """Set the latents' mean and deviation per channel from freshly rendered clips."""
    rng, raw = Random(7), []
    for _ in range(clips):
        height, width = rng.choice(SIZES)
        film, _ = render(draw_scene(world, rng.getrandbits(48), held=False), 17, height, width)
        pixels = torch.from_numpy(film).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        raw.append(model.raw_encode(pixels.to(model.mean.device))[0].flatten(1))
    values = torch.cat(raw, dim=1)
    model.mean.copy_(values.mean(dim=1))
    model.deviation.copy_(values.std(dim=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/vae"))
    args = parser.parse_args()
    world, rng = WORLDS[args.world], Random()
    torch.manual_seed(rng.getrandbits(32))
    model = MiniVAE().to(args.device).in_channels_last()
    bf16 = args.device == "cuda"

    def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
        pixels, weights = crops(world, args.batch, rng)
        with torch.autocast(args.device, torch.bfloat16, enabled=bf16):
            return objective(model, with_holes(pixels, rng).to(args.device), weights.to(args.device))

    optimiser = Both(model, matrix_lr=0.01, other_lr=1e-3, plain=("to_latents", "unfold", "fold"))
    budget = Budget(args.minutes)
    train(
        model, optimiser, budget, args.folder, loss, average=0.995, report=lambda _: _report(model, world, args.folder)
    )
    measure_scale(model, world)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, args.folder / "vae.safetensors")
    print(f"held-out PSNR {held_out_psnr(model, world, 60):.2f} dB")


@torch.no_grad()
def _report(model: MiniVAE, world: World, folder: Path) -> dict[str, float]:
    """Held-out PSNR, and a sheet of originals over reconstructions."""
    from PIL import Image

    rows = []
    for i in range(4):
        film, _ = render(draw_scene(world, 10**9 + i, held=True), 17, 128, 128)
        pixels = torch.from_numpy(film).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        painted = ((model.decode(model.encode(pixels.to(model.mean.device))).clamp(-1, 1).cpu() + 1) * 127.5).byte()
        pair = (film[1::5], painted[0].permute(1, 2, 3, 0).numpy()[1::5])
        rows.append(np.concatenate([np.concatenate(list(p), axis=1) for p in pair]))
    Image.fromarray(np.concatenate(rows)).save(folder / "sheet.png")
    return {"held_out_psnr": held_out_psnr(model, world, 10)}


if __name__ == "__main__":
    main()
