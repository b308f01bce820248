"""Where training clips come from: films drawn from a world, rendered in batches on a device, told in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Protocol

import torch
from torch import Tensor

from sora.training.scene import MOTIONS


class Source(Protocol):
    """A world, seen by what trainings ask of it. A film is whatever ``draw`` gives."""

    def draw(self, seed: int, *, held: bool, frames: int = 17) -> Any:
        """A film to show that many frames of; no cuts in short ones, which would show one shot and tell of two."""
        ...

    def render(
        self, films: Sequence[Any], frames: int, height: int, width: int, *, first: Sequence[int], device: str
    ) -> tuple[Tensor, Tensor]:
        """(frames_BCFYX uint8, cover_BFYX uint8), each film from its own first frame on."""
        ...

    def tell(self, film: Any, rng: Random, *, complete: bool = False) -> str: ...


class Cartoons:
    """The worlds of ``training.worlds``, rendered on the device."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.gaits = any(motion not in MOTIONS[:9] for motion in world.motions)

    def draw(self, seed: int, *, held: bool, frames: int = 17) -> Any:
        from sora.training.worlds import draw_film

        film = draw_film(self.world, seed, held=held)
        return film if frames >= 17 else replace(film, shots=film.shots[:1])

    def render(
        self, films: Sequence[Any], frames: int, height: int, width: int, *, first: Sequence[int], device: str
    ) -> tuple[Tensor, Tensor]:
        from sora.training.worlds.render import render

        shown = render(films, frames, height, width, first=list(first), device=device)
        return shown.frames_BFCYX.transpose(1, 2), shown.cover_BFYX

    def tell(self, film: Any, rng: Random, *, complete: bool = False) -> str:
        from sora.training.telling import caption

        return caption(film, rng, complete=complete, gaits=self.gaits).text


class FirstScenes:
    """The first version's worlds of ``training.world``, rendered one by one on the CPU."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def draw(self, seed: int, *, held: bool, frames: int = 17) -> Any:  # noqa: ARG002
        from sora.training.world import draw_scene

        return draw_scene(self.world, seed, held=held)

    def render(
        self, films: Sequence[Any], frames: int, height: int, width: int, *, first: Sequence[int], device: str
    ) -> tuple[Tensor, Tensor]:
        from sora.training.world import render

        made = [render(film, frames, height, width, first=f) for film, f in zip(films, first, strict=True)]
        pixels = torch.stack([torch.from_numpy(film).permute(3, 0, 1, 2) for film, _ in made])
        return pixels.to(device), torch.stack([torch.from_numpy(cover) for _, cover in made]).to(device)

    def tell(self, film: Any, rng: Random, *, complete: bool = False) -> str:
        from sora.training.captions import caption

        return caption(film, rng, complete=complete).text


def source_of(world: Any) -> Source:
    """The source behind a world of either kind."""
    return FirstScenes(world) if type(world).__module__ == "sora.training.world" else Cartoons(world)


def worlds() -> dict[str, Any]:
    """Every world by its name; a name of both versions means the larger cartoon world."""
    from sora.training import world

    try:
        from sora.training.worlds import WORLDS
    except ImportError:
        return dict(world.WORLDS)
    return world.WORLDS | WORLDS
