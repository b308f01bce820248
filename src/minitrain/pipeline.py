"""The transformer with its frozen networks, and sampling of many prompts at once for scores and contact sheets."""

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
from minitrain.presets import text_config_of, vae_config_of
from sora.engine.sampler import timesteps
from sora.models.mini.model import NETWORK_TIME, conditioning_channels, word_ids
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import TEMPORAL_COMPRESSION, MiniVAE
from sora.networks.wan.dit import WanDiT
from sora.runtime.winograd import Winograd

DECODE_BATCH = {"cpu": 4, "cuda": 16}  # clips at once
SHIFT = 3.0  # of the times that clips for scores and sheets are painted at


class Pipeline:
    """The transformer with the frozen autoencoder, text encoder and tokenizer. pooled: replace the text slots by their
    mean, for comparisons alone: the engine always uses every slot."""

    def __init__(self, dit: WanDiT, text: MiniText, vae: MiniVAE, tokenizer: Tokenizer, device: str) -> None:
        self.dit, self.text, self.vae, self.tokenizer, self.device = dit, text, vae, tokenizer, device
        self.pooled = False

    @torch.no_grad()
    def encode_prompts(self, texts: Sequence[str]) -> Tensor:
        """Text embeddings (B, S, D) of the prompts."""
        return self.encode_ids(word_ids(self.tokenizer, list(texts), self.text.config.length).to(self.device))

    @torch.no_grad()
    def encode_ids(self, ids_BL: Tensor) -> Tensor:
        """Token ids (B, L), cut to the encoder's length, to text embeddings (B, S, D)."""
        whole = ids_BL[:, : self.text.config.length]
        slots = torch.cat([self.text(some) for some in whole.split(256)])
        return slots.mean(dim=1, keepdim=True) if self.pooled else slots

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def velocity(self, x: Tensor, conditioning: Tensor, times_B: Tensor, slots: Tensor) -> Tensor:
        """The predicted velocity in float32. conditioning: channels concatenated with the noisy latents; times in [0,
        1]."""
        with self.autocast():
            return self.dit(torch.cat([x, conditioning], dim=1), NETWORK_TIME * times_B, slots).float()

    def loss(self, batch: Batch, slots: Tensor, t_B: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error of the velocity, one number a sample."""
        t = t_B.view(-1, 1, 1, 1, 1)
        noisy = (1 - t) * batch.clean + t * noise
        velocity = self.velocity(noisy, conditioning_channels(batch.known_latents, batch.known_mask), t_B, slots)
        return (batch.loss_weight * (velocity - (noise - batch.clean)).square()).flatten(1).mean(dim=1)

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[str], size: Size, frames: int, *, steps: int = 12, guidance: float = 4.0, seed: int = 0
    ) -> Tensor:
        """Clips of all prompts at once, by Euler steps: (B, F, 3, Y, X) uint8 on the CPU."""
        space, channels = self.vae.config.space, self.vae.config.channels
        shape = (len(prompts), channels, 1 + (frames - 1) // TEMPORAL_COMPRESSION, size[0] // space, size[1] // space)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        conditioning = empty_conditioning(x)
        slots, null_slots = self.encode_prompts(prompts), self.encode_prompts([""]).expand(len(prompts), -1, -1)
        for t, t_next in pairwise(timesteps(steps, SHIFT).tolist()):
            times = torch.full((len(x),), t, device=self.device)
            velocity = self.velocity(x, conditioning, times, slots)
            if guidance != 1:
                unconditional = self.velocity(x, conditioning, times, null_slots)
                velocity = unconditional + guidance * (velocity - unconditional)
            x = x + (t_next - t) * velocity
        return torch.cat([self._decode(some) for some in x.split(DECODE_BATCH.get(self.device, 4))])

    def _decode(self, latents: Tensor) -> Tensor:
        pixels = (self.vae.decode(latents).clamp(-1, 1) + 1) * 127.5
        return pixels.round().byte().transpose(1, 2).cpu()


def empty_conditioning(x_BCTHW: Tensor) -> Tensor:
    """The conditioning channels if nothing is known."""
    known = torch.zeros(len(x_BCTHW), TEMPORAL_COMPRESSION, *x_BCTHW.shape[2:], device=x_BCTHW.device)
    return conditioning_channels(torch.zeros_like(x_BCTHW), known)


def load_frozen_networks(runs: Path, device: str) -> tuple[MiniVAE, MiniText, Tokenizer]:
    """The trained autoencoder, text encoder and tokenizer of a folder of runs."""
    tokenizer = Tokenizer.from_file(str(runs / "text" / "tokenizer.json"))
    tensors = {part: load_file(runs / part / f"{part}.safetensors") for part in ("vae", "text")}
    config_file = runs / "text" / "config.json"
    sizes = (
        MiniTextConfig(**json.loads(config_file.read_text()))
        if config_file.exists()
        else text_config_of(tensors["text"])
    )
    vae, text = MiniVAE(vae_config_of(tensors["vae"])), MiniText(sizes)
    vae.load_state_dict(tensors["vae"])
    text.load_state_dict(tensors["text"])
    vae.convolver = Winograd
    vae, text = vae.to(device).in_channels_last(), text.to(device)
    return vae.eval().requires_grad_(False), text.eval().requires_grad_(False), tokenizer


def caption_tokenizer(tokenizer: Tokenizer, length: int) -> Callable[[list[str]], Tensor]:
    """A function from captions to token ids (B, length), for the rendering workers."""

    def tokenize(texts: list[str]) -> Tensor:
        ids = word_ids(tokenizer, texts, length)
        return F.pad(ids, (0, length - ids.shape[1]))

    return tokenize


def cpu_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The module's state dict as it is written to a file."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def save_contact_sheet(clips_BFCYX: Tensor, path: Path, *, columns: int = 2, frame_step: int = 4) -> None:
    """Write clips as rows of every fourth frame, ``columns`` clips in a row, as one picture."""
    from PIL import Image

    rows = [torch.cat(list(clip[::frame_step]), dim=2) for clip in clips_BFCYX]
    rows += [torch.zeros_like(rows[0])] * (-len(rows) % columns)
    lines = [torch.cat(rows[i : i + columns], dim=2) for i in range(0, len(rows), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(torch.cat(lines, dim=1).permute(1, 2, 0).contiguous().numpy()).save(path, quality=88)
