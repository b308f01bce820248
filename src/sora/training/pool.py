"""Freshly rendered and encoded clips, mixed with those of the last while: an endless world at a bearable price.

Whole batches are rendered, masked and encoded on the autoencoder's device, and stay there as latents in a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from sora.networks.mini_vae import TIME, MiniVAE
from sora.training import patterns
from sora.training.films import Films
from sora.training.scene import Film
from sora.training.worlds import World

Size = tuple[int, int]
FRAMES = 17
DISSOLVED = 0.25  # of the entangled clips
WORN = 0.3  # noise on half of the known latents, at most: long films go on from what was painted, not from what is true
PIXELS = {"cpu": 2**23, "cuda": 2**27}  # rendered and encoded at once
WORDINGS = 2  # captions kept of each clip where captions are read beforehand

Features = Callable[[Tensor], Tensor]
"""(B, 3, F, Y, X) in [-1, 1] to (B, D, T, H, W): what a frozen network sees, at any H and W."""


@dataclass(frozen=True)
class Batch:
    """clean, seen: (B, C, T, H, W). known: (B, TIME, T, H, W). weight: (B, 1, T, H, W), mean about 1. scenes: the films
    to tell, None for nothing. ids: (B, L) words of captions that were read beforehand. features: (B, D, T, H, W)."""

    scenes: list[Film | None]
    clean: Tensor
    seen: Tensor
    known: Tensor
    weight: Tensor
    ids: Tensor | None = None
    features: Tensor | None = None


@dataclass(frozen=True)
class Mix:
    """What the pool holds. entangled: share of new clips encoded a second time with a pattern of holes. midway: of the
    others, the share that begins in the middle of its motion, as the next window of a long film does. cover, motion:
    extra weight of cells that show the first actor, and of cells that change. limit: clips kept of each shape. starts:
    share of the clips without a pattern whose first frames are known."""

    entangled: float = 0.45
    midway: float = 0.15
    cover: float = 3.0
    motion: float = 0.0
    limit: int = 6000
    starts: float = 0.3


@dataclass
class Ring:
    """The last clips of one shape, a table of tensors whose rows belong together, and their films."""

    limit: int
    rows: dict[str, Tensor] = field(default_factory=dict)
    films: list[Film | None] = field(default_factory=list)
    at: int = 0

    def __len__(self) -> int:
        return len(self.films)

    def add(self, rows: dict[str, Tensor], films: Sequence[Film | None]) -> None:
        """The oldest make room. At most ``limit`` rows at a time."""
        self._grow(rows, len(self.films) + len(films))
        places = [(self.at + i) % self.limit for i in range(len(films))]
        where = torch.tensor(places)
        for name, values in rows.items():
            self.rows[name][where.to(values.device)] = values.to(self.rows[name].dtype)
        for place, film in zip(places, films, strict=True):
            if place == len(self.films):
                self.films.append(film)
            else:
                self.films[place] = film
        self.at = (places[-1] + 1) % self.limit

    def _grow(self, rows: dict[str, Tensor], wanted: int) -> None:
        room = len(next(iter(self.rows.values()))) if self.rows else 0
        if room >= min(wanted, self.limit):
            return
        larger = min(self.limit, max(wanted, 2 * room))
        for name, values in rows.items():
            table = values.new_empty(larger, *values.shape[1:])
            if room:
                table[:room] = self.rows[name]
            self.rows[name] = table


@dataclass(frozen=True)
class Drawn:
    """One clip to be: from which frame of which film, which hole, and into what it melts."""

    film: Film
    first: int
    hole: patterns.Hole | None = None
    other: tuple[Film, int] | None = None
    told: Film | None = None


class Pool:
    """Clips by size and length. read: captions to word ids (B, L), if captions shall be read when clips are made.
    features: what another network sees of the pixels, kept beside the latents."""

    def __init__(
        self,
        vae: MiniVAE,
        world: World,
        rng: Random,
        mix: Mix | None = None,
        *,
        read: Callable[[list[str]], Tensor] | None = None,
        features: Features | None = None,
    ) -> None:
        self.vae, self.source, self.rng, self.mix = vae, Films(world), rng, mix or Mix()
        self.read, self.features = read, features
        self.items: dict[tuple[Size, int], Ring] = {}
        self.device = vae.mean.device
        self.draws = torch.Generator(self.device).manual_seed(rng.getrandbits(48))

    def fill(self, size: Size, frames: int, count: int, share: float) -> None:
        """At least ``count`` clips, ``share`` of them new."""
        wanting = count - len(self.items.get((size, frames), ()))
        self.add(size, frames, max(wanting, int(share * count), 1))

    def add(self, size: Size, frames: int, count: int, *, held: bool = False) -> None:
        """Render and encode ``count`` clips, as many at once as fit well."""
        ring = self.items.setdefault((size, frames), Ring(self.mix.limit))
        most = max(1, PIXELS.get(self.device.type, 2**23) // (frames * size[0] * size[1]))
        while count > 0:
            some = min(count, most)
            drawn = [self._draw(size, frames, held) for _ in range(some)]
            ring.add(self._encoded(drawn, size, frames), [d.told for d in drawn])
            count -= some

    def _draw(self, size: Size, frames: int, held: bool) -> Drawn:
        rng, mix = self.rng, self.mix
        film = self.source.draw(rng.getrandbits(48), held=held, frames=frames)
        entangled = rng.random() < mix.entangled
        if entangled and frames > 1 and rng.random() < DISSOLVED:
            return self._dissolve(film, size, frames)
        midway = frames > 1 and mix.midway > 0 and (entangled or rng.random() < mix.midway)
        first = 4 * rng.randint(0, 4 if frames == 1 else 9 * midway)
        return Drawn(film, first, patterns.entangled(frames, *size, rng) if entangled else None, told=film)

    def _dissolve(self, film: Film, size: Size, frames: int) -> Drawn:
        """One film melts into another, or into another moment of itself, between its known ends: how a bridge between
        two clips looks, and a loop's way back."""
        rng = self.rng
        same, (first, second) = rng.random() < 0.4, [4 * rng.randint(0, 9) for _ in range(2)]
        other = film if same else self.source.draw(rng.getrandbits(48), held=False, frames=frames)
        hole = patterns.both_ends(frames, *size, rng)
        return Drawn(film, first, hole, (other, second), rng.choice((film, other, None)))

    @torch.no_grad()
    def _encoded(self, drawn: list[Drawn], size: Size, frames: int) -> dict[str, Tensor]:
        """The ring's rows of new clips."""
        pixels, cover = self._rendered(drawn, size, frames)
        rows = self.encoded(pixels, self._cells(cover), [d.hole for d in drawn], [self._is_midway(d) for d in drawn])
        if self.read:
            rows["ids"] = self._read(drawn).to(self.device)
        return rows

    @torch.no_grad()
    def encoded(
        self, pixels: Tensor, cells: Tensor, drawn: Sequence[patterns.Hole | None], midway: Sequence[bool]
    ) -> dict[str, Tensor]:
        """The rows of clips that were rendered here or elsewhere. cells: of the cover, (B, T, H, W) in [0, 1]."""
        frames, size = pixels.shape[2], (pixels.shape[3], pixels.shape[4])
        clean = self.vae.encode(pixels)
        whole = patterns.nothing(frames, *size)
        holes = patterns.table([hole or whole for hole in drawn], self.device)
        seen = clean.clone()
        own = torch.tensor([i for i, hole in enumerate(drawn) if hole], dtype=torch.long, device=self.device)
        if len(own):
            known = patterns.known_pixels(holes[own], frames, *size)
            seen[own] = self.vae.encode(torch.where(known, pixels[own], 0))
        rows = {
            "clean": clean.half(),
            "seen": seen.half(),
            "cover": cells.half(),
            "known": patterns.known_cells(holes, frames, *size, self.vae.config.space),
            "own": torch.tensor([hole is not None for hole in drawn], device=self.device),
            "midway": torch.tensor([frames > 1 and m for m in midway], device=self.device),
        }
        if self.features:
            rows["features"] = self.features(pixels).half()
        return rows

    @staticmethod
    def _is_midway(d: Drawn) -> bool:
        return d.first > 0 or d.other is not None

    def _rendered(self, drawn: list[Drawn], size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(pixels_BCFYX in [-1, 1], cover_BFYX in [0, 255]), films melted where they are to melt."""
        others = [(i, d) for i, d in enumerate(drawn) if d.other]
        films = [d.film for d in drawn] + [d.other[0] for _, d in others if d.other]
        first = [d.first for d in drawn] + [d.other[1] for _, d in others if d.other]
        shown, cover = self.source.render(films, frames, *size, first=first, device=str(self.device))
        pixels, cover = shown.float() / 127.5 - 1, cover.float()
        if not others:
            return pixels, cover
        own, count = torch.tensor([i for i, _ in others], device=self.device), len(drawn)
        share = dissolve(patterns.table([d.hole for _, d in others if d.hole], self.device), frames)
        mixed = pixels[own].lerp(pixels[count:], share[:, None, :, None, None])
        covers = torch.maximum(cover[own] * (share < 1)[..., None, None], cover[count:] * (share > 0)[..., None, None])
        pixels, cover = pixels[:count], cover[:count]
        pixels[own], cover[own] = mixed, covers
        return pixels, cover

    def _cells(self, cover_BFYX: Tensor) -> Tensor:
        """Mean over each latent cell, (B, T, H, W), in [0, 1]."""
        space = self.vae.config.space
        whole = torch.cat([cover_BFYX[:, :1].expand(-1, TIME - 1, -1, -1), cover_BFYX], dim=1)
        return F.avg_pool3d(whole[:, None], (TIME, space, space))[:, 0] / 255

    def _read(self, drawn: list[Drawn]) -> Tensor:
        """(B, WORDINGS, L) ids of some wordings of each."""
        assert self.read is not None
        texts = ["" if d.told is None else self.source.tell(d.told, self.rng) for d in drawn for _ in range(WORDINGS)]
        return self.read(texts).unflatten(0, (-1, WORDINGS))

    def batch(self, size: Size, frames: int, count: int) -> Batch:
        """Clips drawn from the kept ones, each with what is known of it drawn anew."""
        ring = self.items[size, frames]
        index = self._whole(len(ring), count)
        rows = {name: table[index] for name, table in ring.rows.items()}
        known, seen = self._condition(rows, size, frames)
        clean, known = rows["clean"].float(), known.float()
        weight = 1 + self.mix.cover * rows["cover"].float()[:, None]
        if self.mix.motion:
            weight = weight + self.mix.motion * changes(clean)
        weight = weight * (1 - 0.8 * known.amin(dim=1, keepdim=True))
        scenes = [ring.films[i] for i in index.tolist()] if self.read is None else []
        ids = rows["ids"][torch.arange(count, device=self.device), self._whole(WORDINGS, count)] if self.read else None
        features = rows["features"].float() if self.features else None
        return Batch(scenes, clean, self._worn(seen.float()), known, weight / weight.mean(), ids, features)

    def _condition(self, rows: dict[str, Tensor], size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(known, seen): of each clip its own pattern, or the first frames, or nothing."""
        midway = rows["midway"]
        own = rows["own"] & (midway | (self._even(len(midway)) < 0.6))
        asks = (midway | (self._even(len(midway)) < self.mix.starts)) if frames > 1 else torch.zeros_like(midway)
        starts = torch.tensor(patterns.PREFIXES, device=self.device)[self._whole(len(patterns.PREFIXES), len(midway))]
        holes = patterns.table([patterns.nothing(frames, *size)], self.device).repeat(len(midway), 1)
        holes[:, 0] = torch.where(asks, starts.clamp(max=max(1, frames - 4)), 0)
        known = patterns.known_cells(holes, frames, *size, self.vae.config.space)
        known = torch.where(own.view(-1, 1, 1, 1, 1), rows["known"], known)
        return known, torch.where(own.view(-1, 1, 1, 1, 1), rows["seen"], rows["clean"])

    def _worn(self, seen: Tensor) -> Tensor:
        amount = WORN * (2 * self._even(len(seen)) - 1).clamp(min=0)
        return seen + amount.view(-1, 1, 1, 1, 1) * torch.randn_like(seen)

    def _even(self, count: int) -> Tensor:
        return torch.rand(count, device=self.device, generator=self.draws)

    def _whole(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), device=self.device, generator=self.draws)


def dissolve(holes_B6: Tensor, frames: int) -> Tensor:
    """(B, F) in [0, 1]: how far the one film has become the other. 0 before the hole, 1 after it, gently off and gently
    on between, so that neither end shows a seam."""
    start, end = holes_B6[:, 0, None], holes_B6[:, 1, None]
    at = torch.arange(frames, device=holes_B6.device)
    share = ((at - start + 1) / (end - start + 1)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def changes(clean_BCTHW: Tensor) -> Tensor:
    """(B, 1, T, H, W) in [0, 1]: how much each cell differs from the one before it in time; 0 in the first frame."""
    moved = clean_BCTHW.diff(dim=2).abs().mean(dim=1, keepdim=True).clamp(max=1)
    return torch.cat([torch.zeros_like(moved[:, :, :1]), moved], dim=2)
