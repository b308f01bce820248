"""Strict loading: a file that is not exactly what the model expects is refused in one line, before any allocation."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sora
from sora import weights
from sora.errors import ModelError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16), "n": torch.tensor([7])}
SHAPES = {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.safetensors"
    save_file(TENSORS, path)
    return path


def test_reads_exactly_what_was_saved(file: Path):
    read = weights.read(file, SHAPES)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in TENSORS.items())


def test_dtype_converts_floating_tensors_only(file: Path):
    read = weights.read(file, SHAPES, dtype=torch.bfloat16)
    assert (read["a"].dtype, read["b"].dtype, read["n"].dtype) == (torch.bfloat16, torch.bfloat16, torch.int64)


def test_shapes_come_from_the_header(file: Path):
    assert weights.shapes(file) == SHAPES


@pytest.mark.parametrize(
    ("expected", "fragment"),
    [
        (SHAPES | {"c": (1,)}, "1 missing: c"),
        ({"a": (2, 3), "b": (4,)}, "1 unexpected: n"),
        (SHAPES | {"a": (3, 2)}, "1 of another shape: a (2, 3) for (3, 2)"),
        (SHAPES | {f"c{i}": (1,) for i in range(9)}, "9 missing: c0, c1, c2, ..."),
    ],
)
def test_another_model_is_refused(file: Path, expected: dict[str, tuple[int, ...]], fragment: str):
    with pytest.raises(ModelError) as caught:
        weights.read(file, expected)
    assert fragment in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def _file_of(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\x00" * 100,
        b"not safetensors at all, only words in a file",
        b"\xff" * 64,
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 6) + b"{oops}",
        _file_of([1, 2]),
        _file_of({"a": 3}),
        _file_of({"a": {"dtype": "F32"}}),
        _file_of({"a": ENTRY | {"dtype": "F31"}}, bytes(8)),
        _file_of({"a": ENTRY | {"shape": [3]}}, bytes(8)),
        _file_of({"a": ENTRY | {"shape": [-2]}}, bytes(8)),
        _file_of({"a": ENTRY | {"shape": [2.0]}}, bytes(8)),
        _file_of({"a": ENTRY | {"data_offsets": [8, 16]}}, bytes(16)),
        _file_of({"a": ENTRY, "b": ENTRY}, bytes(8)),
        _file_of({"a": ENTRY}, bytes(7)),
        _file_of({"a": ENTRY}, bytes(9)),
        _file_of({"a": ENTRY | {"shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(8)),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged") as caught:
        weights.read(path, {"a": (2,)})
    assert str(path) in str(caught.value)
    assert "reinstall" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_noticed(file: Path):
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged"):
            weights.read(file, SHAPES)


def test_a_missing_file_and_a_folder(tmp_path: Path):
    with pytest.raises(ModelError, match="missing; reinstall"):
        weights.read(tmp_path / "none.safetensors", {})
    with pytest.raises(ModelError, match="cannot be read"):
        weights.read(tmp_path, {})


def test_a_file_of_two_parts_fills_two_modules_on_the_meta_device(tmp_path: Path):
    one, two = nn.Linear(3, 2), nn.BatchNorm1d(4)
    parts = {f"one.{k}": v for k, v in one.state_dict().items()} | {f"two.{k}": v for k, v in two.state_dict().items()}
    path = tmp_path / "both.safetensors"
    save_file(parts, path)
    with torch.device("meta"):
        hollow_one, hollow_two = nn.Linear(3, 2), nn.BatchNorm1d(4)
    filled = weights.load_into(hollow_one, path, "one.")
    weights.load_into(hollow_two, path, "two.")
    assert torch.equal(filled.weight, one.weight)
    assert not filled.weight.requires_grad
    assert not filled.training
    assert hollow_two.running_var is not None
    assert hollow_two.running_var.device.type == "cpu"


def test_loading_in_another_format(tmp_path: Path):
    path = tmp_path / "half.safetensors"
    save_file({k: v.half() for k, v in nn.Linear(3, 2).state_dict().items()}, path)
    assert weights.load_into(nn.Linear(3, 2), path, dtype=torch.float32).weight.dtype == torch.float32
    assert weights.load_into(nn.Linear(3, 2), path).weight.dtype == torch.float16


def test_a_buffer_that_nothing_fills_is_a_mistake_of_ours(tmp_path: Path):
    path = tmp_path / "empty.safetensors"
    save_file({"weight": torch.ones(1)}, path)
    with torch.device("meta"):
        module = nn.Module()
        module.weight = nn.Parameter(torch.ones(1))
        module.register_buffer("table", torch.ones(2), persistent=False)
    with pytest.raises(ValueError, match="table"):
        weights.load_into(module, path)


def test_assets_stand_inside_the_package():
    assert weights.asset("mini.json").parent.parent == Path(sora.__file__).parent
    assert not weights.embedded(["no-such-file"])
