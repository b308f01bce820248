"""Tiles: they cover the picture, overlap as asked, and blend back into it."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sora.engine.tiles import Tile, blend_tiles, feather, split_into_tiles

Size = tuple[int, int]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Size, Size, float]:
    """(size, tile, overlap) that fit together: the overlap leaves every tile a pixel to move on."""
    tile = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    size = tile[0] + draw(st.integers(0, 60)), tile[1] + draw(st.integers(0, 60))
    return size, tile, draw(st.floats(0, 1 - 1 / min(tile)))


def starts(found: list[Tile]) -> tuple[list[int], list[int]]:
    return sorted({t.y for t in found}), sorted({t.x for t in found})


@given(layouts())
def test_every_pixel_is_covered_by_tiles_of_one_size_within_the_picture(layout: tuple[Size, Size, float]) -> None:
    size, tile, overlap = layout
    covered = torch.zeros(size)
    for part in split_into_tiles(size, tile, overlap):
        assert part.size == tile
        assert 0 <= part.y <= size[0] - tile[0] and 0 <= part.x <= size[1] - tile[1]
        part.crop(covered).add_(1)
    assert covered.min() >= 1


@given(layouts())
def test_neighbours_overlap_as_asked_and_stand_evenly(layout: tuple[Size, Size, float]) -> None:
    size, tile, overlap = layout
    found = split_into_tiles(size, tile, overlap)
    for at, whole, part in zip(starts(found), size, tile, strict=True):
        moves = [after - before for before, after in itertools.pairwise(at)]
        assert all(part - move >= part * overlap - 1e-6 for move in moves)
        assert not moves or max(moves) - min(moves) <= 1
        assert (at[0], at[-1]) == (0, whole - part)
        # One fewer would have to move further than the overlap allows.
        assert len(moves) < 2 or (whole - part) / (len(moves) - 1) > part - part * overlap - 1
    assert len(found) == len(set(found)) == len(starts(found)[0]) * len(starts(found)[1])


@given(layouts(), st.floats(-5, 5))
def test_equal_parts_blend_into_the_same(layout: tuple[Size, Size, float], value: float) -> None:
    size, tile, overlap = layout
    blended = blend_tiles(
        size, ((part, torch.full((1, 2, *tile), value)) for part in split_into_tiles(size, tile, overlap))
    )
    torch.testing.assert_close(blended, torch.full((1, 2, *size), value), rtol=0, atol=1e-5)


@given(layouts(), st.integers(0, 1000))
def test_crops_of_a_picture_blend_back_into_it(layout: tuple[Size, Size, float], seed: int) -> None:
    size, tile, overlap = layout
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    blended = blend_tiles(size, ((part, part.crop(picture)) for part in split_into_tiles(size, tile, overlap)))
    torch.testing.assert_close(blended, picture, rtol=0, atol=1e-5)


@given(layouts(), st.randoms(use_true_random=False))
def test_a_blend_lies_between_its_parts_whatever_their_order(layout: tuple[Size, Size, float], random) -> None:
    size, tile, overlap = layout
    parts = [
        (part, torch.full((1, 1, *tile), float(i))) for i, part in enumerate(split_into_tiles(size, tile, overlap))
    ]
    blended = blend_tiles(size, parts)
    random.shuffle(parts)
    torch.testing.assert_close(blend_tiles(size, parts), blended, rtol=1e-5, atol=1e-5)
    assert blended.min() >= -1e-5 and blended.max() <= len(parts) - 1 + 1e-4


def test_a_picture_of_one_tile() -> None:
    assert split_into_tiles((8, 12), (8, 12), 0.9) == [Tile(0, 0, 8, 12)]


def test_a_few_tiles() -> None:
    assert split_into_tiles((10, 20), (10, 10), 0.2) == [Tile(0, 0, 10, 10), Tile(0, 5, 10, 10), Tile(0, 10, 10, 10)]
    assert starts(split_into_tiles((30, 100), (10, 10), 0.0)) == ([0, 10, 20], list(range(0, 100, 10)))


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "says"),
    [
        ((8, 20), (9, 10), 0.2, "does not lie"),
        ((20, 8), (10, 9), 0.2, "does not lie"),
        ((8, 8), (0, 8), 0.2, "does not lie"),
        ((8, 8), (4, 4), 1.0, "share"),
        ((8, 8), (4, 4), -0.1, "share"),
        ((8, 8), (4, 4), 0.9, "move on"),
    ],
)
def test_impossible_layouts_are_refused(size: Size, tile: Size, overlap: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        split_into_tiles(size, tile, overlap)


def test_from_one_tile_to_the_next_there_is_no_step() -> None:
    parts = [
        (part, torch.full((1, 1, 4, 64), float(i))) for i, part in enumerate(split_into_tiles((4, 112), (4, 64), 0.25))
    ]
    assert len(parts) == 2
    line = blend_tiles((4, 112), parts)[0, 0, 0]
    assert line[0] == 0 and line[-1] == 1
    assert line.diff().min() >= 0 and line.diff().max() < 0.15


def test_the_window_is_never_zero() -> None:
    for n in (1, 2, 7, 1024, 4096):
        assert feather((n, 1)).min() > 0 and feather((n, 1)).max() <= 1
        torch.testing.assert_close(feather((n, 1)), feather((n, 1)).flip(0))
    assert feather((4096, 4096))[0, 0] > 0


def test_parts_of_any_float_blend_in_float32() -> None:
    part = Tile(0, 0, 4, 4)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert blend_tiles((4, 4), [(part, torch.ones(1, 3, 4, 4, dtype=dtype))]).dtype == torch.float32


def test_gaps_and_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="16 pixels"):
        blend_tiles((4, 8), [(Tile(0, 0, 4, 4), torch.ones(1, 3, 4, 4))])
    with pytest.raises(ValueError, match="covered by no tile"):
        blend_tiles((4, 8), [])
    with pytest.raises(ValueError, match="do not fill"):
        blend_tiles((4, 4), [(Tile(0, 0, 4, 4), torch.ones(1, 3, 4, 5))])
