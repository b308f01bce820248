"""``sora info`` on files of any kind: facts, or one line that says why there are none."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from conftest import Studio
from sora.errors import ModelError
from sora.networks.clip_vision import CLIPVisionConfig
from sora.networks.umt5 import UMT5Config
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vae import WanVAEConfig
from sora.weights import gguf_header, safetensors_header, shapes

COMMENTS = (
    "{",
    "{}",
    '{"format": 2}',
    '{"format": 1, "argv": [[], {}, null]}',
    '{"format": 99}',
    '{"format": "2", "request": 3}',
    '{"format": 2, "request": {"verb": 3}, "prompts": 7}',
    '{"a": 1e999}',
    "{" + '"a":{' * 100_000,
    '{"made by": "another program \\u001b[2J"}',
)


def with_comment(path: Path, comment: str) -> Path:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("comment", comment)
    Image.new("RGB", (16, 12)).save(path, pnginfo=text)
    return path


@pytest.mark.parametrize("number", range(len(COMMENTS)))
def test_a_picture_with_any_comment_has_its_facts(studio: Studio, tmp_path: Path, number: int):
    file = with_comment(tmp_path / "a.png", COMMENTS[number])
    shown = studio("info", file)
    assert shown.exit_code == 0 and "16x12" in shown.stdout and "\x1b" not in shown.stdout
    assert json.loads(studio("info", file, "--json").stdout)["size"] == [16, 12]


def odd_files(folder: Path) -> dict[str, int]:
    """Names of files of many kinds -> the status that tells of them."""
    texts = {"a.txt": b"words", "a.json": b'{"a": [', "recipe.json": b"[1]", "empty": b"", "a.mp4": b"\x00" * 4000}
    texts |= {"a.wav": b"RIFF\x24\0\0\0WAVEfmt ", "a.png": b"\x89PNG\r\n\x1a\n\0\0", "a\x1b[2J\u202e.gif": b"GIF89a"}
    for name, data in texts.items():
        (folder / name).write_bytes(data)
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo.mkv")
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "00001.png")
    os.mkfifo(folder / "fifo.safetensors")
    (folder / "a.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 10**12, 0))
    (folder / "b.safetensors").write_bytes(struct.pack("<Q", 100 << 20) + b"{" + bytes(100))
    three = [*texts, "loop", "folder", "pipes", "fifo.mkv", "none", "x" * 300]
    return dict.fromkeys(three, 3) | dict.fromkeys(("fifo.safetensors", "a.gguf", "b.safetensors"), 4)


def test_what_holds_no_facts_is_refused_in_a_line(studio: Studio, tmp_path: Path):
    for name, status in odd_files(tmp_path).items():
        shown = studio("info", tmp_path / name)
        assert (shown.exit_code, shown.stdout) == (status, ""), name
        assert len(shown.stderr.splitlines()) == 1 and shown.stderr[:-1].isprintable(), name
    assert studio("info", "/dev/zero").exit_code == 3


def test_a_lora_tells_what_it_holds(studio: Studio, tmp_path: Path):
    pair = {f"transformer.a.lora_{side}.weight": torch.zeros(2, 2) for side in "AB"}
    save_file(pair, tmp_path / "a.safetensors", {"model": "x\x1b[2J", "rank": "2"})
    shown = studio("info", tmp_path / "a.safetensors")
    assert shown.exit_code == 0 and "LoRA" in shown.stdout and "\x1b" not in shown.stdout
    facts = json.loads(studio("info", tmp_path / "a.safetensors", "--json").stdout)
    assert (facts["kind"], facts["tensors"], facts["parameters"]) == ("LoRA", 2, 8) and facts["metadata"]["rank"] == "2"


def test_weights_that_sora_cannot_paint_with_are_described_all_the_same(studio: Studio, tmp_path: Path):
    save_file({"layer.weight": torch.zeros(4, 4)}, tmp_path / "a.safetensors")
    shown = studio("info", tmp_path / "a.safetensors")
    assert shown.exit_code == 0 and "weights" in shown.stdout and "patch_embedding" in shown.stdout
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text("[" * 10_000)
    refused = studio("info", folder)
    assert refused.exit_code == 4 and "too deep" in refused.stderr and len(refused.stderr.splitlines()) == 1


# --- headers and configurations that ask for too much


def gguf(path: Path, tensors: int, fields: int, body: bytes, size: int = 0) -> Path:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, fields) + body)
    if size:
        os.truncate(path, size)
    return path


def test_a_sparse_gguf_has_no_room_for_endless_counts_and_texts(tmp_path: Path):
    for tensors, fields, body in (
        (1 << 40, 0, b""),
        (0, 1 << 40, b""),
        (0, 1, struct.pack("<Q", 1 << 41)),
        (0, 1, struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 8, 1 << 35)),
    ):
        file = gguf(tmp_path / "a.gguf", tensors, fields, body, 1 << 43)
        with pytest.raises(ModelError, match="is damaged"):
            shapes(file)


def test_a_header_of_numbers_without_end_is_refused(tmp_path: Path):
    for shape in ([9**200], [1] * 100_000, [True, "a"], [[1]]):
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        with pytest.raises(ModelError, match="is damaged"):
            shapes(tmp_path / "a.safetensors")
    assert safetensors_header.MAX_HEADER < 100 << 20 and gguf_header.TYPES


WAN: dict[str, Any] = {
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 16,
    "text_dim": 16,
}
WAN |= {"freq_dim": 16, "ffn_dim": 32}
UMT5: dict[str, Any] = dict.fromkeys(("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"), 8)
CLIP: dict[str, Any] = dict.fromkeys(
    ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"), 8
)
CLIP |= {"image_size": 28, "patch_size": 14}
BAD = (10**9, 10**12, -1, 0, "8", True, float("nan"), 1e3, [], {}, None)


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_sizes_of_networks_are_bounded_before_one_is_built(bad: object):
    for read, sizes in (
        (WanConfig.from_json, WAN | {"patch_size": [1, 2, 2]}),
        (UMT5Config.from_json, UMT5),
        (CLIPVisionConfig.from_json, CLIP),
    ):
        read(sizes)
        for name in sizes:
            with pytest.raises(ValueError, match=name):
                read(sizes | {name: bad})
    for name in ("base_dim", "z_dim", "num_res_blocks", "dim_mult", "temperal_downsample", "patch_size"):
        if bad is not None:
            with pytest.raises(ValueError, match=None if bad == 1e3 else name):
                WanVAEConfig.from_json({name: bad})


def test_sizes_that_are_each_in_range_may_be_too_many_together():
    with pytest.raises(ValueError, match="more than any machine holds"):
        WanConfig.from_json(WAN | {"patch_size": [1, 2, 2], "num_layers": 256, "ffn_dim": 1 << 17} | WIDE)


WIDE = {"num_attention_heads": 1 << 10, "attention_head_dim": 1 << 7}
