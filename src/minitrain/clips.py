"""Training clips: which film, from which frame on, with which part known, dissolving into which other film; and their
pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from minitrain import hole_masks
from minitrain.films import FilmSource
from minitrain.scene import Film
from minitrain.worlds import World

Size = tuple[int, int]
DISSOLVE_SHARE = 0.25  # of the entangled clips


@dataclass(frozen=True)
class DataMix:
    """What clips the transformer is trained on. inpainting_share: of the clips, with a hole that known pixels surround.
    midway_share: of the other clips, those that start in the middle of a motion, as the next window of a long film
    does. subject_weight, motion_weight: extra loss weight of cells that show the first actor, and of cells that change.
    clips_per_shape: clips kept of each shape. known_start_share: of the clips without a hole, those whose first frames
    are known."""

    inpainting_share: float = 0.25
    midway_share: float = 0.1
    subject_weight: float = 3.0
    motion_weight: float = 0.0
    clips_per_shape: int = 6000
    known_start_share: float = 0.2


@dataclass(frozen=True)
class ClipSpec:
    """One clip before it is rendered: its film and first frame, its hole, the film (and first frame) that it dissolves
    into, and the film that its caption describes, None for no caption."""

    film: Film
    first_frame: int
    hole: hole_masks.Hole | None = None
    dissolve_into: tuple[Film, int] | None = None
    captioned_film: Film | None = None

    @property
    def midway(self) -> bool:
        """Whether the clip continues something, so that it cannot be understood without its known frames."""
        return self.first_frame > 0 or self.dissolve_into is not None


class ClipSource:
    """Draws and renders the clips of one world."""

    def __init__(self, world: World, rng: Random, mix: DataMix) -> None:
        self.films, self.rng, self.mix = FilmSource(world), rng, mix

    def draw(self, size: Size, frames: int) -> ClipSpec:
        rng, mix = self.rng, self.mix
        film = self.films.draw(rng.getrandbits(48), held_out=False, frames=frames)
        inpainting = rng.random() < mix.inpainting_share
        if inpainting and frames > 1 and rng.random() < DISSOLVE_SHARE:
            return self._dissolve(film, size, frames)
        midway = frames > 1 and mix.midway_share > 0 and (inpainting or rng.random() < mix.midway_share)
        first = 4 * rng.randint(0, 4 if frames == 1 else 9 * midway)
        return ClipSpec(
            film, first, hole_masks.inpainting_hole(frames, *size, rng) if inpainting else None, captioned_film=film
        )

    def _dissolve(self, film: Film, size: Size, frames: int) -> ClipSpec:
        """One film dissolves into another, or into another moment of itself, between its known ends: this is how a
        bridge between two clips looks, and the return of a loop."""
        rng = self.rng
        same, (first, second) = rng.random() < 0.4, [4 * rng.randint(0, 9) for _ in range(2)]
        other = film if same else self.films.draw(rng.getrandbits(48), held_out=False, frames=frames)
        hole = hole_masks.known_ends(frames, *size, rng)
        return ClipSpec(film, first, hole, (other, second), rng.choice((film, other, None)))

    def caption(self, drawn: ClipSpec) -> str:
        """A caption of the clip, worded differently each time."""
        return "" if drawn.captioned_film is None else self.films.caption(drawn.captioned_film, self.rng)

    def render(self, specs: Sequence[ClipSpec], size: Size, frames: int) -> tuple[Tensor, Tensor]:
        """(frames_BCFYX, cover_BFYX), both uint8 on the CPU, with dissolves applied."""
        others = [(i, d.hole, *d.dissolve_into) for i, d in enumerate(specs) if d.dissolve_into and d.hole]
        films = [d.film for d in specs] + [film for *_, film, _ in others]
        first = [d.first_frame for d in specs] + [start for *_, start in others]
        shown, cover = self.films.render(films, frames, *size, first=first, device="cpu")
        count = len(specs)
        for k, (i, hole, *_) in enumerate(others):
            share = dissolve_weights(hole_masks.hole_tensor([hole]), frames)[0]
            mixed = shown[i].float().lerp(shown[count + k].float(), share[None, :, None, None])
            shown[i] = mixed.round().to(torch.uint8)
            wide = share[:, None, None]
            cover[i] = torch.maximum(cover[i] * (wide < 1), cover[count + k] * (wide > 0))
        return shown[:count], cover[:count]


def dissolve_weights(holes_B6: Tensor, frames: int) -> Tensor:
    """(B, F) in [0, 1]: the second film's weight in each frame of a dissolve; 0 before the hole, 1 after it, with a
    smooth start and end so that neither shows a seam."""
    start, end = holes_B6[:, 0, None], holes_B6[:, 1, None]
    at = torch.arange(frames, device=holes_B6.device)
    share = ((at - start + 1) / (end - start + 1)).clamp(0, 1)
    return share * share * (3 - 2 * share)
