"""Latents of rendered clips on the device, in one ring buffer for each shape: the transformer's training data.

Every group of clips from the workers is encoded once. It gives whole clips, their shorter prefixes, and single frames.
Captions are encoded by the frozen text encoder when a clip comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor

from minitrain import hole_masks
from minitrain.clips import DataMix, Size
from minitrain.render_workers import ClipGroup
from sora.networks.mini_vae import TEMPORAL_COMPRESSION, MiniVAE

MAX_KNOWN_NOISE = (
    0.3  # noise on half of the known latents, at most: long films go on from what was painted, not from the truth
)
FRAMES_PER_CLIP = 3  # frames taken out of each clip as pictures of their own
FRAME_HOLE_SHARE = 0.15  # of them, the share with a hole

FeatureExtractor = Callable[[Tensor], Tensor]
"""(B, 3, F, Y, X) in [-1, 1] to (B, D, T, H, W): what a frozen network sees, at any H and W."""


@dataclass(frozen=True)
class Batch:
    """clean: (B, C, T, H, W), the latents. known_latents: (B, C, T, H, W), those of the known pixels. known_mask: (B,
    TIME, T, H, W). loss_weight: (B, 1, T, H, W), mean about 1. slots: (B, S, D), the captions' text embeddings.
    features: (B, D, T, H, W) of a frozen network."""

    clean: Tensor
    known_latents: Tensor
    known_mask: Tensor
    loss_weight: Tensor
    slots: Tensor
    features: Tensor | None = None


@dataclass
class RingBuffer:
    """The last ``capacity`` rows of a table of tensors with a common first axis."""

    capacity: int
    rows: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0
    position: int = 0

    def __len__(self) -> int:
        return self.count

    def add(self, rows: dict[str, Tensor]) -> None:
        """Append at most ``capacity`` rows; the oldest are overwritten."""
        new = len(next(iter(rows.values())))
        self._grow(rows, self.count + new)
        for name, values in rows.items():
            table = self.rows[name]
            where = (self.position + torch.arange(new, device=table.device)) % self.capacity
            table[where] = values.to(table.dtype)
        self.position, self.count = (self.position + new) % self.capacity, min(self.capacity, self.count + new)

    def _grow(self, rows: dict[str, Tensor], wanted: int) -> None:
        room = len(next(iter(self.rows.values()))) if self.rows else 0
        if room >= min(wanted, self.capacity):
            return
        larger = min(self.capacity, max(wanted, 2 * room))
        for name, values in rows.items():
            table = values.new_empty(larger, *values.shape[1:])
            if room:
                table[:room] = self.rows[name]
            self.rows[name] = table


class LatentBuffer:
    """Encoded clips by size and length. encode_ids: token ids (B, L) to slots (B, S, D). lengths: of the clips that
    will be asked for. features: a frozen network's features of the pixels, stored with the latents. clips: how many
    came in."""

    def __init__(
        self,
        vae: MiniVAE,
        encode_ids: Callable[[Tensor], Tensor],
        mix: DataMix,
        lengths: Iterable[int],
        rng: Random,
        *,
        encode_batch: int = 4,
        features: FeatureExtractor | None = None,
    ) -> None:
        self.vae, self.encode_ids, self.mix, self.lengths, self.rng = vae, encode_ids, mix, sorted(lengths), rng
        self.encode_batch, self.features, self.clips = encode_batch, features, 0
        self.ring_buffers: dict[tuple[Size, int], RingBuffer] = {}
        self.device = vae.mean.device
        self._pending: dict[tuple[Size, int], list[ClipGroup]] = {}
        self._generator = torch.Generator(self.device).manual_seed(rng.getrandbits(48))

    def sizes_with(self, frames: int) -> set[Size]:
        """Sizes for which there are clips of that length."""
        return {size for size, length in self.ring_buffers if length == frames}

    # In --------------------------------------------------------------------------------------------------------------

    def add(self, groups: Iterable[ClipGroup], wanted: Iterable[int] | None = None) -> None:
        """Encode groups, as many clips at once as fit well; the rest waits for later calls. Groups without captions are
        skipped. wanted: lengths that are needed now, all if None."""
        lengths = self.lengths if wanted is None else sorted(wanted)
        for group in groups:
            if group.has_captions:
                self._pending.setdefault((group.size, group.length), []).append(group)
        for waiting in self._pending.values():
            while sum(len(group.holes) for group in waiting) >= self.encode_batch:
                some = max(1, self.encode_batch // len(waiting[0].holes))
                self._encode(waiting[:some], lengths)
                del waiting[:some]

    @torch.no_grad()
    def _encode(self, groups: Sequence[ClipGroup], lengths: Sequence[int]) -> None:
        size, frames = groups[0].size, groups[0].length
        pixels = torch.cat([group.frames for group in groups]).float() / 127.5 - 1
        cover = torch.cat([group.cover for group in groups]).float() / 255
        ids = torch.cat([group.ids for group in groups]).to(self.device)
        holes = [hole for group in groups for hole in group.holes]
        midway = [late for group in groups for late in group.midway]
        slots = self.encode_ids(ids.flatten(0, 1)).unflatten(0, ids.shape[:2]).half()
        if any(length > 1 for length in lengths):
            rows = self._encode_rows(pixels, cover, slots, holes, midway)
            self._add_rows(size, frames, rows)
            self._add_prefixes(size, frames, rows, [i for i, hole in enumerate(holes) if hole is None])
        if 1 in lengths:
            self._add_single_frames(pixels, cover, slots, midway)
        self.clips += len(pixels)

    def _add_rows(self, size: Size, frames: int, rows: dict[str, Tensor]) -> None:
        self.ring_buffers.setdefault((size, frames), RingBuffer(self.mix.clips_per_shape)).add(rows)

    def _add_prefixes(self, size: Size, frames: int, rows: dict[str, Tensor], whole: list[int]) -> None:
        """Add shorter clips, the beginnings of longer ones without a hole: the encoder is causal, so their latents are
        the first ones."""
        for length in self.lengths:
            if 1 < length < frames and whole:
                latents = 1 + (length - 1) // TEMPORAL_COMPRESSION
                axes = {"clean": 2, "seen": 2, "known": 2, "cover": 1, "features": 2}
                cut = {n: v[whole].narrow(axes[n], 0, latents) if n in axes else v[whole] for n, v in rows.items()}
                self._add_rows(size, length, cut)

    def _add_single_frames(self, pixels: Tensor, cover: Tensor, slots: Tensor, midway: list[bool]) -> None:
        """Add single frames. Those of dissolves and of clips that start midway show less of what the caption states,
        and are skipped if there are others."""
        size, frames, rng = (pixels.shape[3], pixels.shape[4]), pixels.shape[2], self.rng
        plain = [i for i, late in enumerate(midway) if not late] or list(range(len(pixels)))
        some, at = FRAMES_PER_CLIP * plain, [rng.randrange(frames) for _ in range(FRAMES_PER_CLIP * len(plain))]
        holes = [hole_masks.inpainting_hole(1, *size, rng) if rng.random() < FRAME_HOLE_SHARE else None for _ in some]
        shown, seen = pixels[some, :, at][:, :, None], cover[some, at][:, None]
        self._add_rows(size, 1, self._encode_rows(shown, seen, slots[some], holes, [False] * len(some)))

    def _encode_rows(
        self, pixels: Tensor, cover: Tensor, slots: Tensor, holes: Sequence[hole_masks.Hole | None], midway: list[bool]
    ) -> dict[str, Tensor]:
        """The ring buffer's rows for clips. cover: (B, F, H, W) in [0, 1]."""
        frames, size, device = pixels.shape[2], (pixels.shape[3], pixels.shape[4]), self.device
        clean = self.vae.encode(pixels)
        whole = hole_masks.all_unknown(frames, *size)
        table = hole_masks.hole_tensor([hole or whole for hole in holes], device)
        seen, own = clean.clone(), [i for i, hole in enumerate(holes) if hole]
        if own:
            known = hole_masks.known_pixels(table[own], frames, *size)
            seen[own] = self.vae.encode(torch.where(known, pixels[own], 0))
        cells = torch.cat([cover[:, :1].expand(-1, TEMPORAL_COMPRESSION - 1, -1, -1), cover], dim=1).unflatten(
            1, (-1, TEMPORAL_COMPRESSION)
        )
        rows = {
            "clean": clean.half(),
            "seen": seen.half(),
            "cover": cells.mean(dim=2).half(),
            "known": hole_masks.known_cells(table, frames, *size, self.vae.config.space),
            "own": torch.tensor([hole is not None for hole in holes], device=device),
            "midway": torch.tensor([frames > 1 and late for late in midway], device=device),
            "slots": slots,
        }
        return rows | ({"features": self.features(pixels).half()} if self.features else {})

    # Out -------------------------------------------------------------------------------------------------------------

    def sample(self, size: Size, frames: int, count: int) -> Batch:
        """Clips drawn at random, each with a newly drawn known part."""
        ring = self.ring_buffers[size, frames]
        index = self._integers(len(ring), count)
        rows = {name: table[index] for name, table in ring.rows.items()}
        known, seen = self.choose_known(rows, size, frames)
        clean, known = rows["clean"].float(), known.float()
        weight = 1 + self.mix.subject_weight * rows["cover"].float()[:, None]
        if self.mix.motion_weight:
            weight = weight + self.mix.motion_weight * temporal_change(clean)
        weight = weight * (1 - 0.8 * known.amin(dim=1, keepdim=True))
        wording = self._integers(rows["slots"].shape[1], count)
        slots = rows["slots"][torch.arange(count, device=self.device), wording].float()
        features = rows["features"].float() if self.features else None
        return Batch(clean, self._add_noise(seen.float()), known, weight / weight.mean(), slots, features)

    def choose_known(self, rows: dict[str, Tensor], size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(known_mask, known_latents) for rows of the ring buffer: for each clip its own hole, or known first frames,
        or nothing."""
        midway = rows["midway"]
        own = rows["own"] & (midway | (self._uniform(len(midway)) < 0.6))
        asks = (
            (midway | (self._uniform(len(midway)) < self.mix.known_start_share))
            if frames > 1
            else torch.zeros_like(midway)
        )
        starts = torch.tensor(hole_masks.PREFIX_LENGTHS, device=self.device)[
            self._integers(len(hole_masks.PREFIX_LENGTHS), len(midway))
        ]
        holes = hole_masks.hole_tensor([hole_masks.all_unknown(frames, *size)], self.device).repeat(len(midway), 1)
        holes[:, 0] = torch.where(asks, starts.clamp(max=max(1, frames - 4)), 0)
        known = hole_masks.known_cells(holes, frames, *size, self.vae.config.space)
        known = torch.where(own.view(-1, 1, 1, 1, 1), rows["known"], known)
        return known, torch.where(own.view(-1, 1, 1, 1, 1), rows["seen"], rows["clean"])

    def _add_noise(self, seen: Tensor) -> Tensor:
        amount = MAX_KNOWN_NOISE * (2 * self._uniform(len(seen)) - 1).clamp(min=0)
        return seen + amount.view(-1, 1, 1, 1, 1) * torch.randn_like(seen)

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, device=self.device, generator=self._generator)

    def _integers(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), device=self.device, generator=self._generator)


def temporal_change(clean_BCTHW: Tensor) -> Tensor:
    """(B, 1, T, H, W) in [0, 1]: how much each cell differs from the one before it in time; 0 in the first frame."""
    moved = clean_BCTHW.diff(dim=2).abs().mean(dim=1, keepdim=True).clamp(max=1)
    return torch.cat([torch.zeros_like(moved[:, :, :1]), moved], dim=2)
