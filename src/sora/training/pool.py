"""Freshly rendered and encoded clips, mixed with those of the last while: an endless world at a bearable price."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from sora.families.mini import known_channels
from sora.networks.mini_vae import SPACE, TIME, MiniVAE
from sora.training import patterns
from sora.training.world import Scene, World, draw_scene, render

Size = tuple[int, int]
FRAMES = 17


@dataclass(frozen=True)
class Item:
    """One encoded clip, float16. clean: (C, T, H, W). cover: (T, H, W), the subject's share of each cell. known and
    seen: (TIME, T, H, W) and (C, T, H, W) of an entangled pattern, where one was drawn."""

    scene: Scene
    clean: Tensor
    cover: Tensor
    known: Tensor | None = None
    seen: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """clean, seen: (B, C, T, H, W). known: (B, TIME, T, H, W). weight: (B, 1, T, H, W), mean about 1."""

    scenes: list[Scene]
    clean: Tensor
    seen: Tensor
    known: Tensor
    weight: Tensor


def cells(cover_FYX: Tensor) -> Tensor:
    """Mean over each latent cell, (T, H, W), of a picture a frame, in [0, 1]."""
    whole = torch.cat([cover_FYX[:1].expand(TIME - 1, -1, -1), cover_FYX]).float() / 255
    return F.avg_pool3d(whole[None, None], (TIME, SPACE, SPACE))[0, 0]


class Pool:
    """Items by size and length. entangled: the share of new clips that are encoded a second time with a pattern."""

    def __init__(self, vae: MiniVAE, world: World, rng: Random, *, limit: int = 6000, entangled: float = 0.3) -> None:
        self.vae, self.world, self.rng, self.entangled = vae, world, rng, entangled
        self.limit = limit
        self.items: dict[tuple[Size, int], deque[Item]] = {}

    def add(self, size: Size, frames: int, count: int, *, held: bool = False) -> None:
        """Render and encode ``count`` clips; the oldest make room."""
        kept = self.items.setdefault((size, frames), deque(maxlen=self.limit))
        for _ in range(count):
            kept.append(self._make(size, frames, held))

    @torch.no_grad()
    def _make(self, size: Size, frames: int, held: bool) -> Item:
        scene = draw_scene(self.world, self.rng.getrandbits(48), held=held)
        first = 4 * self.rng.randint(0, 4) if frames == 1 else 0
        film, cover = render(scene, frames, *size, first=first)
        pixels = rearrange(torch.from_numpy(film), "f y x c -> 1 c f y x").to(self.vae.mean.device) / 127.5 - 1
        clean = self.vae.encode(pixels)[0].half()
        item = Item(scene, clean, cells(torch.from_numpy(cover)).half().to(clean.device))
        if self.rng.random() >= self.entangled:
            return item
        known = patterns.entangled(frames, *size, self.rng).to(clean.device)
        seen = self.vae.encode(torch.where(known, pixels[0], 0)[None])[0].half()
        return Item(scene, clean, item.cover, known_channels(known[None])[0].half(), seen)

    def batch(self, size: Size, frames: int, count: int) -> Batch:
        """Clips drawn from the kept ones, each with what is known of it drawn anew."""
        kept = self.items[size, frames]
        drawn = [kept[self.rng.randrange(len(kept))] for _ in range(count)]
        pairs = [self._condition(item, size, frames) for item in drawn]
        known = torch.stack([k for k, _ in pairs]).float()
        cover = torch.stack([item.cover for item in drawn]).float()[:, None]
        weight = (1 + 3 * cover) * (1 - 0.8 * known.amin(dim=1, keepdim=True))
        return Batch(
            [item.scene for item in drawn],
            torch.stack([item.clean for item in drawn]).float(),
            torch.stack([s for _, s in pairs]).float(),
            known,
            weight / weight.mean(),
        )

    def _condition(self, item: Item, size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(known, seen) of one clip: its entangled pattern, or the first frames, or nothing."""
        if item.known is not None and item.seen is not None and self.rng.random() < 0.6:
            return item.known, item.seen
        asks = frames > 1 and self.rng.random() < 0.3
        known = patterns.prefix(frames, *size, self.rng) if asks else patterns.nothing(frames, *size)
        return known_channels(known[None])[0].to(item.clean), item.clean
