"""Sizes: every size the grid proposes is on the grid, and close to the wish."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sora.catalog import MODELS
from sora.plan.grid import Grid

grids = st.sampled_from([Grid(4, 8, 16), Grid(4, 16, 48), Grid(8, 32, 128, patch=1), Grid(1, 8, 4)])


@settings(max_examples=50)
@given(grids, st.floats(0.25, 4), st.integers(96 * 96, 1920 * 1088))
@example(Grid(4, 8, 16), 16 / 9, 832 * 480)
def test_nearest_size_is_on_the_grid_and_close(grid: Grid, aspect: float, area: int) -> None:
    height, width = grid.nearest_size(aspect, area)
    assert grid.fits(1, height, width)
    # With sides of many multiples both wishes can be met; with few, one step of the grid is the bound.
    step = grid.multiple / min(math.sqrt(area / aspect), math.sqrt(area * aspect))
    assert abs(math.log(width / height / aspect)) <= max(0.05, step)
    assert abs(math.log(height * width / area)) <= 0.3 + step


@settings(max_examples=50)
@given(grids, st.floats(0.001, 1000), st.integers(1, 10**7))
def test_nearest_size_of_any_wish_is_a_size(grid: Grid, aspect: float, area: int) -> None:
    assert grid.fits(1, *grid.nearest_size(aspect, area))


@settings(max_examples=50)
@given(st.integers(1, 16), st.integers(1, 16))
def test_a_size_on_the_grid_is_kept_when_it_is_wished(rows: int, columns: int) -> None:
    grid = Grid(4, 8, 16)
    height, width = rows * grid.multiple, columns * grid.multiple
    if 0.25 <= rows / columns <= 4:
        found = grid.nearest_size(width / height, height * width)
        assert found[0] * width == found[1] * height  # the exact shape
        assert abs(math.log(found[0] / height)) < 0.3


@pytest.mark.parametrize("size", [(0, 16, 16), (2, 16, 16), (1, 0, 16), (1, 16, -16), (1, 24, 16)])
def test_latent_shape_refuses_what_is_off_the_grid(size: tuple[int, int, int]) -> None:
    grid = Grid(4, 8, 16)
    assert not grid.fits(*size)
    with pytest.raises(ValueError, match="not on"):
        grid.latent_shape(*size)


def test_latent_shape() -> None:
    assert Grid(4, 8, 16).latent_shape(17, 480, 832) == (16, 5, 60, 104)


def test_every_models_defaults_are_on_its_grid() -> None:
    for spec in MODELS.values():
        assert spec.grid.fits(spec.defaults.frames, *spec.grid.nearest_size(16 / 9, spec.defaults.area)), spec.name
