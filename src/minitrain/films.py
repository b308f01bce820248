"""The source of training clips: films drawn from a world, rendered in batches on a device, described by captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from torch import Tensor

from minitrain.captions import caption
from minitrain.scene import Film
from minitrain.worlds import World, draw_film, render

MIN_FRAMES_WITH_CUTS = 17  # frames from which on a film is shown with its cuts


@dataclass(frozen=True)
class FilmSource:
    """The films of one world."""

    world: World

    def draw(self, seed: int, *, held_out: bool, frames: int = MIN_FRAMES_WITH_CUTS) -> Film:
        """A film of which that many frames will be shown. Short clips get no cut: they would show one shot and describe
        two."""
        film = draw_film(self.world, seed, held_out=held_out)
        return film if frames >= MIN_FRAMES_WITH_CUTS else replace(film, shots=film.shots[:1])

    def render(
        self, films: Sequence[Film], frames: int, height: int, width: int, *, first: Sequence[int], device: str
    ) -> tuple[Tensor, Tensor]:
        """(frames_BFCYX uint8, cover_BFYX uint8), each film from its own first frame on."""
        shown = render(films, frames, height, width, first=list(first), device=device)
        return shown.frames_BFCYX.transpose(1, 2), shown.cover_BFYX

    def caption(self, film: Film, rng: Random, *, complete: bool = False) -> str:
        return caption(film, rng, complete=complete, gaits=self.world.has_gaits).text
