"""What a GGUF file holds, checked, from its header alone (github.com/ggml-org/ggml, docs/gguf.md).

Every count is compared with the bytes there are before anything is read for it, and metadata that is not wanted is
stepped over: a tokenizer of 256,384 words costs a fraction of a second and no memory.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sora.storage import regular
from sora.weights.tensor_entry import SIZES, Table, TensorEntry

_CODES = "0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 10 Q2_K, 11 Q3_K, 12 Q4_K, 13 Q5_K, 14 Q6_K, 20 IQ4_NL"
_CODES += ", 23 IQ4_XS, 28 F64, 30 BF16"
_OTHER_CODES = "15 Q8_K, 16 IQ2_XXS, 17 IQ2_XS, 18 IQ3_XXS, 19 IQ1_S, 21 IQ3_S, 22 IQ2_S, 29 IQ1_M, 34 TQ1_0, 35 TQ2_0"
_OTHER_CODES += ", 39 MXFP4, 40 NVFP4"


def _by_code(text: str) -> dict[int, str]:
    return {int(code): name for code, name in (entry.split() for entry in text.split(", "))}


TYPES = _by_code(_CODES)
"""The number formats that are read, by ggml's codes."""

OTHER_TYPES = _by_code(_OTHER_CODES)
"""Formats in use that are not read, so that they can be called by name."""

SHAPE_KEY = "comfy.gguf.orig_shape."  # of ComfyUI-GGUF: kernels are stored flat, their shape stands here

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMS = 8
_MAX_NESTED = 4
_GENERAL, _MAX_GENERAL = "general.", 64  # fields about the whole file
_MAX_TEXT = 1 << 16  # bytes of a name or a key; a sparse file has room for any
_MAX_TENSORS = 100_000
_MAX_VALUES = 2_000_000  # of metadata that are stepped over one by one; a vocabulary of 256,384 words has 800,000


class UnreadFormat(ValueError):
    """The file is whole, and in a number format that is not read."""


def table(path: Path) -> Table:
    """Every tensor by name, shapes in torch's order. Raises UnreadFormat for a number format that is not read,
    ValueError for a file that is truncated or not GGUF, and OSError."""
    with regular.opened(path) as file:
        cursor = _Cursor(file, os.fstat(file.fileno()).st_size)
        tensors, fields = _counts(cursor)
        alignment, originals, _ = _metadata(cursor, fields)
        entries = list(_entries(cursor, tensors))
    base = math.ceil(cursor.place / alignment) * alignment
    found = _place(path, entries, base, cursor.total)
    return {name: _reshaped(name, entry, originals.get(name)) for name, entry in found.items()}


def metadata(path: Path) -> dict[str, str]:
    """The texts that a file says of itself in general: its name, architecture and so on. Raises as ``table``."""
    with regular.opened(path) as file:
        cursor = _Cursor(file, os.fstat(file.fileno()).st_size)
        _, fields = _counts(cursor)
        return _metadata(cursor, fields)[2]


def _counts(cursor: _Cursor) -> tuple[int, int]:
    """How many tensors and fields of metadata follow."""
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise ValueError(f"its version is {version}, not 2 or 3")
    return cursor.number("<Q"), cursor.number("<Q")


class _Cursor:
    """A place in a file that never passes its end."""

    def __init__(self, file: BinaryIO, total: int) -> None:
        self.file, self.total, self.place, self.values = file, total, 0, 0

    def need(self, count: int, size: int = 1) -> None:
        """ValueError where ``count`` things of at least ``size`` bytes cannot follow."""
        if count * size > self.total - self.place:
            raise ValueError(f"it ends at byte {self.total}, in its header")

    def count_values(self, count: int) -> None:
        """ValueError where there are more values than any file has, each of which takes time."""
        self.values += count
        if self.values > _MAX_VALUES:
            raise ValueError("its metadata has more values than any model's")

    def take(self, count: int) -> bytes:
        self.need(count)
        self.place += count
        return self.file.read(count)

    def skip(self, count: int) -> None:
        self.need(count)
        self.place += count
        self.file.seek(count, 1)

    def number(self, code_format: str) -> int:
        return struct.unpack(code_format, self.take(struct.calcsize(code_format)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > _MAX_TEXT:
            raise ValueError(f"a name of {length} bytes stands in its header")
        return self.take(length).decode("utf-8")


def _metadata(cursor: _Cursor, fields: int) -> tuple[int, dict[str, tuple[int, ...]], dict[str, str]]:
    """(the alignment of tensors in bytes, original shapes by name of tensor, texts about the whole file)."""
    alignment, originals, texts = 32, dict[str, tuple[int, ...]](), dict[str, str]()
    cursor.need(fields, 12)
    cursor.count_values(fields)
    for _ in range(fields):
        key, kind = cursor.text(), cursor.number("<I")
        if key == "general.alignment" and kind == 4:
            alignment = cursor.number("<I")
        elif key.startswith(SHAPE_KEY) and kind == _ARRAY:
            originals[key.removeprefix(SHAPE_KEY)] = _shape(cursor)
        elif key.startswith(_GENERAL) and kind == _STRING and len(texts) < _MAX_GENERAL:
            texts[key.removeprefix(_GENERAL)] = cursor.text()
        else:
            _skip(cursor, kind)
    if alignment < 1 or alignment & (alignment - 1):
        raise ValueError(f"its alignment of {alignment} bytes is no power of two")
    return alignment, originals, texts


def _shape(cursor: _Cursor) -> tuple[int, ...]:
    code_format, count = _SCALARS.get(cursor.number("<I"), "<f"), cursor.number("<Q")
    if code_format in ("<f", "<d") or not 0 < count <= _MAX_DIMS:
        raise ValueError("an original shape in its metadata is no row of counts")
    return tuple(cursor.number(code_format) for _ in range(count))


def _skip(cursor: _Cursor, kind: int, nested: int = 0) -> None:
    """Step over a value of this kind."""
    if kind in _SCALARS:
        cursor.skip(struct.calcsize(_SCALARS[kind]))
    elif kind == _STRING:
        cursor.skip(cursor.number("<Q"))
    elif kind == _ARRAY and nested < _MAX_NESTED:
        inner, count = cursor.number("<I"), cursor.number("<Q")
        if inner in _SCALARS:
            size = struct.calcsize(_SCALARS[inner])
            cursor.need(count, size)
            cursor.skip(count * size)
            return
        cursor.need(count, 8)
        cursor.count_values(count)
        for _ in range(count):
            _skip(cursor, inner, nested + 1)
    else:
        raise ValueError(f"its metadata has a value of the unknown kind {kind}")


def _entries(cursor: _Cursor, tensors: int) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
    """(name, shape in torch's order, ggml's code of the format, offset) of each tensor."""
    cursor.need(tensors, 24)
    if tensors > _MAX_TENSORS:
        raise ValueError(f"it claims {tensors} tensors, at most {_MAX_TENSORS} are read")
    for _ in range(tensors):
        name, dims = cursor.text(), cursor.number("<I")
        if dims > _MAX_DIMS:
            raise ValueError(f"{name} has {dims} axes")
        shape = tuple(cursor.number("<Q") for _ in range(dims))[::-1]
        yield name, shape, cursor.number("<I"), cursor.number("<Q")


def _place(path: Path, entries: list[tuple[str, tuple[int, ...], int, int]], base: int, total: int) -> Table:
    """The tensors by name. ValueError where bytes are missing or shared, or names come twice."""
    found: Table = {}
    end = base
    for name, shape, code, offset in sorted(entries, key=lambda entry: entry[3]):
        if code not in TYPES:
            called = OTHER_TYPES.get(code, f"type {code}")
            raise UnreadFormat(f"{name} is stored as {called}; sora reads {', '.join(TYPES.values())}")
        entry = TensorEntry(path, TYPES[code], shape, base + offset)
        if name in found:
            raise ValueError(f"{name} is there twice")
        if (row := shape[-1] if shape else 1) % SIZES[entry.format][0]:
            raise ValueError(f"rows of {row} do not divide into the blocks of {name}, {entry.format}")
        if entry.start < end or entry.start + entry.nbytes > total:
            raise ValueError(f"the bytes of {name} are not its own or not there")
        found[name] = entry
        end = entry.start + entry.nbytes
    return found


def _reshaped(name: str, entry: TensorEntry, shape: tuple[int, ...] | None) -> TensorEntry:
    if shape is None:
        return entry
    if min(shape) < 0 or math.prod(shape) != entry.numbers:
        raise ValueError(f"the original shape of {name}, {shape}, has not as many numbers as it holds")
    return TensorEntry(entry.file, entry.format, shape, entry.start)
