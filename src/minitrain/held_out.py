"""Clips that nothing is trained on, rendered once, and what is measured on them while trainings run."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from minitrain.compilation import uncompiled
from minitrain.films import Films
from minitrain.pipeline import Painter, unknown
from minitrain.worlds import World
from sora.networks.mini_vae import MiniVAE
from sora.networks.wan.dit import WanDiT

FIRST = 10**9  # seed of the first held-out film
FRAMES = 17
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # noise levels at which held-out losses are measured


@dataclass(frozen=True)
class HeldOut:
    """pixels: (N, 3, FRAMES, Y, X) uint8 on the CPU. texts: a caption of each that leaves nothing out."""

    pixels: Tensor
    texts: tuple[str, ...]

    def shown(self, i: int, device: torch.device | str) -> Tensor:
        """One clip, (1, 3, F, Y, X) in [-1, 1]."""
        return self.pixels[i : i + 1].to(device).float() / 127.5 - 1


def held_out(world: World, count: int, side: int) -> HeldOut:
    """Square clips of that side, rendered on the CPU."""
    source = Films(world)
    films = [source.draw(FIRST + i, held=True) for i in range(count)]
    shown, _ = source.render(films, FRAMES, side, side, first=[0] * count, device="cpu")
    return HeldOut(shown, tuple(source.tell(f, Random(i), complete=True) for i, f in enumerate(films)))


@torch.no_grad()
def reconstructed(vae: MiniVAE, pixels: Tensor) -> Tensor:
    """Pixels through the autoencoder, on 8 bits, in [-1, 1]."""
    return ((vae.decode(vae.encode(pixels)).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def psnr_of(error: Tensor) -> float:
    """Peak signal to noise in dB of an error on a scale of 2."""
    return (10 * torch.log10(4 / error.square().mean())).item()


def psnr(vae: MiniVAE, clips: HeldOut) -> float:
    """Mean PSNR in dB of whole clips, one by one."""
    shown = (clips.shown(i, vae.mean.device) for i in range(len(clips.pixels)))
    return sum(psnr_of(reconstructed(vae, pixels) - pixels) for pixels in shown) / len(clips.pixels)


class Losses:
    """Held-out losses of the averaged weights: fixed clips, nothing known, fixed captions and noise."""

    def __init__(self, painter: Painter, clips: HeldOut) -> None:
        dit = uncompiled(copy.deepcopy(painter.dit)).eval().requires_grad_(False)
        self.painter = Painter(dit, painter.text, painter.vae, painter.tokenizer, painter.device)
        self.painter.pooled = painter.pooled
        self.slots = self.painter.slots(clips.texts)
        with torch.no_grad():
            whole = [painter.vae.encode(clips.shown(i, painter.device)) for i in range(len(clips.pixels))]
        self.clean = torch.cat(whole)

    @torch.no_grad()
    def of(self, dit: WanDiT) -> dict[str, float]:
        """Mean losses by the number of latent frames ("held_1", "held_5") and by noise level ("held_t0.5")."""
        self.painter.dit.load_state_dict(dit.state_dict())
        batches = (self.clean[:, :, :1], self.clean)
        table = torch.tensor([[self._loss(clean, t) for t in LEVELS] for clean in batches])
        by_length = {f"held_{b.shape[2]}": v for b, v in zip(batches, table.mean(1).tolist(), strict=True)}
        return by_length | {f"held_t{t}": v for t, v in zip(LEVELS, table.mean(0).tolist(), strict=True)}

    def _loss(self, clean: Tensor, t: float) -> float:
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3)).to(clean)
        times = torch.full((len(clean),), t, device=clean.device)
        flow = self.painter.flow((1 - t) * clean + t * noise, unknown(clean), times, self.slots)
        return (flow - (noise - clean)).square().mean().item()
