"""The transformer with the frozen networks around it, and many prompts painted at once for scores and sheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from minitrain.clips import Size
from minitrain.latent_buffer import Batch
from minitrain.presets import text_sizes, vae_sizes
from sora.engine.sampler import timesteps
from sora.models.mini.model import NETWORK_TIME, conditioning_channels, word_ids
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import TIME, MiniVAE
from sora.networks.wan.dit import WanDiT
from sora.runtime.winograd import Winograd

DECODED = {"cpu": 4, "cuda": 16}  # clips at once
SHIFT = 3.0  # of the times that clips for scores and sheets are painted at


class Painter:
    """The transformer with the frozen networks around it. pooled: one mean of the text's slots in place of them all, in
    comparisons alone: the engine always shows every slot."""

    def __init__(self, dit: WanDiT, text: MiniText, vae: MiniVAE, tokenizer: Tokenizer, device: str) -> None:
        self.dit, self.text, self.vae, self.tokenizer, self.device = dit, text, vae, tokenizer, device
        self.pooled = False

    @torch.no_grad()
    def slots(self, texts: Sequence[str]) -> Tensor:
        """(B, S, D)"""
        return self.read(word_ids(self.tokenizer, list(texts), self.text.config.length).to(self.device))

    @torch.no_grad()
    def read(self, ids_BL: Tensor) -> Tensor:
        """Word ids, as many as the encoder reads, to (B, S, D)."""
        whole = ids_BL[:, : self.text.config.length]
        slots = torch.cat([self.text(some) for some in whole.split(256)])
        return slots.mean(dim=1, keepdim=True) if self.pooled else slots

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def flow(self, x: Tensor, beside: Tensor, times_B: Tensor, slots: Tensor) -> Tensor:
        """The velocity in float32. beside: what stands beside the noise; times in [0, 1]."""
        with self.autocast():
            return self.dit(torch.cat([x, beside], dim=1), NETWORK_TIME * times_B, slots).float()

    def loss(self, batch: Batch, slots: Tensor, t_B: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error of the velocity, one figure a sample."""
        t = t_B.view(-1, 1, 1, 1, 1)
        noisy = (1 - t) * batch.clean + t * noise
        flow = self.flow(noisy, conditioning_channels(batch.seen, batch.known), t_B, slots)
        return (batch.weight * (flow - (noise - batch.clean)).square()).flatten(1).mean(dim=1)

    @torch.no_grad()
    def paint(
        self, prompts: Sequence[str], size: Size, frames: int, *, steps: int = 12, guidance: float = 4.0, seed: int = 0
    ) -> Tensor:
        """Clips of all prompts at once, by Euler steps: (B, F, 3, Y, X) uint8 on the CPU."""
        space, channels = self.vae.config.space, self.vae.config.channels
        shape = (len(prompts), channels, 1 + (frames - 1) // TIME, size[0] // space, size[1] // space)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        beside = unknown(x)
        slots, silent = self.slots(prompts), self.slots([""]).expand(len(prompts), -1, -1)
        for t, t_next in pairwise(timesteps(steps, SHIFT).tolist()):
            times = torch.full((len(x),), t, device=self.device)
            flow = self.flow(x, beside, times, slots)
            if guidance != 1:
                unsaid = self.flow(x, beside, times, silent)
                flow = unsaid + guidance * (flow - unsaid)
            x = x + (t_next - t) * flow
        return torch.cat([self._decoded(some) for some in x.split(DECODED.get(self.device, 4))])

    def _decoded(self, latents: Tensor) -> Tensor:
        pixels = (self.vae.decode(latents).clamp(-1, 1) + 1) * 127.5
        return pixels.round().byte().transpose(1, 2).cpu()


def unknown(x_BCTHW: Tensor) -> Tensor:
    """What stands beside the noise where nothing is known."""
    known = torch.zeros(len(x_BCTHW), TIME, *x_BCTHW.shape[2:], device=x_BCTHW.device)
    return conditioning_channels(torch.zeros_like(x_BCTHW), known)


def load_frozen(runs: Path, device: str) -> tuple[MiniVAE, MiniText, Tokenizer]:
    """The autoencoder, text encoder and tokenizer as their trainings left them."""
    tokenizer = Tokenizer.from_file(str(runs / "text" / "tokenizer.json"))
    tensors = {part: load_file(runs / part / f"{part}.safetensors") for part in ("vae", "text")}
    told = runs / "text" / "config.json"
    sizes = MiniTextConfig(**json.loads(told.read_text())) if told.exists() else text_sizes(tensors["text"])
    vae, text = MiniVAE(vae_sizes(tensors["vae"])), MiniText(sizes)
    vae.load_state_dict(tensors["vae"])
    text.load_state_dict(tensors["text"])
    vae.convolver = Winograd
    vae, text = vae.to(device).in_channels_last(), text.to(device)
    return vae.eval().requires_grad_(False), text.eval().requires_grad_(False), tokenizer


def word_reader(tokenizer: Tokenizer, length: int) -> Callable[[list[str]], Tensor]:
    """Captions to word ids (B, length), for the rendering workers."""

    def read(texts: list[str]) -> Tensor:
        ids = word_ids(tokenizer, texts, length)
        return F.pad(ids, (0, length - ids.shape[1]))

    return read


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's weights as they are written to a file."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def sheet(clips_BFCYX: Tensor, path: Path, *, columns: int = 2, every: int = 4) -> None:
    """Clips as rows of every fourth frame, so many clips beside each other, written as a picture."""
    from PIL import Image

    rows = [torch.cat(list(clip[::every]), dim=2) for clip in clips_BFCYX]
    rows += [torch.zeros_like(rows[0])] * (-len(rows) % columns)
    lines = [torch.cat(rows[i : i + columns], dim=2) for i in range(0, len(rows), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(torch.cat(lines, dim=1).permute(1, 2, 0).contiguous().numpy()).save(path, quality=88)
