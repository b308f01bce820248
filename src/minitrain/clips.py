"""What a training clip shows: a film from some frame on, what of it is known, into what it melts; and its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from minitrain import hole_masks
from minitrain.films import Films
from minitrain.scene import Film
from minitrain.worlds import World

Size = tuple[int, int]
DISSOLVED = 0.25  # of the entangled clips


@dataclass(frozen=True)
class Mix:
    """What clips a transformer is trained on. entangled: share of them with a pattern of holes. midway: of the others,
    the share that begins in the middle of its motion, as the next window of a long film does. cover, motion: extra
    weight of cells that show the first actor, and of cells that change. limit: clips kept of each shape. starts: share
    of the clips without a pattern whose first frames are known."""

    entangled: float = 0.25
    midway: float = 0.1
    cover: float = 3.0
    motion: float = 0.0
    limit: int = 6000
    starts: float = 0.2


@dataclass(frozen=True)
class Drawn:
    """One clip to be: from which frame of which film, which hole, into what it melts, and which film is told."""

    film: Film
    first: int
    hole: hole_masks.Hole | None = None
    other: tuple[Film, int] | None = None
    told: Film | None = None

    @property
    def midway(self) -> bool:
        """Whether it goes on from something, so that it cannot be understood without its known frames."""
        return self.first > 0 or self.other is not None


class Clips:
    """Draws and renders the clips of one world."""

    def __init__(self, world: World, rng: Random, mix: Mix) -> None:
        self.films, self.rng, self.mix = Films(world), rng, mix

    def draw(self, size: Size, frames: int) -> Drawn:
        rng, mix = self.rng, self.mix
        film = self.films.draw(rng.getrandbits(48), held=False, frames=frames)
        entangled = rng.random() < mix.entangled
        if entangled and frames > 1 and rng.random() < DISSOLVED:
            return self._dissolve(film, size, frames)
        midway = frames > 1 and mix.midway > 0 and (entangled or rng.random() < mix.midway)
        first = 4 * rng.randint(0, 4 if frames == 1 else 9 * midway)
        return Drawn(film, first, hole_masks.entangled(frames, *size, rng) if entangled else None, told=film)

    def _dissolve(self, film: Film, size: Size, frames: int) -> Drawn:
        """One film melts into another, or into another moment of itself, between its known ends: how a bridge between
        two clips looks, and a loop's way back."""
        rng = self.rng
        same, (first, second) = rng.random() < 0.4, [4 * rng.randint(0, 9) for _ in range(2)]
        other = film if same else self.films.draw(rng.getrandbits(48), held=False, frames=frames)
        hole = hole_masks.both_ends(frames, *size, rng)
        return Drawn(film, first, hole, (other, second), rng.choice((film, other, None)))

    def tell(self, drawn: Drawn) -> str:
        """A caption, another one each time."""
        return "" if drawn.told is None else self.films.tell(drawn.told, self.rng)

    def render(self, drawn: Sequence[Drawn], size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(frames_BCFYX, cover_BFYX), both uint8 on the CPU; films melted where they are to melt."""
        others = [(i, d.hole, *d.other) for i, d in enumerate(drawn) if d.other and d.hole]
        films = [d.film for d in drawn] + [film for *_, film, _ in others]
        first = [d.first for d in drawn] + [start for *_, start in others]
        shown, cover = self.films.render(films, frames, *size, first=first, device="cpu")
        count = len(drawn)
        for k, (i, hole, *_) in enumerate(others):
            share = dissolve(hole_masks.table([hole]), frames)[0]
            mixed = shown[i].float().lerp(shown[count + k].float(), share[None, :, None, None])
            shown[i] = mixed.round().to(torch.uint8)
            wide = share[:, None, None]
            cover[i] = torch.maximum(cover[i] * (wide < 1), cover[count + k] * (wide > 0))
        return shown[:count], cover[:count]


def dissolve(holes_B6: Tensor, frames: int) -> Tensor:
    """(B, F) in [0, 1]: how far the one film has become the other. 0 before the hole, 1 after it, gently off and gently
    on between, so that neither end shows a seam."""
    start, end = holes_B6[:, 0, None], holes_B6[:, 1, None]
    at = torch.arange(frames, device=holes_B6.device)
    share = ((at - start + 1) / (end - start + 1)).clamp(0, 1)
    return share * share * (3 - 2 * share)
