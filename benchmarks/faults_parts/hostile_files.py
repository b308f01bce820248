"""What is no film and was made to harm: recipes, weights, model folders, prompt files, and names of files that are no
files."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sora import media
from sora.plan.clip import Clip

CLEAR = "\x1b[2J\x1b]0;owned\x07\r\b\u202e\u2066\u200b[red]"
REQUEST: dict[str, Any] = {"verb": "generate", "prompt": f"a red ball {CLEAR}", "seed": 1, "steps": 1, "frames": 2}
RECIPE: dict[str, Any] = {
    "format": 2,
    "sora": CLEAR,
    "request": REQUEST | {"size": "64x48"},
    "prompts": ["a red ball"],
    "weights": "ab" * 32,
    "frames": 2,
    "fps": 8,
    "painted": [64, 48],
    "size": [64, 48],
    "device": "cpu",
    "dtype": "float32",
    "torch": "2",
    "inputs": [],
    "threads": 1,
}


def recipes() -> Iterator[tuple[str, str]]:
    """Texts that may stand where a recipe does."""
    yield "brace", "{"
    yield "empty", "{}"
    yield "deep", '{"a":' * 50_000
    yield "wide", "{" + ",".join(f'"k{n}":{n}' for n in range(60_000)) + "}"
    yield "infinite", '{"format": 2, "fps": 1e999}'
    yield "digits", '{"format": ' + "9" * 5000 + "}"
    yield "types", json.dumps({name: [] for name in RECIPE})
    yield "control", json.dumps(RECIPE)
    yield "prompt", json.dumps(RECIPE | {"request": REQUEST | {"prompt": "a" * 900_000}})
    yield "large", json.dumps(RECIPE | {"sora": "x" * 3_000_000})
    yield "device", json.dumps(RECIPE | {"request": REQUEST | {"verb": "extend", "clip": "/dev/zero"}})
    yield "command", json.dumps({"format": 1, "argv": ["models", "remove", "mini", "--yes"], "prompt": "a"})
    yield "argv", json.dumps({"format": 1, "argv": [[], {}, None, CLEAR]})
    yield "files", json.dumps(RECIPE | {"inputs": [["/etc/passwd", "0"]] * 1024})


def with_recipes(folder: Path) -> list[Path]:
    """Small films and pictures with such texts in them."""
    folder.mkdir(parents=True)
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    frames[..., 0] = np.arange(64)
    made = []
    for name, text in recipes():
        for suffix in (".png", ".jpg", ".gif", ".mkv", ""):
            if suffix == ".mkv" and len(text) > 200_000:
                continue
            clip = Clip(frames[:1] if suffix in (".png", ".jpg") else frames, 8.0)
            made.append(media.write_clip(folder / f"{name}{suffix}", clip, text))
    return made


def safetensors(header: object, body: int = 0, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(body)


def tensor(shape: object, stop: object = 4, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, stop]}


def gguf(tensors: int, fields: int, body: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, fields) + body


def weights(folder: Path) -> list[Path]:
    """Headers of LoRAs and checkpoints."""
    folder.mkdir(parents=True)
    pair = {f"a.lora_{side}.weight": tensor([1]) for side in "A"}
    many = {f"m{n}.lora_A.weight": tensor([0], 0) for n in range(600_000)}
    text = struct.pack("<Q", 1) + b"a"
    files: dict[str, bytes] = {
        "empty": b"",
        "length": safetensors({}, length=1 << 62),
        "header-100-mb": safetensors(b"{" + b" " * (100 << 20) + b"}"),
        "lora-600000": safetensors(many),
        "lists": safetensors(b"[" * 2_000_000),
        "nested": safetensors(b'{"a":' * 100_000),
        "objects": safetensors(b'{"a":[' + b"{}," * 2_000_000 + b"{}]}"),
        "no-object": safetensors([1, 2]),
        "no-entry": safetensors({"a": 3}),
        "huge-shape": safetensors({"a": tensor([10**30, 0])}),
        "digits": safetensors(b'{"a":{"dtype":"F32","shape":[' + b"9" * 6000 + b'],"data_offsets":[0,4]}}'),
        "dims": safetensors({"a": tensor([1] * 100_000)}, 4),
        "negative": safetensors({"a": tensor([-1], -4)}, 4),
        "text-shape": safetensors({"a": tensor("xx")}, 4),
        "dtype": safetensors({"a": tensor([1], 4, CLEAR)}, 4),
        "controls": safetensors({"__metadata__": {CLEAR: CLEAR}, f"{CLEAR}": tensor([1])}, 4),
        "lora-controls": safetensors({"__metadata__": {"family": CLEAR}, **pair}, 4),
        "metadata": safetensors({"__metadata__": [1], **pair}, 4),
    }
    sparse = ("sparse-tensors.gguf", "sparse-text.gguf", "sparse-array.gguf", "sparse-fields.gguf")
    files |= {
        "tensors.gguf": gguf(10**12, 0),
        "fields.gguf": gguf(0, 10**12),
        "version.gguf": gguf(0, 0, version=999),
        "text.gguf": gguf(0, 1, struct.pack("<Q", 1 << 60)),
        "nested.gguf": gguf(0, 1, text + struct.pack("<IIQ", 9, 9, 1) * 20),
        "type.gguf": gguf(1, 0, text + struct.pack("<IQIQ", 1, 1, 77, 0)),
        "alignment.gguf": gguf(0, 1, struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, 3)),
        sparse[0]: gguf(10**11, 0),
        sparse[1]: gguf(0, 1, struct.pack("<Q", 1 << 41)),
        sparse[2]: gguf(0, 1, text + struct.pack("<IIQ", 9, 8, 1 << 35)),
        sparse[3]: gguf(0, 10**10),
        "noise.gguf": random.Random(0).randbytes(5000),
    }
    made = []
    for name, data in files.items():
        file = folder / (name if name.endswith(".gguf") else f"{name}.safetensors")
        file.write_bytes(data)
        if name in sparse:
            os.truncate(file, 1 << 42)
        made.append(file)
    (folder / "pickle.ckpt").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/evil'\ntR.")
    return [*made, folder / "pickle.ckpt"]


DIT: dict[str, Any] = {
    "_class_name": "WanTransformer3DModel",
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 24,
    "freq_dim": 32,
    "ffn_dim": 32,
    "patch_size": [1, 2, 2],
}
VAE: dict[str, Any] = {"base_dim": 8, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 1}
INDEX: dict[str, Any] = {"_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"]}
BAD: dict[str, Any] = {"billion": 10**9, "trillion": 10**12, "minus": -1, "text": CLEAR, "nan": float("nan")}
BAD |= {"true": True, "list": [], "object": {"a": 1}, "null": None, "digits": 10**4000}


def model_folders(folder: Path) -> list[Path]:
    """Folders in diffusers' layout, each with one thing wrong in its configurations."""
    wrong: dict[str, tuple[Any, Any, Any]] = {}
    for name, value in BAD.items():
        wrong[f"layers-{name}"] = INDEX, DIT | {"num_layers": value}, VAE
        wrong[f"patch-{name}"] = INDEX, DIT | {"patch_size": value}, VAE
        wrong[f"width-{name}"] = INDEX, DIT | {"num_attention_heads": value, "ffn_dim": value}, VAE
        wrong[f"latents-{name}"] = INDEX, DIT, VAE | {"z_dim": value, "scale_factor_spatial": value}
        wrong[f"class-{name}"] = INDEX, DIT | {"_class_name": value}, VAE
        wrong[f"index-{name}"] = INDEX | {"transformer_2": value, "image_encoder": value}, DIT, VAE
        wrong[f"whole-{name}"] = value, value, value
    made = []
    for name, configs in wrong.items():
        place = folder / name
        for file, config in zip(("model_index", "transformer/config", "vae/config"), configs, strict=True):
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / f"{file}.json").write_text(json.dumps(config))
        made.append(place)
    for name, data in {"deep": "[" * 200_000, "none": "", "bytes": "\0" * 99, "large": " " * (40 << 20)}.items():
        (folder / name).mkdir()
        (folder / name / "model_index.json").write_text(data)
        made.append(folder / name)
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "model_index.json")
    (folder / "linked").mkdir()
    (folder / "linked" / "model.safetensors").symlink_to("/dev/zero")
    return [*made, folder / "pipe", folder / "linked"]


def prompt_files(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    files = {
        "empty": b"",
        "noise": random.Random(1).randbytes(3000),
        "long": b"a" * (3 << 20),
        "large": b"a\n" * (9 << 20),
        "controls": f"{CLEAR} --seed {CLEAR}\n{CLEAR}".encode(),
        "options": f"a --output /etc/evil\nb --{CLEAR} 1\nc --force\nd -f x\ne --count 10000000".encode(),
        "braces": b"{a|b}" * 4000,
        "stray": b"{{{{",
        "quotes": b'a --seed "',
        "utf16": "words".encode("utf-16"),
        "zeros": bytes(1000),
        "halves": b"\xed\xa0\x80",
    }
    return [_file(folder / f"{name}.txt", data) for name, data in files.items()]


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def no_files(folder: Path) -> list[Path]:
    """Names under which no regular file stands, and files under names that do something to a terminal."""
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.mkv")
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "log.mkv").symlink_to("/proc/kmsg")
    (folder / "folder").mkdir()
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "00001.png")
    os.mkfifo(folder / "pipes" / "recipe.json")
    listener = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(folder)  # a socket's name is short
    listener.bind("socket.mp4")
    os.chdir(before)
    listener.close()
    named = [folder / f"{CLEAR.replace('/', '')}.png", folder / os.fsdecode(b"\xff\xfe\xed\xa0\x80.mp4")]
    for file in named:
        file.write_bytes(b"{")
    return [
        *sorted(folder.iterdir()),
        folder / "missing",
        folder / ("x" * 300),
        Path("/dev/zero"),
        Path("/proc/self/mem"),
    ]
