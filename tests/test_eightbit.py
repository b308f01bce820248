"""Weights in eight bits: how far off, which tensors, and what a packed table must hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sora.errors import ModelError
from sora.weights.int8 import pack8, packable, stored_shapes, unpack8


@given(st.sampled_from([(64, 64), (16, 32, 3, 3), (8, 16, 1, 8, 8)]), st.floats(-6, 4), st.integers(0, 99))
@settings(max_examples=40)
def test_packed_values_are_off_by_half_a_step_at_most(shape: tuple[int, ...], size: float, seed: int):
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10**size
    rows[1] = 0
    packed = pack8({"w": rows})
    assert packed["w"].dtype == torch.int8 and packed["w.scale"].dtype == torch.float16
    error = (unpack8(packed)["w"] - rows).flatten(1).abs().amax(dim=1)
    largest = rows.flatten(1).abs().amax(dim=1)
    assert (error <= 0.5 * largest / 127 * 1.002 + 1e-7).all()
    assert not unpack8(packed)["w"][1].any()


def test_what_is_packed_once_is_packed_the_same_again():
    torch.manual_seed(0)
    once = unpack8(pack8({"w": torch.randn(64, 128), "b": torch.randn(64)}))
    again = unpack8(pack8(once))
    assert torch.equal(once["b"], again["b"])
    assert torch.allclose(once["w"], again["w"], atol=1e-3, rtol=0)


def test_small_tensors_stay_in_half_and_whole_numbers_as_they_are():
    tensors = {
        "bias": torch.randn(9),
        "table": torch.randn(1, 6, 4096),
        "ids": torch.arange(5000),
        "few": torch.ones(2, 2),
    }
    packed = pack8(tensors)
    assert set(packed) == set(tensors)
    assert [packed[n].dtype for n in tensors] == [torch.float16, torch.float16, torch.int64, torch.float16]
    assert torch.equal(unpack8(packed)["ids"], tensors["ids"])


def test_shapes_tell_what_a_packed_file_holds():
    tensors = {"w": torch.randn(64, 64), "kernel": torch.randn(8, 4, 3, 3), "b": torch.randn(64)}
    found = {name: tuple(t.shape) for name, t in pack8(tensors).items()}
    assert found == stored_shapes({name: tuple(t.shape) for name, t in tensors.items()})
    assert packable((64, 64)) and not packable((8, 4, 3, 3))


def test_floats_come_back_in_the_asked_type():
    packed = pack8({"w": torch.randn(64, 64), "b": torch.randn(64)})
    assert {t.dtype for t in unpack8(packed, torch.bfloat16).values()} == {torch.bfloat16}


def test_eight_bits_without_their_scale_are_refused():
    packed = pack8({"w": torch.randn(64, 64)})
    del packed["w.scale"]
    with pytest.raises(ModelError, match="without a scale"):
        unpack8(packed)
    with pytest.raises(ModelError, match="without a scale"):
        unpack8(packed | {"w.scale": torch.ones(3)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_values_that_do_not_fit_are_refused(value: float):
    with pytest.raises(ValueError, match="cannot be packed"):
        pack8({"w": torch.full((64, 64), value)})


def test_packed_tensors_are_not_packed_again():
    with pytest.raises(ValueError, match="packed already"):
        pack8(pack8({"w": torch.randn(64, 64)}))
