"""Rendered clips kept on the device, grouped by size, and the crops that the autoencoder is trained on.

Crops of a whole batch are cut on the device at once, each from a different clip as long as there are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor

from minitrain.clips import Size
from minitrain.latent_buffer import LatentBuffer
from minitrain.render_workers import COVER_CELL, ClipGroup, RenderWorkers

CROP_SIDE, CROP_FRAMES = 128, 9  # pixels of a side, and frames, of a crop
SUBJECT_CROP_SHARE = 0.6  # share of the crops with a place of the subject near their middle
MOTION_THRESHOLD = 0.1  # of [-1, 1]: a step from one frame to the next that counts as motion


class ClipBank:
    """The groups that the workers delivered last. max_bytes: of pixels on the device. latent_buffer: what the
    transformer's training encoded, for the stages after it."""

    def __init__(self, workers: RenderWorkers, max_bytes: float, rng: Random) -> None:
        self.workers, self.max_bytes, self.rng = workers, max_bytes, rng
        self.by_size: dict[Size, list[ClipGroup]] = {}
        self.bytes = 0
        self.latent_buffer: LatentBuffer | None = None

    def receive(self, limit: int = 3, *, wait: float = 0.0) -> None:
        """Take at most ``limit`` groups that are ready; the oldest groups of the size with most clips make room."""
        for group in self.workers.take(limit, wait=wait):
            self.by_size.setdefault(group.size, []).append(group)
            self.bytes += group.frames.nbytes
            while self.bytes > self.max_bytes and sum(map(len, self.by_size.values())) > 1:
                fullest = max(self.by_size.values(), key=len)
                self.bytes -= fullest.pop(0).frames.nbytes

    def wait_for(self, groups: int) -> None:
        """Wait until there are that many groups, at least two of them of one size."""
        while sum(map(len, self.by_size.values())) < groups or not self._sizes():
            self.receive(8, wait=1.0)

    def drain(self) -> Iterator[ClipGroup]:
        """All groups, which are removed from the bank."""
        for groups in self.by_size.values():
            while groups:
                group = groups.pop()
                self.bytes -= group.frames.nbytes
                yield group

    def captioned(self, limit: int) -> list[ClipGroup]:
        """The latest ``limit`` groups that have captions."""
        return [group for groups in self.by_size.values() for group in groups if group.has_captions][-limit:]

    def _sizes(self) -> list[Size]:
        return [size for size, groups in self.by_size.items() if len(groups) >= 2]

    @torch.no_grad()
    def crops(self, count: int) -> tuple[Tensor, Tensor]:
        """(pixels_BCFYX in [-1, 1], weights_B1FYX): crops of clips of one size. The subject and moving pixels have
        larger weights."""
        rng, sizes = self.rng, self._sizes()
        size = rng.choices(sizes, [len(self.by_size[s]) for s in sizes])[0]
        groups_of_size, wanted = self.by_size[size], -(-count // self.workers.config.clips_per_group)
        groups = (
            rng.sample(groups_of_size, wanted)
            if len(groups_of_size) >= wanted
            else rng.choices(groups_of_size, k=wanted)
        )
        starts = [rng.randint(0, group.length - CROP_FRAMES) for group in groups]
        frames = torch.cat([g.frames[:, :, s : s + CROP_FRAMES] for g, s in zip(groups, starts, strict=True)])[:count]
        cover = torch.cat([g.cover[:, s : s + CROP_FRAMES] for g, s in zip(groups, starts, strict=True)])[:count]
        side = min(CROP_SIDE, *size)
        rows, columns = _crop_windows(cover[:, CROP_FRAMES // 2], size, side)
        which = torch.arange(len(frames), device=frames.device)[:, None, None]
        cut = frames.permute(0, 3, 4, 1, 2)[which, rows[:, :, None], columns[:, None, :]]
        pixels = cut.permute(0, 3, 4, 1, 2).float() / 127.5 - 1
        covered = cover.permute(0, 2, 3, 1)[which, rows[:, :, None] // COVER_CELL, columns[:, None, :] // COVER_CELL]
        covered = covered.permute(0, 3, 1, 2)[:, None].float() / 255
        moving = (pixels.diff(dim=2).abs().amax(dim=1, keepdim=True) > MOTION_THRESHOLD).float()
        moving = torch.cat([moving[:, :, :1], moving], dim=2)
        return pixels.contiguous(), 1 + covered + 2 * moving


def _crop_windows(cover_BHW: Tensor, size: Size, side: int) -> tuple[Tensor, Tensor]:
    """Rows and columns, (B, side) each, of one crop of every clip: around a cell of the subject, or anywhere."""
    (height, width), device, count = size, cover_BHW.device, len(cover_BHW)
    subject = torch.where(cover_BHW.flatten(1) > 128, 1.0, 1e-4)
    chance = torch.where(torch.rand(count, 1, device=device) < SUBJECT_CROP_SHARE, subject, torch.ones_like(subject))
    cell = (chance / torch.empty_like(chance).exponential_()).argmax(dim=1)  # drawn without waiting for the device
    jitter = torch.randint(0, COVER_CELL, (2, count), device=device) - side // 2
    top = (cell // (width // COVER_CELL) * COVER_CELL + jitter[0]).clamp(0, height - side)
    left = (cell % (width // COVER_CELL) * COVER_CELL + jitter[1]).clamp(0, width - side)
    along = torch.arange(side, device=device)
    return top[:, None] + along, left[:, None] + along
