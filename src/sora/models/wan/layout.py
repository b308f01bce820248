"""Where the parts of a Wan model stand, and the networks they fill: found without reading a weight.

A model is a folder in diffusers' layout, or a transformer of one's own (one file, a folder of shards, two folders of
Wan 2.2's experts), beside the other parts of the row it is like.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sora import weights
from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.catalog.wan import MODELS
from sora.catalog.wan_keys import KEY_MAPS
from sora.errors import ModelError
from sora.networks.clip_vision import CLIPVision, CLIPVisionConfig
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan import vace
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig

EXPERTS = ("transformer", "transformer_2")
HEAD_DIM = 128
ORIGINAL_FOLDERS = dict(zip(EXPERTS, ("high_noise_model", "low_noise_model"), strict=True))
CONFIGS = {name: WanConfig(**row.sizes) for name, row in MODELS.items()}
"""The published transformers, by the row of ``catalog``."""

FROM_JSON: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "vae": lambda config: WanVAE(WanVAEConfig.from_json(config)),
    "text_encoder": lambda config: UMT5(UMT5Config.from_json(config)),
    "image_encoder": lambda config: CLIPVision(CLIPVisionConfig.from_json(config)),
    **dict.fromkeys(EXPERTS, lambda config: vace.build(WanConfig.from_json(config))),
}


def component_paths(spec: ModelSpec) -> dict[str, Path]:
    """Part to the folder or file that holds it, "tokenizer" too. Raises ModelError where one that is needed is not
    here, saying how to fetch it."""
    if spec.folder is None:
        return _within(hub.path(spec))
    if (spec.folder / "model_index.json").is_file():
        return _within(spec.folder)
    two = [spec.folder / name for name in ORIGINAL_FOLDERS.values()]
    own = dict(zip(EXPERTS, two, strict=True)) if two[0].is_dir() else {EXPERTS[0]: spec.folder}
    return _beside(MODELS[spec.like]) | own


def _within(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in (*FROM_JSON, "tokenizer") if (folder / name).is_dir()}


def _beside(row: ModelSpec) -> dict[str, Path]:
    """All but the transformer of a row; of that no more need be here."""
    folder = hub.here(row).folder
    found = {} if folder is None else _within(folder)
    missing = [name for name in ("vae", "text_encoder", "tokenizer") if name not in found]
    if missing:
        told = f"a transformer alone paints nothing: the {missing[0]} of {row.name} is not here"
        raise ModelError(f"{told}; fetch it with: sora models pull {row.name}")
    return {name: place for name, place in found.items() if name not in EXPERTS}


def meta_module(spec: ModelSpec, name: str, path: Path | None) -> nn.Module:
    """A part on the meta device: of the sizes that its own config.json tells, or a transformer's own tensors; where
    ``place`` is None, of those published for the row. Raises ModelError."""
    with torch.device("meta"):
        if path is None:
            return _published(spec, name)
        told = path / "config.json"
        if name in EXPERTS and not told.is_file():
            return vace.build(_measured(path))
        try:
            return FROM_JSON[name](json.loads(told.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{told} is not understood ({error}); download it again") from None


def _published(spec: ModelSpec, name: str) -> nn.Module:
    if name == "vae":
        return WanVAE(WAN22 if spec.grid.space == 16 else WAN21)
    if name == "text_encoder":
        return UMT5(UMT5Config())
    if name == "image_encoder":
        return CLIPVision(CLIPVisionConfig())
    return vace.build(WanConfig(**spec.sizes))


def _measured(place: Path) -> WanConfig:
    """A transformer's sizes, by the shapes of its tensors. Heads are of 128 channels, as all of Wan's are."""
    shapes = weights.checkpoint_shapes(place, kind=KEY_MAPS["transformer"])
    try:
        (dim, channels, *patch), embedder = shapes["patch_embedding.weight"], "condition_embedder."
        layers, hints = (_count(shapes, stem) for stem in ("blocks.", "vace_blocks."))
        seen, places = shapes.get(embedder + "image_embedder.norm1.weight"), embedder + "image_embedder.pos_embed"
        return WanConfig(
            num_layers=layers,
            heads=dim // HEAD_DIM,
            head_dim=HEAD_DIM,
            in_channels=channels,
            out_channels=shapes["proj_out.weight"][0] // math.prod(patch),
            text_dim=shapes[embedder + "text_embedder.linear_1.weight"][1],
            freq_dim=shapes[embedder + "time_embedder.linear_1.weight"][1],
            ffn_dim=shapes["blocks.0.ffn.net.0.proj.weight"][0],
            patch=(patch[0], patch[1], patch[2]),
            cross_attn_norm="blocks.0.norm2.weight" in shapes,
            image_dim=None if seen is None else seen[0],
            pos_embed_seq_len=shapes[places][1] if places in shapes else None,
            vace_layers=tuple(range(0, layers, layers // hints)) if hints else (),
            vace_in_channels=shapes["vace_patch_embedding.weight"][1] if hints else WanConfig.vace_in_channels,
            inject_sample_info="fps_embedding.weight" in shapes,
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{place} holds no transformer of Wan's that sora knows ({error}); choose another") from None


def _count(shapes: Mapping[str, tuple[int, ...]], stem: str) -> int:
    """Modules of a list."""
    return len({name.split(".")[1] for name in shapes if name.startswith(stem)})
