"""Checkpoints in eight-bit floats, plain and as ComfyUI scales them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sora import weights
from sora.models.wan import KEY_MAPS
from sora.runtime.quantized import QuantizedLinear, replace_with_quantized
from test_checkpoints import STATE, load, refusal


def eight_bits(state: dict[str, Tensor], scale: Tensor | None) -> dict[str, Tensor]:
    """The maps' and embeddings' weights in float8."""
    wide = torch.ones(1) if scale is None else scale.reshape(-1, 1).float()
    packed = {"map.weight": (state["map.weight"] / wide).to(torch.float8_e4m3fn)}
    return state | packed | {"words.weight": state["words.weight"].to(torch.float8_e4m3fn)}


SCALES = {"one": torch.tensor(0.0173), "in a row": torch.tensor([0.5]), "a row": torch.rand(6) + 0.1}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scaled_float8_stays_in_eight_bits(tmp_path: Path, scale: str, name: str, dtype: torch.dtype):
    held = eight_bits(STATE, SCALES[scale]) | {f"map.{name}": SCALES[scale]}
    if name == "scale_weight":
        held |= {"scaled_fp8": torch.empty(2).to(torch.float8_e4m3fn), "map.scale_input": torch.ones(())}
    else:
        said = json.dumps({"format": "float8_e4m3fn", "full_precision_matrix_mult": True}).encode()
        held |= {
            "map.comfy_quant": torch.frombuffer(bytearray(said), dtype=torch.uint8),
            "map.input_scale": torch.ones(()),
        }
    save_file({f"model.diffusion_model.{n}": t for n, t in held.items()}, tmp_path / "a.safetensors")
    module = load(tmp_path, dtype)
    assert isinstance(module.map, QuantizedLinear) and module.map.blocks.dtype == torch.uint8
    want = (held["map.weight"].float() * SCALES[scale].reshape(-1, 1)).to(dtype)
    assert torch.equal(module.map.weight, want)
    assert torch.equal(module.words.weight, held["words.weight"].to(dtype))
    assert module.map.bias is not None
    assert torch.equal(module.map.bias, STATE["map.bias"].to(dtype))


def test_without_a_store_every_weight_is_unpacked(tmp_path: Path):
    held = eight_bits(STATE, SCALES["a row"]) | {"map.scale_weight": SCALES["a row"]}
    save_file(held, tmp_path / "a.safetensors")
    module = load(tmp_path, store=None)
    assert type(module.map) is nn.Linear
    assert torch.equal(module.map.weight, held["map.weight"].float() * SCALES["a row"].reshape(-1, 1))


@pytest.mark.parametrize("small", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_everything_in_plain_float8(tmp_path: Path, small: torch.dtype):
    held = {name: tensor.to(small) for name, tensor in STATE.items()}
    save_file(held, tmp_path / "a.safetensors")
    module = load(tmp_path, torch.bfloat16)
    assert isinstance(module.map, QuantizedLinear)
    assert torch.equal(module.map.weight, held["map.weight"].bfloat16())
    for name in ("norm1.weight", "kernel.weight", "words.weight", "scale_shift_table", "map.bias"):
        got = module.state_dict()[name]
        assert torch.equal(got.float(), held[name].float())


def test_a_scale_counts_for_what_is_no_linear_map_too(tmp_path: Path):
    held = eight_bits(STATE, None) | {"words.scale_weight": torch.tensor(0.25)}
    save_file(held, tmp_path / "a.safetensors")
    assert torch.equal(load(tmp_path).words.weight, held["words.weight"].float() * 0.25)


@pytest.mark.parametrize(
    ("extra", "fragment"),
    [
        ({"gone.scale_weight": torch.ones(())}, "gone.scale_weight () is the scale of no weight"),
        ({"map.weight_scale": torch.ones(6, 2)}, "map.weight_scale (6, 2) is the scale of no weight"),
        ({"map.weight_scale": torch.ones(1, dtype=torch.uint8)}, "map.weight_scale (1,) is the scale of no weight"),
        ({"map.comfy_quant": torch.frombuffer(bytearray(b'{"format": "nvfp4"}'), dtype=torch.uint8)}, "as nvfp4"),
        ({"map.comfy_quant": torch.frombuffer(bytearray(b"[]"), dtype=torch.uint8)}, "something unknown"),
        ({"map.comfy_quant": torch.zeros(5000, dtype=torch.uint8)}, "something unknown"),
    ],
)
def test_scales_that_fit_nothing_are_refused(tmp_path: Path, extra: dict[str, Tensor], fragment: str):
    save_file(eight_bits(STATE, None) | extra, tmp_path / "a.safetensors")
    assert fragment in refusal(tmp_path)


def test_a_stored_map_computes_in_float32_where_its_sums_want_it(tmp_path: Path):
    with torch.device("meta"):
        module = nn.ModuleDict({"wi": nn.Linear(8, 4, bias=False), "wo": nn.Linear(4, 8, bias=False)})
    held = {name: torch.randn(tensor.shape).to(torch.float8_e4m3fn) for name, tensor in module.state_dict().items()}
    save_file(held, tmp_path / "model.safetensors")
    weights.load_checkpoint(module, tmp_path, rules=KEY_MAPS["text"], dtype=torch.float16, store=replace_with_quantized)
    assert all(isinstance(part, QuantizedLinear) for part in module.values())
    assert [part.weight.dtype for part in module.values()] == [torch.float16, torch.float32]
    assert isinstance(module["wo"].weight, Tensor) and torch.equal(module["wo"].weight, held["wo.weight"].float())
    assert module["wo"](torch.ones(1, 4)).dtype == torch.float32
