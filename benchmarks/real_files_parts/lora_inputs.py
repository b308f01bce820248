"""LoRA files as trainers and converters write them, for a transformer of Wan's of any size, and what each must change.

Names of modules are Wan's own here. Facts: as in ``sora.weights.lora_names``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sora.catalog.wan_keys import KEY_MAPS
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.runtime import lora
from sora.weights import LayoutRules, lora_file
from sora.weights.lora_names import joined, modules_in_memory, split

TINY = WanConfig(num_layers=2, heads=2, head_dim=12, in_channels=4, out_channels=4, text_dim=16, freq_dim=8, ffn_dim=32)
TINY_I2V = WanConfig(
    num_layers=2, heads=2, head_dim=12, in_channels=9, out_channels=4, text_dim=16, freq_dim=8, ffn_dim=32, image_dim=20
)

OURS = {
    "blocks.0.self_attn.q": "blocks.0.attn1.to_q",
    "blocks.1.self_attn.o": "blocks.1.attn1.to_out.0",
    "blocks.1.cross_attn.k": "blocks.1.attn2.to_k",
    "blocks.0.ffn.0": "blocks.0.ffn.net.0.proj",
    "blocks.1.ffn.2": "blocks.1.ffn.net.2",
    "head.head": "proj_out",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
}
"""Modules that these LoRAs change: Wan's names, and diffusers', which are ours."""

IMAGE = {
    "blocks.0.cross_attn.k_img": "blocks.0.attn2.add_k_proj",
    "blocks.1.cross_attn.v_img": "blocks.1.attn2.add_v_proj",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
}
"""Those that only a model with an image encoder has."""


@dataclass(frozen=True)
class Style:
    """How a trainer spells names. module: Wan's name -> the file's. down, up: the endings of a pair."""

    module: Callable[[str], str]
    down: str = ".lora_A.weight"
    up: str = ".lora_B.weight"


def _after(prefix: str, *, diffusers: bool = False, flat: bool = False) -> Callable[[str], str]:
    def spelled(module: str) -> str:
        name = (OURS | IMAGE)[module] if diffusers else module
        return prefix + (name.replace(".", "_") if flat else name)

    return spelled


KOHYA = (".lora_down.weight", ".lora_up.weight")
PEFT = (".lora_A.default.weight", ".lora_B.default.weight")
STYLES: dict[str, Style] = {
    "ComfyUI": Style(_after("diffusion_model."), *KOHYA),
    "ComfyUI, A and B": Style(_after("diffusion_model.")),
    "whole ComfyUI checkpoint's prefix": Style(_after("model.diffusion_model."), *KOHYA),
    "musubi": Style(_after("lora_unet_", flat=True), *KOHYA),
    "VideoX-Fun": Style(_after("lora_unet__", flat=True), *KOHYA),
    "DiffSynth": Style(_after(""), *PEFT),
    "DiffSynth without adapter": Style(_after("")),
    "DiffSynth pipeline": Style(_after("pipe.dit."), *PEFT),
    "diffusers": Style(_after("transformer.", diffusers=True)),
    "diffusers, down and up": Style(_after("transformer.", diffusers=True), ".lora.down.weight", ".lora.up.weight"),
    "peft": Style(_after("base_model.model.", diffusers=True)),
    "peft on Wan's own code": Style(_after("base_model.model.")),
    "kohya on diffusers": Style(_after("lora_unet_", diffusers=True, flat=True), *KOHYA),
    "LyCORIS": Style(_after("lycoris_", diffusers=True, flat=True), *KOHYA),
}


def network(config: WanConfig = TINY, seed: int = 0) -> WanDiT:
    """A transformer with random weights under which every bias, norm and table counts."""
    torch.manual_seed(seed)
    dit = WanDiT(config)
    dit.init_weights()
    for parameter in dit.parameters():
        if parameter.ndim == 1 or parameter.std() == 0:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    return dit.eval().requires_grad_(False)


@cache
def shapes(config: WanConfig) -> dict[str, torch.Size]:
    """Of every parameter, by our names."""
    with torch.device("meta"):
        return {name: parameter.shape for name, parameter in WanDiT(config).named_parameters()}


def factors(modules: Iterable[str], rank: int = 4, config: WanConfig = TINY) -> dict[str, tuple[Tensor, Tensor]]:
    """Random (A, B) of modules."""
    draw = torch.Generator().manual_seed(3)
    sizes = {module: shapes(config)[f"{(OURS | IMAGE)[module]}.weight"] for module in modules}
    return {
        module: (torch.randn(rank, width, generator=draw) / 4, torch.randn(out, rank, generator=draw) / 4)
        for module, (out, width) in sizes.items()
    }


def pairs(style: Style, of: Mapping[str, tuple[Tensor, Tensor]], alpha: float | None = None) -> dict[str, Tensor]:
    """The tensors of a file. alpha: None for a file without."""
    tensors: dict[str, Tensor] = {}
    for module, (a, b) in of.items():
        name = style.module(module)
        tensors |= {name + style.down: a, name + style.up: b}
        tensors |= {} if alpha is None else {name + ".alpha": torch.tensor(float(alpha))}
    return tensors


def few_step(config: WanConfig) -> dict[str, Tensor]:
    """A LoRA with the kinds of tensors that lightx2v's and CausVid's have, for a model with or without an image
    encoder. What is added as it is adds 0.25."""
    tensors = pairs(STYLES["ComfyUI"], factors([*OURS, *(IMAGE if config.image_dim else ())], config=config))
    width, q = config.dim, "blocks.0.self_attn.q"
    diffs: dict[str, tuple[int, ...]] = {"blocks.0.diff_m": (1, 6, width), "head.diff_m": (1, 2, width)}
    diffs |= {"patch_embedding.diff": (width, config.in_channels, *config.patch), "patch_embedding.diff_b": (width,)}
    diffs |= {"blocks.1.norm3.diff": (width,), "blocks.1.norm3.diff_b": (width,)}
    diffs |= {"blocks.0.self_attn.norm_q.diff": (width,), f"{q}.diff_b": (width,)}
    if config.image_dim:
        diffs |= {"blocks.0.cross_attn.norm_k_img.diff": (width,), "img_emb.proj.0.diff": (config.image_dim,)}
        diffs |= {"img_emb.proj.4.diff_b": (width,), "img_emb.proj.3.diff_b": (width,)}
    return tensors | {f"diffusion_model.{name}": torch.full(shape, 0.25) for name, shape in diffs.items()}


def save(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    save_file({name: t.contiguous() for name, t in tensors.items()}, file, dict(metadata) if metadata else None)
    return file


def names_in_memory(names: Iterable[str], kind: LayoutRules = KEY_MAPS["transformer"]) -> dict[str, str]:
    """The tensors' names in one file -> what they are called in memory."""
    parts = {name: split(name) or (name, "") for name in names}
    ours = modules_in_memory([module for module, _ in parts.values()], kind)
    return {name: joined(ours[module], ending) for name, (module, ending) in parts.items()}


def diffusers_metadata(**config: object) -> dict[str, str]:
    """As diffusers' ``save_lora_weights`` writes it."""
    named = {f"transformer.{name}": value for name, value in config.items()}
    return {"format": "pt", "lora_adapter_metadata": json.dumps(named, indent=2, sort_keys=True)}


def changes(file: Path, config: WanConfig = TINY, *, strength: float = 1.0) -> tuple[dict[str, Tensor], str]:
    """(what a LoRA adds to each parameter that it changes, the line about what does not fit)."""
    before, dit = network(config), network(config)
    tensors, _ = lora_file.read(file, KEY_MAPS["transformer"])
    fitting, note = lora.fitting(dit, tensors, file.name)
    lora.merge(dit, fitting, strength)
    moved = {name: parameter - before.get_parameter(name) for name, parameter in dit.named_parameters()}
    return {name: change for name, change in moved.items() if change.abs().max() > 0}, note


def expected(of: Mapping[str, tuple[Tensor, Tensor]], factor: float) -> dict[str, Tensor]:
    """factor times B A for each module, by our names of the weights."""
    return {f"{(OURS | IMAGE)[module]}.weight": factor * b @ a for module, (a, b) in of.items()}


def differences(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float = 1e-5) -> list[str]:
    """Parameters that are changed otherwise than wanted."""
    names = sorted({*got, *wanted})
    same = (n in got and n in wanted and torch.allclose(got[n], wanted[n], atol=tolerance) for n in names)
    return [name for name, right in zip(names, same, strict=True) if not right]
