"""The published networks: ours have the parameters of diffusers' networks, by name, shape and number."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from torch import nn

from sora import memory
from sora.catalog.spec import MEMORY
from sora.catalog.wan_rows import MODELS
from sora.models.wan import memory_needs
from sora.models.wan.layout import CONFIGS
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vace import build_transformer

Said = dict[str, Any]
KINDS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (WanTransformer3DModel, WanVACETransformer3DModel, SkyReelsV2Transformer3DModel)
}

# As the folders' transformer/config.json have it.
SHARED: Said = {
    "_class_name": "WanTransformer3DModel",
    "_diffusers_version": "0.33.0",
    "added_kv_proj_dim": None,
    "attention_head_dim": 128,
    "cross_attn_norm": True,
    "eps": 1e-06,
    "freq_dim": 256,
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": [1, 2, 2],
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "text_dim": 4096,
}
SMALL: Said = SHARED | {"ffn_dim": 8960, "num_attention_heads": 12, "num_layers": 30}
LARGE: Said = SHARED | {"ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}
SEEING: Said = LARGE | {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}
LED: Said = {"_class_name": "WanVACETransformer3DModel", "vace_in_channels": 96}
PUBLISHED: dict[str, Said] = {
    "wan2.1-1.3b": SMALL,
    "wan2.1-14b": LARGE,
    "wan2.1-i2v-14b-480p": SEEING,
    "wan2.1-i2v-14b-720p": SEEING,
    "wan2.1-flf2v-14b": SEEING | {"pos_embed_seq_len": 514},
    "wan2.1-vace-1.3b": SMALL | LED | {"vace_layers": [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28]},
    "wan2.1-vace-14b": LARGE | LED | {"vace_layers": [0, 5, 10, 15, 20, 25, 30, 35]},
    "wan2.1-fun-1.3b-inp": SMALL | {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 1536},
    "wan2.2-ti2v-5b": SHARED
    | {"in_channels": 48, "out_channels": 48, "ffn_dim": 14336, "num_attention_heads": 24, "num_layers": 30},
    "wan2.2-t2v-a14b": LARGE,
    "wan2.2-i2v-a14b": LARGE | {"in_channels": 36},
    "wan2.2-vace-fun-a14b": LARGE | LED | {"vace_layers": [0, 5, 10, 15, 20, 25, 30, 35]},
    "fastwan2.1-1.3b": SMALL,
    "fastwan2.1-14b": LARGE,
    "fastwan2.2-ti2v-5b": SHARED
    | {"in_channels": 48, "out_channels": 48, "ffn_dim": 14336, "num_attention_heads": 24, "num_layers": 30},
    "skyreels-v2-df-1.3b": SMALL
    | {"_class_name": "SkyReelsV2Transformer3DModel", "inject_sample_info": True, "num_frame_per_block": 1},
}


@cache
def theirs(name: str) -> Any:
    said = PUBLISHED[name]
    arguments = {key: value for key, value in said.items() if not key.startswith("_")}
    with torch.device("meta"):
        return KINDS[said["_class_name"]](**arguments)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_every_published_network_is_here() -> None:
    assert CONFIGS.keys() == PUBLISHED.keys()


def test_same_names_and_shapes() -> None:
    for name in PUBLISHED:
        with torch.device("meta"):
            ours = build_transformer(CONFIGS[name])
        assert shapes(ours) == shapes(theirs(name)), name


def test_read_from_what_the_folder_says() -> None:
    for name in PUBLISHED:
        assert WanConfig.from_json(PUBLISHED[name]) == CONFIGS[name], name
        assert WanConfig.from_json(json.loads(theirs(name).to_json_string())) == CONFIGS[name], name


# As counted in the published files by those who loaded them.
TOTALS = {
    "wan2.1-1.3b": 1_418_996_800,
    "wan2.1-14b": 14_288_491_584,
    "wan2.2-t2v-a14b": 14_288_491_584,
    "wan2.2-i2v-a14b": 14_288_901_184,
    "wan2.2-ti2v-5b": 4_999_787_712,
}
# To the tenth of a billion, as the hub tells it.
BILLIONS = {"wan2.1-i2v-14b-720p": 16.4, "wan2.1-flf2v-14b": 16.4, "wan2.1-vace-14b": 17.3}


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name: str) -> None:
    assert total(name) == TOTALS[name]


@pytest.mark.parametrize("name", BILLIONS)
def test_totals_in_billions(name: str) -> None:
    assert round(total(name) / 1e9, 1) == BILLIONS[name]


def total(name: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_transformer(CONFIGS[name]).parameters())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"_class_name": "WanAnimateTransformer3DModel"}, "WanAnimateTransformer3DModel"),
        ({"num_layers": None}, "num_layers is None"),
        ({"num_attention_heads": "12"}, "num_attention_heads is '12'"),
        ({"ffn_dim": True}, "ffn_dim is True"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"out_channels": 0}, "out_channels is 0"),
        ({"patch_size": [2, 2]}, "patch_size"),
        ({"patch_size": 2}, "patch_size"),
        ({"qk_norm": "rms_norm"}, "qk_norm is 'rms_norm'"),
        ({"qk_norm": None}, "qk_norm is None"),
        ({"eps": None}, "eps is None"),
        ({"image_dim": 1280}, "added_kv_proj_dim is None"),
        ({"added_kv_proj_dim": 1536}, "added_kv_proj_dim is 1536"),
        ({"image_dim": 1280, "added_kv_proj_dim": 64}, "added_kv_proj_dim is 64"),
        ({"pos_embed_seq_len": 514}, "pos_embed_seq_len"),
        ({"num_frame_per_block": 5}, "num_frame_per_block is 5"),
        ({"face_encoder_num_heads": 4}, "face_encoder_num_heads = 4"),
        ({"vace_layers": [0, 2]}, "vace_layers"),
        ({"_class_name": "WanVACETransformer3DModel"}, "vace_layers is None"),
        (LED | {"vace_layers": []}, r"vace_layers is \[\]"),
        (LED | {"vace_layers": [0, 30]}, "at most 29"),
        (LED | {"vace_layers": [0, "2"]}, "vace_layers is '2'"),
    ],
)
def test_refuses_what_it_cannot_build(changes: Said, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        WanConfig.from_json(SMALL | changes)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)


def test_unsaid_output_channels_are_those_that_go_in() -> None:
    assert WanConfig.from_json(SMALL | {"in_channels": 48, "out_channels": None}).out_channels == 48


def test_a_row_says_what_its_own_size_takes() -> None:
    for name in ("wan2.1-1.3b", "wan2.2-vace-fun-a14b", "fastwan2.2-ti2v-5b"):
        row = MODELS[name]
        shape = (row.defaults.frames, *row.film_size())
        needed = memory_needs(row, shape, torch.device("cuda"), torch.bfloat16, encodes=False)
        by_name = {plan.name: plan for plan in memory.PLANS_BY_SPEED}
        found = {plan: memory.estimate(needed, by_name[plan]) for plan in MEMORY}
        most = {plan: max(each.phase(phase).total for phase in memory.PHASES) for plan, each in found.items()}
        assert {plan: round(value / 1e9, 1) for plan, value in most.items()} == row.memory, name
