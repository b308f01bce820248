"""GGUF files: written by ggml's own package and read as it reads them; damaged ones are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sora import weights
from sora.errors import ModelError
from sora.runtime.quantized import QuantizedLinear
from sora.weights import gguf_header
from test_checkpoints import IN, STATE, load, refusal, same
from test_stored import STEPS


def write_gguf(path: Path, format: str, flat: bool = False, words: int = 0) -> dict[str, Tensor]:
    """STATE as ggml's own package writes it, maps and embeddings packed; what it packed, unpacked by itself."""
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[format]
    writer = gguf.GGUFWriter(path, "wan")
    writer.add_token_list([f"word {i}" for i in range(words)] or ["one"])
    writer.add_token_scores([0.5] * max(1, words))
    unpacked = {}
    for name, tensor in STATE.items():
        numbers = tensor.numpy()
        packs = name in ("map.weight", "words.weight")
        if flat and tensor.ndim > 3:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(tensor.shape))
            numbers = numbers.reshape(4, -1)
        if packs and format not in ("F32", "F16"):
            numbers = pack(numbers, format)
        elif packs:
            numbers = numbers.astype(np.float16 if format == "F16" else np.float32)
        writer.add_tensor(name, numbers, raw_dtype=kind if packs else gguf.GGMLQuantizationType.F32)
        unpacked[name] = torch.from_numpy(gguf.quants.dequantize(numbers, kind).copy()) if packs else tensor
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unpacked


def pack(numbers: np.ndarray, format: str) -> np.ndarray:
    """By the package where it can; any bytes otherwise, steps aside."""
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[format]
    if format not in STEPS or format in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        return gguf.quants.quantize(numbers, kind)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = np.random.default_rng(1).integers(0, 256, (numbers.size // block, size), dtype=np.uint8)
    for place in STEPS[format]:
        raw[:, place : place + 2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    return raw.reshape(*numbers.shape[:-1], -1)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("format", ["F32", "F16", "BF16", *STEPS])
def test_gguf_unpacks_as_ggml_does(tmp_path: Path, format: str, flat: bool):
    want = write_gguf(tmp_path / "a.gguf", format, flat)
    module = load(tmp_path)
    assert isinstance(module.map, QuantizedLinear) == (format in STEPS)
    for name, tensor in want.items():
        got = module.map.weight if name == "map.weight" else module.state_dict()[name]
        assert torch.equal(got, tensor.float()), name


def test_a_tokenizer_in_the_file_is_stepped_over(tmp_path: Path):
    write_gguf(tmp_path / "a.gguf", "F32", words=5000)
    assert same(load(tmp_path), STATE)


def test_a_format_that_is_not_read_is_named(tmp_path: Path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "wan")
    kind = gguf.GGMLQuantizationType.MXFP4
    writer.add_tensor("map.weight", gguf.quants.quantize(np.ones((6, IN), np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    said = refusal(tmp_path)
    assert "map.weight is stored as MXFP4" in said and "Q4_K" in said and "damaged" not in said


def gguf_file(
    fields: bytes = b"", count: int = 0, infos: list[tuple[str, list[int], int, int]] | None = None, data: int = 0
):
    """A file by the letter of its format, without the package."""
    infos = infos or []
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), count) + fields
    for name, dims, kind, offset in infos:
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dims))
        head += struct.pack(f"<{len(dims)}QIQ", *dims, kind, offset)
    return head + bytes(-len(head) % 32) + bytes(data)


def field(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def test_a_file_written_by_hand(tmp_path: Path):
    path = tmp_path / "a.gguf"
    fields = field("a", 9, struct.pack("<IQ", 8, 2) + struct.pack("<Q", 1) + b"x" + struct.pack("<Q", 0))
    fields += field("b", 7, b"\x01") + field("general.alignment", 4, struct.pack("<I", 64))
    head = gguf_file(fields, 3, [("w", [3, 2], 0, 0), ("v", [], 1, 64)])
    path.write_bytes(head + bytes(-len(head) % 64) + bytes(66))
    assert weights.shapes(path) == {"w": (2, 3), "v": ()}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(60),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        gguf_file(field("a", 9, struct.pack("<IQ", 0, 2**62)), 1),
        gguf_file(field("a", 9, struct.pack("<IQ", 8, 2**40)), 1),
        gguf_file(field("a", 8, struct.pack("<Q", 2**63)), 1),
        gguf_file(field("a", 99, b""), 1),
        gguf_file(field("a", 9, struct.pack("<IQ", 9, 1) * 9), 1),
        gguf_file(field("general.alignment", 4, struct.pack("<I", 0)), 1),
        gguf_file(field("general.alignment", 4, struct.pack("<I", 48)), 1),
        gguf_file(infos=[("w", [4], 0, 0)], data=15),
        gguf_file(infos=[("w", [2**62, 4], 0, 0)], data=64),
        gguf_file(infos=[("w", [1] * 9, 0, 0)], data=64),
        gguf_file(infos=[("w", [33], 8, 0)], data=64),
        gguf_file(infos=[("w", [], 8, 0)], data=64),
        gguf_file(infos=[("w", [4], 0, 0), ("w", [4], 0, 32)], data=64),
        gguf_file(infos=[("w", [4], 0, 0), ("v", [4], 0, 0)], data=64),
        gguf_file(field("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, 3, 3)), 1, [("w", [4], 0, 0)], 64),
        gguf_file(field("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, -2, -2)), 1, [("w", [4], 0, 0)], 64),
        gguf_file(field("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2f", 6, 2, 2, 2)), 1, [("w", [4], 0, 0)], 64),
    ],
)
def test_a_damaged_gguf_is_refused_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    said = refusal(path)
    assert "damaged" in said and str(path) in said


WHOLE = gguf_file(
    field("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, 2, 2))
    + field("words", 9, struct.pack("<IQQ", 8, 1, 3) + b"abc"),
    2,
    [("w", [4], 0, 0), ("v", [64], 8, 32)],
    100,
)


def test_every_truncation_of_a_gguf_is_noticed(tmp_path: Path):
    path = tmp_path / "a.gguf"
    path.write_bytes(WHOLE)
    assert weights.shapes(path) == {"w": (2, 2), "v": (64,)}
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(ModelError, match="damaged"):
            weights.shapes(path)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 101), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_change_of_bytes_does_worse_than_a_refusal(tmp_path_factory, changes: list[tuple[int, int]]):
    content = bytearray(WHOLE)
    for place, byte in changes:
        content[place] = byte
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(content)
    try:
        table = gguf_header.table(path)
    except ValueError:
        return
    assert all(held.start + held.nbytes <= len(content) for held in table.values())
