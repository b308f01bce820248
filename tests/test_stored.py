"""Stored weights dequantize to what ggml's own package says, and a stored linear map computes with them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sora.runtime.quantized import QuantizedLinear, replace_with_quantized
from sora.weights.formats import FORMATS, STORABLE, dequantize
from sora.weights.tensor_entry import BLOCKS, SIZES

# Bytes at which a block has a float16 step.
STEPS: dict[str, tuple[int, ...]] = dict.fromkeys(("Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS"), (0,))
STEPS |= dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2))
STEPS |= {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}


def random_bytes(format: str, rows: int, blocks: int) -> np.ndarray:
    """Rows of a format's blocks, any bytes but for steps, which are ordinary numbers."""
    rng = np.random.default_rng(7)
    size = FORMATS[format].size
    raw = rng.integers(0, 256, (rows * blocks, size), dtype=np.uint8)
    for place in STEPS.get(format, ()):
        raw[:, place : place + 2] = rng.normal(0, 0.1, (len(raw), 1)).astype(np.float16).view(np.uint8)
    return raw.reshape(rows, blocks * size)


def test_the_steps_of_every_block_are_known():
    assert {name: FORMATS[name].steps for name in BLOCKS} == STEPS


def reference(raw: np.ndarray, format: str) -> np.ndarray:
    gguf = pytest.importorskip("gguf")
    return gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[format])


@pytest.mark.parametrize("format", BLOCKS)
def test_blocks_of_random_bytes_unpack_exactly(format: str):
    raw = random_bytes(format, 6, 3)
    got = dequantize(torch.from_numpy(raw), format, torch.float32)
    assert got.shape == (6, 3 * FORMATS[format].block)
    assert np.array_equal(got.numpy(), reference(raw, format))


def test_what_ggml_packs_comes_back_within_half_a_step():
    gguf = pytest.importorskip("gguf")
    numbers = np.random.default_rng(0).normal(size=(5, 96)).astype(np.float32)
    raw = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q8_0)
    got = dequantize(torch.from_numpy(raw), "Q8_0", torch.float32).numpy()
    steps = np.abs(numbers).reshape(5, 3, 32).max(-1, keepdims=True) / 127
    assert (np.abs(got - numbers).reshape(5, 3, 32) <= 0.51 * steps + 1e-7).all()
    assert np.array_equal(got, reference(raw, "Q8_0"))


@pytest.mark.parametrize(("format", "dtype"), [("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)])
def test_all_small_floats_are_themselves(format: str, dtype: torch.dtype):
    every = torch.arange(256, dtype=torch.uint8).view(16, 16)
    got = dequantize(every, format, torch.float32)
    assert torch.equal(got.nan_to_num(12345.0), every.view(dtype).float().nan_to_num(12345.0))


@pytest.mark.parametrize("format", ["F64", "F32", "F16", "BF16"])
def test_plain_numbers_are_themselves(format: str):
    numbers = torch.randn(3, 8, dtype=FORMATS[format].dtype)
    assert torch.equal(dequantize(numbers.view(torch.uint8), format, numbers.dtype), numbers)


@pytest.mark.parametrize("format", [*STORABLE, "BF16"])
def test_in_pieces_or_whole(format: str):
    raw = torch.from_numpy(random_bytes(format, 6, 8))
    for scale in (None, torch.rand(1) + 0.5, torch.rand(6) + 0.5):
        whole = dequantize(raw, format, torch.float32, scale, at_once=2**30)
        for at_once in (1, 2 * whole.shape[1], 4 * whole.shape[1]):
            pieces = dequantize(raw, format, torch.float32, scale, at_once)
            assert torch.equal(pieces.nan_to_num(), whole.nan_to_num()), f"{at_once} at once, scale {scale}"
        if scale is not None:
            plain = dequantize(raw, format, torch.float32)
            assert torch.equal((plain * scale[:, None]).nan_to_num(), whole.nan_to_num()), f"scale {scale}"


def test_a_loader_counts_the_same_bytes():
    counted = {name: SIZES[name] for name in FORMATS}
    assert counted == {name: (format.block, format.size) for name, format in FORMATS.items()}


def filled(format: str, scales: int = 0, bias: bool = True, dtype: torch.dtype = torch.float32) -> QuantizedLinear:
    blocks = 512 if FORMATS[format].block == 1 else 512 // FORMATS[format].block
    linear = QuantizedLinear(512, 6, format, bias=bias, scales=scales, dtype=dtype, device="meta")
    held = {"blocks": torch.from_numpy(random_bytes(format, 6, blocks))}
    if FORMATS[format].block == 1:
        held["blocks"] &= 0b1011_1111  # no infinities nor values past all measure
    if scales:
        held["scale"] = (torch.rand(scales) + 0.5).view(torch.uint8)
    if bias:
        held["bias"] = torch.randn(6).to(dtype)
    linear.load_state_dict(held, strict=True, assign=True)
    return linear


@pytest.mark.parametrize("format", STORABLE)
def test_a_stored_map_is_the_map_of_its_weight(format: str):
    x = torch.randn(2, 3, 512)
    for scales, bias in product([0, 1, 6], [True, False]):
        linear, case = filled(format, scales, bias), f"{scales} scales, bias {bias}"
        assert (linear.in_features, linear.out_features) == (512, 6), case
        assert linear.weight.shape == (6, 512) and linear.weight.dtype == torch.float32, case
        got = linear(x)
        assert torch.equal(got, nn.functional.linear(x, linear.weight, linear.bias)), case
        assert got.std() > 0.01, case


def test_casting_a_module_leaves_its_bytes_alone():
    linear = filled("F8_E4M3", scales=6)
    before = linear.weight
    whole = nn.Sequential(linear).to(torch.bfloat16)
    assert linear.blocks.dtype == torch.uint8
    assert linear.bias is not None and linear.bias.dtype == torch.bfloat16
    assert torch.equal(linear.weight, before)
    got: Tensor = whole(torch.ones(1, 512, dtype=torch.bfloat16))
    assert got.dtype == torch.bfloat16 and bool(got.isfinite().all())


def test_its_state_is_a_copy_of_it():
    one = filled("Q6_K", bias=True)
    other = QuantizedLinear(512, 6, "Q6_K")
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.weight, other.weight)


def test_compiles_whole():
    linear = filled("Q4_K")
    compiled = torch.compile(linear, backend="eager", fullgraph=True)
    x = torch.randn(2, 512)
    assert torch.allclose(compiled(x), linear(x), rtol=1e-6, atol=1e-6)


def test_a_linear_map_makes_room_for_its_stored_form():
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(512, 4), nn.Sequential(nn.Linear(512, 3, bias=False)))
    replace_with_quantized(module, "1.0", "Q5_K", dtype=torch.float16)
    stored = module.get_submodule("1.0")
    assert isinstance(stored, QuantizedLinear)
    assert stored.blocks.is_meta and stored.blocks.shape == (3, 352)
    assert stored.bias is None and stored.dtype == torch.float16
    assert isinstance(module[0], nn.Linear)


def test_only_linear_maps_of_whole_blocks_are_stored():
    module = nn.Sequential(nn.Linear(40, 4), nn.Embedding(4, 512), nn.Linear(512, 2))
    for path, format in (("0", "Q8_0"), ("1", "Q8_0"), ("2", "BF16")):
        with pytest.raises(ValueError, match="stored"):
            replace_with_quantized(module, path, format)
