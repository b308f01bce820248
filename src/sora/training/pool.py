"""Freshly rendered and encoded clips, mixed with those of the last while: an endless world at a bearable price."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from random import Random

import numpy as np
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
DISSOLVED = 0.25  # of the entangled clips
WORN = 0.3  # noise on half of the known latents, at most: long films go on from what was painted, not from what is true


@dataclass(frozen=True)
class Item:
    """One encoded clip, float16. scene: what its caption tells, None for nothing. clean: (C, T, H, W). cover: (T, H, W)
    has the subject's share of each cell. known and seen: (TIME, T, H, W) and (C, T, H, W) of an entangled pattern,
    where one was drawn. midway: it begins in the middle of its motion, so it is never painted from words alone."""

    scene: Scene | None
    clean: Tensor
    cover: Tensor
    known: Tensor | None = None
    seen: Tensor | None = None
    midway: bool = False


@dataclass(frozen=True)
class Batch:
    """clean, seen: (B, C, T, H, W). known: (B, TIME, T, H, W). weight: (B, 1, T, H, W), mean about 1."""

    scenes: list[Scene | None]
    clean: Tensor
    seen: Tensor
    known: Tensor
    weight: Tensor


def cells(cover_FYX: Tensor, space: int = SPACE) -> Tensor:
    """Mean over each latent cell, (T, H, W), of a picture a frame, in [0, 1]."""
    whole = torch.cat([cover_FYX[:1].expand(TIME - 1, -1, -1), cover_FYX]).float() / 255
    return F.avg_pool3d(whole[None, None], (TIME, space, space))[0, 0]


class Pool:
    """Items by size and length. entangled: the share of new clips that are encoded a second time with a pattern.
    midway: of the others, the share that begins in the middle of its motion, as the next window of a long film does."""

    def __init__(
        self,
        vae: MiniVAE,
        world: World,
        rng: Random,
        *,
        limit: int = 6000,
        entangled: float = 0.45,
        midway: float = 0.15,
    ) -> None:
        self.vae, self.world, self.rng, self.entangled, self.midway = vae, world, rng, entangled, midway
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
        entangled = self.rng.random() < self.entangled
        if entangled and frames > 1 and self.rng.random() < DISSOLVED:
            return self._dissolve(scene, size, frames)
        midway = frames > 1 and self.midway > 0 and (entangled or self.rng.random() < self.midway)
        first = 4 * self.rng.randint(0, 4 if frames == 1 else 9 * midway)
        film, cover = render(scene, frames, *size, first=first)
        pixels = self._pixels(film)
        item = Item(scene, self._encoded(pixels), self._cells(cover), midway=first > 0 and frames > 1)
        if not entangled:
            return item
        known = patterns.entangled(frames, *size, self.rng).to(pixels.device)
        return self._with_known(item, pixels, known)

    def _dissolve(self, scene: Scene, size: Size, frames: int) -> Item:
        """One film melts into another, or into another moment of itself, between its known ends: how a bridge between
        two clips looks, and a loop's way back."""
        same, starts = self.rng.random() < 0.4, [4 * self.rng.randint(0, 9) for _ in range(2)]
        other = scene if same else draw_scene(self.world, self.rng.getrandbits(48), held=False)
        (a, cover_a), (b, cover_b) = (
            render(s, frames, *size, first=f) for s, f in zip((scene, other), starts, strict=True)
        )
        known = patterns.both_ends(frames, *size, self.rng)
        painted = (~known[0, :, 0, 0]).float()
        share = (painted.cumsum(0) / (painted.sum() + 1) * painted).numpy()
        share = share * share * (3 - 2 * share)  # gently off and gently on, so that neither end shows a seam
        share = np.where(np.arange(frames) > painted.argmax().item(), np.where(painted.numpy() > 0, share, 1), share)
        mixed = a + share[:, None, None, None] * (b.astype(np.float32) - a)
        cover = np.maximum(cover_a * (share < 1)[:, None, None], cover_b * (share > 0)[:, None, None])
        pixels = self._pixels(mixed.astype(np.float32))
        item = Item(self.rng.choice((scene, other, None)), self._encoded(pixels), self._cells(cover), midway=True)
        return self._with_known(item, pixels, known.to(pixels.device))

    def _with_known(self, item: Item, pixels: Tensor, known: Tensor) -> Item:
        seen = self._encoded(torch.where(known, pixels[0], 0)[None])
        return replace(item, known=known_channels(known[None], self.vae.config.space)[0].half(), seen=seen)

    def _pixels(self, film: np.ndarray) -> Tensor:
        return rearrange(torch.from_numpy(film), "f y x c -> 1 c f y x").to(self.vae.mean.device) / 127.5 - 1

    def _encoded(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels)[0].half()

    def _cells(self, cover: np.ndarray) -> Tensor:
        return cells(torch.from_numpy(cover), self.vae.config.space).half().to(self.vae.mean.device)

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
            self._worn(torch.stack([s for _, s in pairs]).float()),
            known,
            weight / weight.mean(),
        )

    def _worn(self, seen: Tensor) -> Tensor:
        amount = torch.tensor([WORN * max(0.0, self.rng.uniform(-1, 1)) for _ in seen]).to(seen)
        return seen + amount.view(-1, 1, 1, 1, 1) * torch.randn_like(seen)

    def _condition(self, item: Item, size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(known, seen) of one clip: its entangled pattern, or the first frames, or nothing."""
        if item.known is not None and item.seen is not None and (item.midway or self.rng.random() < 0.6):
            return item.known, item.seen
        asks = frames > 1 and (item.midway or self.rng.random() < 0.3)
        known = patterns.prefix(frames, *size, self.rng) if asks else patterns.nothing(frames, *size)
        return known_channels(known[None], self.vae.config.space)[0].to(item.clean), item.clean
