"""Held-out clips, rendered once, and what is measured on them while networks train."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from minitrain.compilation import restore_uncompiled
from minitrain.films import FilmSource
from minitrain.pipeline import Pipeline, empty_conditioning
from minitrain.worlds import World
from sora.networks.mini_vae import MiniVAE
from sora.networks.wan.dit import WanDiT

FIRST_SEED = 10**9  # seed of the first held-out film
FRAMES = 17
NOISE_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # noise levels at which held-out losses are measured


@dataclass(frozen=True)
class HeldOutClips:
    """pixels: (N, 3, FRAMES, Y, X) uint8 on the CPU. texts: a complete caption of each clip."""

    pixels: Tensor
    texts: tuple[str, ...]

    def clip(self, i: int, device: torch.device | str) -> Tensor:
        """One clip, (1, 3, F, Y, X) in [-1, 1]."""
        return self.pixels[i : i + 1].to(device).float() / 127.5 - 1


def render_held_out(world: World, count: int, side: int) -> HeldOutClips:
    """Square clips of that side, rendered on the CPU."""
    source = FilmSource(world)
    films = [source.draw(FIRST_SEED + i, held_out=True) for i in range(count)]
    shown, _ = source.render(films, FRAMES, side, side, first=[0] * count, device="cpu")
    return HeldOutClips(shown, tuple(source.caption(f, Random(i), complete=True) for i, f in enumerate(films)))


@torch.no_grad()
def reconstruct(vae: MiniVAE, pixels: Tensor) -> Tensor:
    """Pixels through the autoencoder, rounded to 8 bits, in [-1, 1]."""
    return ((vae.decode(vae.encode(pixels)).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def psnr_of(error: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of an error on a scale of 2."""
    return (10 * torch.log10(4 / error.square().mean())).item()


def vae_psnr(vae: MiniVAE, clips: HeldOutClips) -> float:
    """Mean PSNR in dB of the clips, computed one by one."""
    shown = (clips.clip(i, vae.mean.device) for i in range(len(clips.pixels)))
    return sum(psnr_of(reconstruct(vae, pixels) - pixels) for pixels in shown) / len(clips.pixels)


class HeldOutLosses:
    """Losses of the averaged weights on fixed clips with fixed captions and noise, unconditioned on known frames."""

    def __init__(self, pipeline: Pipeline, clips: HeldOutClips) -> None:
        dit = restore_uncompiled(copy.deepcopy(pipeline.dit)).eval().requires_grad_(False)
        self.pipeline = Pipeline(dit, pipeline.text, pipeline.vae, pipeline.tokenizer, pipeline.device)
        self.pipeline.pooled = pipeline.pooled
        self.slots = self.pipeline.encode_prompts(clips.texts)
        with torch.no_grad():
            whole = [pipeline.vae.encode(clips.clip(i, pipeline.device)) for i in range(len(clips.pixels))]
        self.clean = torch.cat(whole)

    @torch.no_grad()
    def measure(self, dit: WanDiT) -> dict[str, float]:
        """Mean losses by the number of latent frames ("held_1", "held_5") and by noise level ("held_t0.5")."""
        self.pipeline.dit.load_state_dict(dit.state_dict())
        batches = (self.clean[:, :, :1], self.clean)
        table = torch.tensor([[self._loss(clean, t) for t in NOISE_LEVELS] for clean in batches])
        by_length = {f"held_{b.shape[2]}": v for b, v in zip(batches, table.mean(1).tolist(), strict=True)}
        return by_length | {f"held_t{t}": v for t, v in zip(NOISE_LEVELS, table.mean(0).tolist(), strict=True)}

    def _loss(self, clean: Tensor, t: float) -> float:
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3)).to(clean)
        times = torch.full((len(clean),), t, device=clean.device)
        flow = self.pipeline.velocity((1 - t) * clean + t * noise, empty_conditioning(clean), times, self.slots)
        return (flow - (noise - clean)).square().mean().item()
