"""Our image encoder and what it is shown against transformers: same picture, same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModel
from transformers import CLIPVisionConfig as TheirConfig

from sora.models.wan.image import preprocess
from sora.networks.clip_vision import PREFIX, CLIPVision, CLIPVisionConfig

SMALL = CLIPVisionConfig(hidden=24, intermediate=40, num_layers=3, heads=3, image=42, patch=14)
CASES = {
    "small": SMALL,
    "head of 20, as ViT-H has 80": CLIPVisionConfig(40, 60, 4, 2, 32, 8),
    "quick gelu": CLIPVisionConfig(16, 24, 3, 2, 24, 8, act="quick_gelu", eps=1e-3),
    "a rim that no patch covers": CLIPVisionConfig(24, 40, 2, 3, 30, 14),
    "one layer, which never runs": CLIPVisionConfig(24, 40, 1, 3, 28, 14),
}


def theirs(config: CLIPVisionConfig) -> CLIPVisionModel:
    return CLIPVisionModel(
        TheirConfig(
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.heads,
            image_size=config.image,
            patch_size=config.patch,
            hidden_act=config.act,
            layer_norm_eps=config.eps,
        )
    )


def bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


def pair(config: CLIPVisionConfig) -> tuple[CLIPVision, CLIPVisionModel]:
    """Both networks with the same lively random weights: every bias, norm and place counts."""
    torch.manual_seed(0)
    reference = theirs(config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.normal_(std=1.0 if "position" in name else 1.2 * fan_in**-0.5)
            if "norm" in name or "layrnorm" in name:
                parameter.add_(1.0 if name.endswith("weight") else 0.0)
    ours = CLIPVision(config).eval()
    ours.load_state_dict(bare(reference.state_dict()), strict=True)
    return ours, reference


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_same_last_state_but_one(case: str) -> None:
    config = CASES[case]
    ours, reference = pair(config)
    pixels = torch.randn(2, 3, config.image, config.image)
    states = reference(pixels, output_hidden_states=True).hidden_states
    assert len(states) == config.num_layers + 1 and float(states[-2].std()) > 0.3
    got = ours(pixels)
    assert got.shape == (2, config.tokens, config.hidden)
    assert distance(got, states[-2]) <= 1e-5
    assert distance(got, states[-1]) > 1e-2


@torch.no_grad()
def test_as_near_in_bfloat16() -> None:
    ours, reference = pair(SMALL)
    pixels = torch.randn(2, 3, 42, 42)
    exact = ours(pixels)
    got = ours.bfloat16()(pixels)
    want = reference.bfloat16()(pixels, output_hidden_states=True).hidden_states[-2]
    assert got.dtype == torch.bfloat16
    assert distance(got.float(), exact) <= 1.2 * distance(want.float(), exact)


def test_same_names_and_shapes_as_the_true_size() -> None:
    with torch.device("meta"):
        ours, reference = CLIPVision(CLIPVisionConfig()), theirs(CLIPVisionConfig())
    want = {name: tensor.shape for name, tensor in bare(reference.state_dict()).items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == want
    assert sum(p.numel() for p in ours.parameters()) == 630_766_080
    assert ours.config.tokens == 257


def test_loads_a_saved_folder(tmp_path: Path) -> None:
    ours, reference = pair(CASES["quick gelu"])
    reference.save_pretrained(tmp_path)
    config = CLIPVisionConfig.from_json(json.loads((tmp_path / "config.json").read_text()))
    assert config == ours.config
    again = CLIPVision(config)
    again.load_state_dict(bare(load_file(tmp_path / "model.safetensors")), strict=True)
    assert torch.equal(again.post_layernorm.weight, ours.post_layernorm.weight)


def test_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"3 x 42 x 42 pixels, not \(3, 42, 56\)"):
        pair(SMALL)[0](torch.zeros(1, 3, 42, 56))


@pytest.mark.parametrize(
    "config, complaint",
    [({"hidden_act": "relu"}, "'relu'; known are gelu, quick_gelu"), ({"hidden_size": 8}, "lacks intermediate_size")],
)
def test_refuses_a_config_it_cannot_follow(config: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        CLIPVisionConfig.from_json(config)


@settings(max_examples=15)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_same_picture(height: int, width: int, seed: int) -> None:
    if max(height, width) > 12 * min(height, width):
        width = height
    image_YXC = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    want = CLIPImageProcessor()(images=Image.fromarray(image_YXC), return_tensors="pt").pixel_values
    got = preprocess(image_YXC)
    assert got.shape == want.shape == (1, 3, 224, 224) and got.dtype == want.dtype == torch.float32
    assert float((got - want).abs().max()) <= 1e-6
