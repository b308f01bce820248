"""The files of a Wan model's components, and their networks without weights. No weight is read here.

A model is a folder in diffusers' layout, or a transformer of a person's own (one file, a folder of shards, or two
folders with Wan 2.2's experts) that is completed with the other components of its base model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sora import weights
from sora.catalog import hub, wan_experts
from sora.catalog.spec import ModelSpec
from sora.catalog.wan import MODELS
from sora.catalog.wan_keys import KEY_MAPS
from sora.errors import ModelError
from sora.networks.clip_vision import CLIPVision, CLIPVisionConfig
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan import vace
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.skip_init import SkipInit
from sora.storage import regular
from sora.storage.stand_in import damage

EXPERTS = ("transformer", "transformer_2")
HEAD_DIM = 128
CONFIGS = {name: WanConfig(**row.sizes) for name, row in MODELS.items()}
"""The configurations of the published transformers, by their row in ``catalog``."""

FROM_JSON: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "vae": lambda config: WanVAE(WanVAEConfig.from_json(config)),
    "text_encoder": lambda config: UMT5(UMT5Config.from_json(config)),
    "image_encoder": lambda config: CLIPVision(CLIPVisionConfig.from_json(config)),
    **dict.fromkeys(EXPERTS, lambda config: vace.build_transformer(WanConfig.from_json(config))),
}


def component_paths(spec: ModelSpec) -> dict[str, Path]:
    """The folder or file of each component, "tokenizer" too. Raises ModelError where a required one is missing, with
    the command that downloads it."""
    folder = hub.local_path(spec)
    if (folder / "model_index.json").is_file():
        return {name: folder / name for name in (*FROM_JSON, "tokenizer") if _is_part(spec, name)}
    if wan_experts.is_original(folder):
        transformers = tuple(folder / name for name in wan_experts.ORIGINAL_FOLDERS)
    else:
        transformers = tuple(dict.fromkeys(spec.own_paths))  # a merge of both experts is named twice
    return _base_components(MODELS[spec.base_model]) | dict(zip(EXPERTS, transformers, strict=False))


def _is_part(spec: ModelSpec, name: str) -> bool:
    return any(file.startswith(f"{name}/") for file in spec.files)


def _base_components(row: ModelSpec) -> dict[str, Path]:
    """All components of a base model but its transformer, which need not be downloaded. They are the same in all
    models of an autoencoder, of which any that is here will do. Raises ModelError."""
    names = [name for name in ("vae", "text_encoder", "tokenizer", "image_encoder") if _is_part(row, name)]
    rows = [row, *(each for each in MODELS.values() if each.grid == row.grid and each.name != row.name)]
    donors = [each for each in rows if all(_is_part(each, name) for name in names)]
    for donor in donors:
        folder = hub.local_copy(donor).folder
        wanted = tuple(file for file in donor.files if file.split("/")[0] in names)
        if folder is not None and not any(hub.missing(folder, wanted)):
            return {name: folder / name for name in names}
    least = min(donors, key=lambda donor: donor.bytes)
    problem = f"a transformer alone paints nothing: the {names[0]} of {row.name} is not here"
    where = "" if least == row else f", which has the same in {hub.gigabytes(least.bytes)}"
    raise ModelError(f"{problem}; fetch it with: sora models pull {least.name}{where}")


def meta_module(spec: ModelSpec, name: str, path: Path | None) -> nn.Module:
    """A component without weights, on the meta device. Its sizes are those of its config.json, or for a transformer of
    the shapes of its tensors; where ``path`` is None, those of the published model. Raises ModelError."""
    with torch.device("meta"), SkipInit():  # to initialise on the meta device would import torch's compiler
        if path is None:
            return _published_network(spec, name)
        config = path / "config.json"
        if name in EXPERTS and not config.is_file():
            return vace.build_transformer(_config_from_shapes(path))
        try:
            settings = regular.read_json(config)
            if not isinstance(settings, dict):
                raise ValueError("it is no table of settings")
            return FROM_JSON[name](settings)
        except (OSError, ValueError, TypeError, RuntimeError) as error:  # torch refuses sizes that do not fit together
            problem = damage(config, getattr(error, "strerror", None) or error)
            raise ModelError(f"{config} is {problem}") from None


def _published_network(spec: ModelSpec, name: str) -> nn.Module:
    if name == "vae":
        return WanVAE(WAN22 if spec.grid.space == 16 else WAN21)
    if name == "text_encoder":
        return UMT5(UMT5Config())
    if name == "image_encoder":
        return CLIPVision(CLIPVisionConfig())
    return vace.build_transformer(WanConfig(**spec.sizes))


def _config_from_shapes(path: Path) -> WanConfig:
    """A transformer's configuration from the shapes of its tensors. A head has 128 channels, as in all of Wan's."""
    shapes = weights.checkpoint_shapes(path, rules=KEY_MAPS["transformer"])
    try:
        (dim, channels, *patch), embedder = shapes["patch_embedding.weight"], "condition_embedder."
        layers, vace_layers = (_count(shapes, stem) for stem in ("blocks.", "vace_blocks."))
        image_norm = shapes.get(embedder + "image_embedder.norm1.weight")
        positions = embedder + "image_embedder.pos_embed"
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
            image_dim=None if image_norm is None else image_norm[0],
            pos_embed_seq_len=shapes[positions][1] if positions in shapes else None,
            vace_layers=tuple(range(0, layers, layers // vace_layers)) if vace_layers else (),
            vace_in_channels=shapes["vace_patch_embedding.weight"][1] if vace_layers else WanConfig.vace_in_channels,
            inject_sample_info="fps_embedding.weight" in shapes,
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{path} holds no transformer of Wan's that sora knows ({error}); choose another") from None


def _count(shapes: Mapping[str, tuple[int, ...]], stem: str) -> int:
    """How many modules a ``ModuleList`` has."""
    return len({name.split(".")[1] for name in shapes if name.startswith(stem)})
