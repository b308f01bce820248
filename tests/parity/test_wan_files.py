"""A transformer of one's own, in one file: beside the other parts of the model it is like, it paints what it paints in
a folder of diffusers'."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.wan.pipeline_wan import WanPipeline
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner
from wan_folders import parts, transformer

from sora import media
from sora.catalog import hub
from sora.cli import app

ORIGINAL = (  # diffusers' names -> Wan's own
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    (r"attn1\.to_([qkv])\b", r"self_attn.\1"),
    (r"attn2\.to_([qkv])\b", r"cross_attn.\1"),
    (r"attn1\.to_out\.0", "self_attn.o"),
    (r"attn2\.to_out\.0", "cross_attn.o"),
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    (r"ffn\.net\.0\.proj", "ffn.0"),
    (r"ffn\.net\.2", "ffn.2"),
    (r"\bnorm2\b", "norm3"),
    (r"^scale_shift_table", "head.modulation"),
    (r"scale_shift_table", "modulation"),
    ("proj_out", "head.head"),
)


def original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        for ours, theirs in ORIGINAL:
            name = re.sub(ours, theirs, name)
        renamed[name] = tensor.contiguous()
    return renamed


def in_float8(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As ComfyUI packs it: matrices of the blocks in float8, each with one scale."""
    packed: dict[str, Tensor] = {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
    for name, tensor in state.items():
        if name.startswith("blocks.") and tensor.ndim == 2 and name.endswith("weight"):
            scale = tensor.abs().max() / 448
            packed[name] = (tensor / scale).to(torch.float8_e4m3fn)
            packed[name.replace("weight", "scale_weight")] = scale
        else:
            packed[name] = tensor
    return packed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A folder with heads of Wan's own width, and its transformer's tensors under Wan's own names."""
    torch.manual_seed(0)
    dit = transformer(16, 16, attention_head_dim=128, num_attention_heads=1, ffn_dim=256)
    folder = tmp_path_factory.mktemp("models") / "whole"
    WanPipeline(**parts(), transformer=dit).save_pretrained(folder)
    return folder, original(dit.state_dict())


def film(out: Path, model: Path) -> np.ndarray:
    argv = ["generate", "a red cat", "--model", str(model), "--seed", "7", "--steps", "3", "--size", "64x64"]
    result = CliRunner().invoke(app, [*argv, "--frames", "5", "--shift", "3", "--guidance", "2", "-o", str(out)])
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return media.read_clip(out).frames_FYXC.astype(int)


@pytest.mark.parametrize(("kind", "most"), [("wan", 1), ("comfy", 1), ("float8", 60), ("gguf", 30)])
def test_a_file_paints_what_the_folder_paints(
    model: tuple[Path, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, most: int
) -> None:
    folder, state = model
    file = tmp_path / ("dit.gguf" if kind == "gguf" else "dit.safetensors")
    if kind == "gguf":
        gguf = pytest.importorskip("gguf")
        writer = gguf.GGUFWriter(file, "wan")
        for name, tensor in state.items():
            small = name.startswith("blocks.") and tensor.ndim == 2 and name.endswith("weight")
            form = gguf.GGMLQuantizationType.Q8_0 if small else gguf.GGMLQuantizationType.F32
            packed = gguf.quants.quantize(tensor.numpy(), form)
            writer.add_tensor(name, packed, raw_dtype=form)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    elif kind == "comfy":
        save_file({f"model.diffusion_model.{name}": tensor for name, tensor in state.items()}, file)
    else:
        save_file(in_float8(state) if kind == "float8" else state, file)
    found = hub.LocalCopy(hub.COMPLETE, 0, folder)
    monkeypatch.setattr(hub, "local_copy", lambda spec: found if spec.repo else replace(found, folder=spec.folder))
    apart = np.abs(film(tmp_path / "file.mkv", file) - film(tmp_path / "folder.mkv", folder))
    assert apart.max() <= most
    assert apart.mean() < (0.05 if most == 1 else 4)


def test_a_transformer_alone_says_what_it_lacks(
    model: tuple[Path, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(model[1], tmp_path / "dit.safetensors")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(hub, "cache", lambda: tmp_path / "empty")
    argv = ["generate", "a red cat", "--model", str(tmp_path / "dit.safetensors"), "-o", str(tmp_path / "a.mkv")]
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 4 and "sora models pull wan2.1" in result.stderr
    assert not (tmp_path / "a.mkv").exists()
