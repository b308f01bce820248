"""Tiny Wan models with random weights, made without diffusers: folders in its layout, and transformers as single files
under Wan's own names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sora.models.wan.layout import FROM_JSON

TEXT, SEEN = 24, 20  # widths of the text encoder and of the image encoder
WORDS = ["<pad>", "</s>", "<unk>", "▁a", "▁red", "▁cat", *"▁abcdefghijklmnopqrstuvwxyz"]

_DIT: dict[str, Any] = {
    "_class_name": "WanTransformer3DModel",
    "num_layers": 2,
    "num_attention_heads": 1,
    "attention_head_dim": 128,
    "ffn_dim": 256,
    "patch_size": [1, 2, 2],
    "text_dim": TEXT,
    "freq_dim": 32,
    "in_channels": 16,
    "out_channels": 16,
}
_SEES = {"in_channels": 36, "image_dim": SEEN, "added_kv_proj_dim": 128}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "t2v": _DIT,
    "t2v-a14b": _DIT,
    "i2v": _DIT | _SEES,
    "i2v-a14b": _DIT | {"in_channels": 36},
    "vace": _DIT | {"_class_name": "WanVACETransformer3DModel", "vace_layers": [0, 1], "vace_in_channels": 96},
}
CONFIGS: dict[str, dict[str, Any]] = {
    "vae": {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1},
    "text_encoder": {
        "vocab_size": len(WORDS),
        "d_model": TEXT,
        "d_kv": 6,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 4,
    },
    "image_encoder": {
        "hidden_size": SEEN,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 224,
        "patch_size": 56,
    },
}
CLASSES = {
    "transformer": "WanTransformer3DModel",
    "vae": "AutoencoderKLWan",
    "text_encoder": "UMT5EncoderModel",
    "tokenizer": "T5TokenizerFast",
    "scheduler": "UniPCMultistepScheduler",
    "image_encoder": "CLIPVisionModel",
    "image_processor": "CLIPImageProcessor",
}


def state(name: str, config: Mapping[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Random weights of a component, under which every number counts."""
    torch.manual_seed(seed)
    found: dict[str, np.ndarray] = {}
    for key, tensor in FROM_JSON[name](config).state_dict().items():
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
        is_norm = ("norm" in key and key.endswith("weight")) or key.endswith("gamma")
        found[key] = (torch.randn(tensor.shape) * fan_in**-0.5 + is_norm).numpy()
    return found


def folder(place: Path, kind: str = "t2v") -> Path:
    """A whole model in diffusers' layout, of a kind of TRANSFORMERS."""
    two = kind.endswith("a14b")
    parts = {**CONFIGS, "transformer": TRANSFORMERS[kind], **({"transformer_2": TRANSFORMERS[kind]} if two else {})}
    parts = {name: config for name, config in parts.items() if name != "image_encoder" or kind == "i2v"}
    index: dict[str, Any] = {"_class_name": "WanPipeline", "boundary_ratio": 0.875 if two else None}
    names = [*parts, "tokenizer", "scheduler", *(["image_processor"] if kind == "i2v" else [])]
    index |= {name: ["diffusers", CLASSES[name.removesuffix("_2")]] for name in names}
    index |= {name: [None, None] for name in ("transformer_2", "image_encoder") if name not in names}
    for seed, (name, config) in enumerate(parts.items()):
        _json(place / name / "config.json", config)
        save_file(state(name, config, seed), place / name / f"{_stem(name)}.safetensors")
    _json(place / "model_index.json", index)
    _json(place / "scheduler/scheduler_config.json", {"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0})
    if kind == "i2v":
        _json(place / "image_processor/preprocessor_config.json", {})
    tokenizer(place / "tokenizer/tokenizer.json")
    return place


def _stem(name: str) -> str:
    return "model" if name.endswith("encoder") else "diffusion_pytorch_model"


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def tokenizer(path: Path) -> None:
    made = Tokenizer(models.Unigram([(word, -1.0 * (i > 2)) for i, word in enumerate(WORDS)], unk_id=2))  # type: ignore[call-arg]
    made.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])  # type: ignore[assignment]
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(path))


def set_index(place: Path, **values: Any) -> None:
    """Changes a model_index.json; None removes an entry."""
    index = json.loads((place / "model_index.json").read_text()) | values
    _json(place / "model_index.json", {key: value for key, value in index.items() if value is not None})


_ORIGINAL = (  # diffusers' names -> Wan's own
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
    (r"attn2\.add_([kv])_proj", r"cross_attn.\1_img"),
    (r"attn2\.norm_added_k", "cross_attn.norm_k_img"),
    (r"attn1\.to_([qkv])\b", r"self_attn.\1"),
    (r"attn2\.to_([qkv])\b", r"cross_attn.\1"),
    (r"attn1\.to_out\.0", "self_attn.o"),
    (r"attn2\.to_out\.0", "cross_attn.o"),
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    (r"ffn\.net\.0\.proj", "ffn.0"),
    (r"ffn\.net\.2", "ffn.2"),
    (r"(?<!_)\bnorm2\b", "norm3"),
    (r"^scale_shift_table", "head.modulation"),
    ("scale_shift_table", "modulation"),
    ("proj_out", "head.head"),
)


def original(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A transformer's tensors under the names of Wan's own files."""
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        for pattern, theirs in _ORIGINAL:
            name = re.sub(pattern, theirs, name)
        renamed[name] = tensor
    return renamed


def transformer_file(path: Path, kind: str = "t2v", seed: int = 0, form: str = "") -> Path:
    """One transformer in one file under Wan's own names, .safetensors or .gguf. form: ggml's name of the number format
    of the blocks' matrices, float32 without."""
    tensors = original(state("transformer", TRANSFORMERS[kind], seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
        return path
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in tensors.items():
        packs = form and tensor.ndim == 2 and name.startswith("blocks.") and name.endswith("weight")
        type = gguf.GGMLQuantizationType[form if packs else "F32"]
        if tensor.ndim > 4:  # as ComfyUI-GGUF, which has four axes at most
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(tensor.shape))
            tensor = tensor.reshape(len(tensor), -1)
        writer.add_tensor(name, gguf.quants.quantize(tensor, type) if packs else tensor, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
