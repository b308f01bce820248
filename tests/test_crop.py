"""The crop around a region: where it lies, and that a film painted in it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora.plan.crop import crop_around


def region(size: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    where = np.zeros((1, *size), bool)
    where[0, rows, columns] = True
    return where


@given(st.integers(16, 300), st.integers(16, 300), st.floats(0.3, 1), st.data())
def test_a_crop_holds_its_region_and_lies_inside_the_frame(height: int, width: int, share: float, data: st.DataObject):
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows = slice(top, data.draw(st.integers(top + 1, height)))
    columns = slice(left, data.draw(st.integers(left + 1, width)))
    where = region((height, width), rows, columns)
    crop = crop_around(where, share)
    if crop is None:
        return
    assert crop.top >= 0 and crop.top + crop.height <= height and crop.left >= 0 and crop.left + crop.width <= width
    assert where[(slice(None), *crop.slices)].sum() == where.sum()
    assert crop.height * crop.width <= 0.8 * height * width


def test_the_region_takes_up_its_share_and_stands_in_the_middle():
    crop = crop_around(region((256, 256), slice(100, 170), slice(90, 150)), 0.7)
    assert crop is not None and crop.size == (100, 100) and (crop.top, crop.left) == (85, 70)


@pytest.mark.parametrize(("rows", "share"), [(slice(0, 0), 0.7), (slice(0, 250), 0.7), (slice(0, 40), 0.0)])
def test_there_is_no_crop_of_nothing_of_nearly_all_or_where_the_model_wants_none(rows: slice, share: float):
    assert crop_around(region((256, 256), rows, rows), share) is None
