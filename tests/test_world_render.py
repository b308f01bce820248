"""Films of the larger world as pixels: the same every time, the same at every size, and moving as they say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minitrain.scene import Actor, Film, Shot
from minitrain.worlds import WORLDS, World, draw_film, is_held_out, mirrored, render
from minitrain.worlds.subjects import SHAPES

BALLS = replace(WORLDS["small"], subjects=tuple(SHAPES))
NONE = dict.fromkeys(("pair_share", "event_share", "cut_share", "camera_share", "weather_share", "style_share"), 0.0)
FREE = replace(WORLDS["large"], subjects=tuple(SHAPES), **NONE)


def film(motion: str, seed: int, *, size: float = 0.5, **changes: object) -> Film:
    shot = Shot("meadow", (Actor("red ball", motion, size=size),), seed)
    return Film((replace(shot, **changes),))  # type: ignore[arg-type]


def path(drawn: Film, frames: int = 13) -> tuple[Tensor, Tensor, Tensor]:
    """(x, y, area) of the first actor's visible opacity in each frame."""
    mass = render([drawn], frames, 128, 128).cover_BFYX[0].float()
    area, places = mass.sum(dim=(1, 2)), torch.arange(128.0)
    return (mass * places).sum(dim=(1, 2)) / area, (mass * places[:, None]).sum(dim=(1, 2)) / area, area


@pytest.mark.parametrize("size", [0.5, 0.4])
def test_motions_move_as_they_say(size: float) -> None:
    """On the lattice, which half the short side is, and off it."""
    for seed in range(3):
        assert (path(film("right", seed, size=size))[0].diff() > 0).all()
        assert (path(film("left", seed, size=size))[0].diff() < 0).all()
        assert (path(film("down", seed, size=size))[1].diff() > 0).all()
        assert (path(film("up", seed, size=size))[1].diff() < 0).all()
        grown, shrunk = path(film("grow", seed, size=size))[2], path(film("shrink", seed, size=size))[2]
        assert grown[-1] > 1.8 * grown[0] and shrunk[-1] < 0.6 * shrunk[0]
        hops = path(film("bounce", seed, size=size))[1].diff()
        assert (hops > 0.5).any() and (hops < -0.5).any()
        still = render([film("still", seed, size=size)], 3, 64, 64).frames_BFCYX[0]
        assert torch.equal(still[0], still[2])


def test_on_the_lattice_every_fourth_frame_is_a_stride_further() -> None:
    assert torch.allclose(path(film("right", 3))[0][::4].diff(), torch.tensor(16.0))


def test_a_film_renders_the_same_every_time_alone_or_among_others() -> None:
    films = [draw_film(replace(FREE, weather_share=0.5), seed) for seed in range(4)]
    together = render(films, 5, 64, 80)
    alone = render(films[2:3], 5, 64, 80)
    assert torch.equal(together.frames_BFCYX[2], alone.frames_BFCYX[0])
    assert torch.equal(together.cover_BFYX[2], alone.cover_BFYX[0])


def test_twice_the_size_is_the_same_film() -> None:
    films = [draw_film(world, seed) for world in (BALLS, FREE) for seed in range(4)]
    small, large = (render(films, 5, side, side).frames_BFCYX.flatten(0, 1).float() for side in (64, 128))
    reduced = torch.nn.functional.avg_pool2d(large, 2)
    assert (reduced - small).abs().mean() < 4


def test_what_comes_back_is_eight_bits_on_the_asked_device() -> None:
    shown = render([film("left", 1), film("spin", 2)], 5, 64, 96, device="cpu")
    assert shown.frames_BFCYX.shape == (2, 5, 3, 64, 96)
    assert shown.cover_BFYX.shape == shown.second_BFYX.shape == (2, 5, 64, 96)
    assert shown.frames_BFCYX.dtype == shown.cover_BFYX.dtype == torch.uint8
    assert shown.frames_BFCYX.device == torch.device("cpu")


@pytest.mark.parametrize("world", [BALLS, FREE])
def test_a_later_start_shows_later_frames(world: World) -> None:
    films = [draw_film(world, 3), draw_film(world, 4)]
    whole = render(films, 13, 64, 64).frames_BFCYX
    parts = render(films, 5, 64, 64, first=[4, 8]).frames_BFCYX
    assert torch.equal(parts[0], whole[0, 4:9])
    assert torch.equal(parts[1], whole[1, 8:13])


@pytest.mark.parametrize("motion", ["left", "right", "up", "down"])
def test_a_travelling_subject_is_never_lost(motion: str) -> None:
    late = render([film(motion, 5)], 17, 128, 128, first=60).cover_BFYX[0].float().mean(dim=(1, 2))
    early = render([film(motion, 5)], 1, 128, 128).cover_BFYX[0].float().mean()
    assert (late / early).min() > 0.9 and (late / early).max() < 1.1


@pytest.mark.parametrize("weather", ["snow", "rain", "leaves", "bubbles", "confetti"])
def test_weather_moves_over_a_still_picture(weather: str) -> None:
    shown = render([film("still", 1, weather=weather)], 5, 64, 64).frames_BFCYX[0].float()
    dry = render([film("still", 1)], 5, 64, 64).frames_BFCYX[0].float()
    assert (shown - dry).abs().mean() > 0.2
    assert (shown[1:] - shown[:-1]).abs().mean() > 0.2


@pytest.mark.parametrize("held", [True, False])
def test_held_out_films_stay_apart(held: bool) -> None:
    assert all(
        is_held_out(draw_film(world, seed, held_out=held)) is held for world in WORLDS.values() for seed in range(20)
    )


def test_about_a_tenth_is_held_out() -> None:
    share = sum(is_held_out(draw_film(WORLDS["medium"], seed)) for seed in range(2000)) / 2000
    assert 0.06 < share < 0.14


def test_a_mirrored_film_differs_only_in_where_its_actors_look() -> None:
    drawn = draw_film(WORLDS["medium"], 8)
    turned = mirrored(drawn)
    assert turned.shots[0].actors[0].faces != drawn.shots[0].actors[0].faces
    assert mirrored(turned) == drawn
