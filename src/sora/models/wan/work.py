"""The arithmetic of a Wan model, from the sizes of its networks: those that its files say, or the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from sora.catalog import hub
from sora.catalog.spec import ModelSpec
from sora.models.layer_work import TransformerWork
from sora.models.wan import vae_work
from sora.models.wan.vae_work import decoding, encoding
from sora.models.work import GIGA, TERA, CanvasWork
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vae_config import WAN21, WAN22, WanVAEConfig
from sora.storage import regular

WORDS = 512  # places of a text; shorter ones are padded
UMT5 = {"d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "num_layers": 24, "vocab_size": 256384}
IMAGE_TOKENS = 257  # of one picture
IMAGE_LAYERS, IMAGE_WIDTH, IMAGE_FFN = 32, 1280, 5120  # of ViT-H/14
CONFIG_BYTES = 1 << 20  # of a configuration, at most


def encodes_canvas(spec: ModelSpec, *, known: bool) -> bool:
    """Whether a pass sees an encoding of its canvas. known: whether any of its pixels is."""
    return known or spec.conditioning in ("channels", "control")


def canvas_work(
    spec: ModelSpec,
    shape_FYX: tuple[int, int, int],
    *,
    encodes: bool,
    references: int = 0,
) -> CanvasWork:
    """See ``models.CountsWork``. A control branch is given two clips, what is kept and what is repainted, and a
    reference is encoded as one picture."""
    folder = hub.local_copy(spec).folder
    config, vae = _transformer_config(spec, folder), vae_work.sizes_of(_vae_config(spec, folder))
    _, length, height, width = spec.grid.latent_shape(*shape_FYX)
    clip, picture = (length, height, width), (1, height, width)
    tokens = (length + references) * height * width // prod(config.patch)
    dit = _transformer(config)
    clips = (2 if config.vace_layers else 1) if encodes_canvas(spec, known=encodes) else 0
    parameters = {"transformer": dit.parameters, "vae": vae.parameters, "text_encoder": _text_parameters(folder)}
    has_image_encoder = config.image_dim is not None
    if has_image_encoder:
        parameters["image_encoder"] = IMAGE_LAYERS * _block(IMAGE_WIDTH, IMAGE_FFN)
    return CanvasWork(
        dit.linear(tokens) / TERA,
        dit.attention(tokens) / TERA,
        dit.text_attention(tokens) / TERA,
        dit.elements(tokens) / GIGA,
        encode=clips * encoding(vae, clip) + references * encoding(vae, picture),
        decode=decoding(vae, clip),
        text=2 * WORDS * _text_blocks(folder) / TERA,
        image=2 * IMAGE_TOKENS * parameters.get("image_encoder", 0) / TERA,
        parameters={name: count / GIGA for name, count in parameters.items()},
        in_blocks=dit.in_blocks / GIGA,
        blocks=dit.blocks,
        loads_late=True,
    )


def _transformer(config: WanConfig) -> TransformerWork:
    patch = prod(config.patch)
    return TransformerWork(
        config.num_layers,
        config.dim,
        config.ffn_dim,
        (WORDS, config.text_dim),
        config.in_channels * patch,
        config.out_channels * patch,
        control_layers=len(config.vace_layers),
        control_inputs=config.vace_in_channels * patch if config.vace_layers else 0,
        image=(0, 0) if config.image_dim is None else (config.pos_embed_seq_len or IMAGE_TOKENS, config.image_dim),
    )


def _transformer_config(spec: ModelSpec, folder: Path | None) -> WanConfig:
    try:
        return WanConfig.from_json(_settings(folder, "transformer"))
    except ValueError:  # of the row that it is like; loading says what is wrong with the file
        return WanConfig(**spec.sizes)


def _vae_config(spec: ModelSpec, folder: Path | None) -> WanVAEConfig:
    found, usual = _settings(folder, "vae"), WAN22 if spec.grid.space == 16 else WAN21
    try:
        return WanVAEConfig.from_json(found) if found else usual
    except ValueError:  # loading says what is wrong with the file
        return usual


def _text_blocks(folder: Path | None) -> int:
    """Parameters of the text encoder's blocks."""
    c = _text_sizes(folder)
    inside = c["d_kv"] * c["num_heads"]
    return c["num_layers"] * (4 * c["d_model"] * inside + 3 * c["d_model"] * c["d_ff"])


def _text_parameters(folder: Path | None) -> int:
    c = _text_sizes(folder)
    return _text_blocks(folder) + c["vocab_size"] * c["d_model"]


def _text_sizes(folder: Path | None) -> Mapping[str, int]:
    found = {name: _settings(folder, "text_encoder").get(name) for name in UMT5}
    return UMT5 if any(type(value) is not int for value in found.values()) else found  # type: ignore[return-value]


def _block(width: int, ffn: int) -> int:
    """Parameters of a block of a vision transformer."""
    return 4 * width**2 + 2 * width * ffn


def _settings(folder: Path | None, name: str) -> Mapping[str, Any]:
    """A network's configuration; an empty one where there is none that can be read."""
    if folder is None:
        return {}
    try:
        found = regular.read_json(folder / name / "config.json", CONFIG_BYTES)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
