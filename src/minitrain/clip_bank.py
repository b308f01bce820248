"""Rendered clips kept on the device, by size, and the crops that the autoencoder learns from.

Cutting is done on the device for a whole batch at once, each crop from another clip as long as there are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor

from minitrain.clips import Size
from minitrain.latent_buffer import LatentBuffer
from minitrain.render_workers import CELL, ClipGroup, RenderWorkers

CROP, FRAMES = 128, 9  # pixels of a side, and frames, of a crop
AT_SUBJECT = 0.6  # share of the crops with a place of the subject near their middle
MOVING = 0.1  # of [-1, 1]: a step from one frame to the next that counts as motion


class ClipBank:
    """The groups that came last from the workers. room: bytes of pixels on the device. encoded: what a transformer's
    training made of those it took, for whoever comes after it."""

    def __init__(self, workers: RenderWorkers, room: float, rng: Random) -> None:
        self.workers, self.room, self.rng = workers, room, rng
        self.by_size: dict[Size, list[ClipGroup]] = {}
        self.bytes = 0
        self.encoded: LatentBuffer | None = None

    def pump(self, most: int = 3, *, wait: float = 0.0) -> None:
        """Take in what is ready; the oldest of the size with most clips make room."""
        for group in self.workers.take(most, wait=wait):
            self.by_size.setdefault(group.size, []).append(group)
            self.bytes += group.frames.nbytes
            while self.bytes > self.room and sum(map(len, self.by_size.values())) > 1:
                fullest = max(self.by_size.values(), key=len)
                self.bytes -= fullest.pop(0).frames.nbytes

    def fill(self, groups: int) -> None:
        """Wait until there are that many, two of one size among them."""
        while sum(map(len, self.by_size.values())) < groups or not self._sizes():
            self.pump(8, wait=1.0)

    def drain(self) -> Iterator[ClipGroup]:
        """Everything, which is forgotten here."""
        for groups in self.by_size.values():
            while groups:
                group = groups.pop()
                self.bytes -= group.frames.nbytes
                yield group

    def told(self, most: int) -> list[ClipGroup]:
        """The latest groups of the first world."""
        return [group for groups in self.by_size.values() for group in groups if group.told][-most:]

    def _sizes(self) -> list[Size]:
        return [size for size, groups in self.by_size.items() if len(groups) >= 2]

    @torch.no_grad()
    def crops(self, count: int) -> tuple[Tensor, Tensor]:
        """(pixels_BCFYX in [-1, 1], weights_B1FYX): crops of one size of clips. The subject and what moves weigh
        more."""
        rng, sizes = self.rng, self._sizes()
        size = rng.choices(sizes, [len(self.by_size[s]) for s in sizes])[0]
        held, wanted = self.by_size[size], -(-count // self.workers.plan.group)
        groups = rng.sample(held, wanted) if len(held) >= wanted else rng.choices(held, k=wanted)
        starts = [rng.randint(0, group.length - FRAMES) for group in groups]
        frames = torch.cat([g.frames[:, :, s : s + FRAMES] for g, s in zip(groups, starts, strict=True)])[:count]
        cover = torch.cat([g.cover[:, s : s + FRAMES] for g, s in zip(groups, starts, strict=True)])[:count]
        side = min(CROP, *size)
        rows, columns = _places(cover[:, FRAMES // 2], size, side)
        which = torch.arange(len(frames), device=frames.device)[:, None, None]
        cut = frames.permute(0, 3, 4, 1, 2)[which, rows[:, :, None], columns[:, None, :]]
        pixels = cut.permute(0, 3, 4, 1, 2).float() / 127.5 - 1
        covered = cover.permute(0, 2, 3, 1)[which, rows[:, :, None] // CELL, columns[:, None, :] // CELL]
        covered = covered.permute(0, 3, 1, 2)[:, None].float() / 255
        moving = (pixels.diff(dim=2).abs().amax(dim=1, keepdim=True) > MOVING).float()
        moving = torch.cat([moving[:, :, :1], moving], dim=2)
        return pixels.contiguous(), 1 + covered + 2 * moving


def _places(cover_BHW: Tensor, size: Size, side: int) -> tuple[Tensor, Tensor]:
    """Rows and columns, (B, side) each, of a crop of every clip: around a cell of the subject, or anywhere."""
    (height, width), device, count = size, cover_BHW.device, len(cover_BHW)
    subject = torch.where(cover_BHW.flatten(1) > 128, 1.0, 1e-4)
    chance = torch.where(torch.rand(count, 1, device=device) < AT_SUBJECT, subject, torch.ones_like(subject))
    cell = (chance / torch.empty_like(chance).exponential_()).argmax(dim=1)  # drawn without waiting for the device
    jitter = torch.randint(0, CELL, (2, count), device=device) - side // 2
    top = (cell // (width // CELL) * CELL + jitter[0]).clamp(0, height - side)
    left = (cell % (width // CELL) * CELL + jitter[1]).clamp(0, width - side)
    along = torch.arange(side, device=device)
    return top[:, None] + along, left[:, None] + along
