"""Everything needed to make a clip again, as one line of JSON that travels in the file's own metadata."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sora.errors import InputError

FORMAT = 1


@dataclass(frozen=True)
class Recipe:
    """How a clip was made. sora, torch: versions. weights: which, as a sha256 in hex or repository@commit. step: a name
    in ``sampler.STEPS``.

    fps: frames a second. painted, size: (width, height) in pixels, on the canvas and in the file.
    prompt: of the first shot, as it was painted. inputs: (path, sha256 in hex) of every file that was read. argv: the
    command that makes this file, without where to; empty in recipes of earlier versions. threads: that painted, where
    the device is a CPU; 0 in recipes of earlier versions. Frames of the embedded model do not depend on it; those of
    open weights may, in the last digits of their numbers. format: of this record, 1.
    """

    sora: str
    verb: str
    prompt: str
    negative: str
    model: str
    weights: str
    seed: int
    steps: int
    guidance: float
    shift: float
    step: str
    frames: int
    fps: float
    painted: tuple[int, int]
    size: tuple[int, int]
    device: str
    dtype: str
    torch: str
    inputs: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] = ()
    threads: int = 0
    format: int = FORMAT

    def to_json(self) -> str:
        """One compact line, keys in the order of the fields. Raises ValueError for a number that is not finite."""
        text = json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        # A file name that is not UTF-8 reaches Python as lone surrogates, which no file can hold; JSON's escape can.
        return re.sub("[\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", text)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe a line of JSON holds; keys this version does not know are passed over.

        Raises InputError for text that is not a recipe, lacks a key, or has a value of the wrong kind.
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError("the recipe is not JSON; expected the line that sora wrote into the file") from None
        if not isinstance(record, dict):
            raise InputError(f"the recipe is a JSON {type(record).__name__}, not an object; expected sora's own line")
        number = record.get("format", FORMAT)
        if isinstance(number, int) and number > FORMAT:
            raise InputError(f"the recipe has format {number}, this sora reads up to {FORMAT}; upgrade sora to read it")
        held = [f for f in fields(cls) if f.name in record or f.default is MISSING]
        return cls(**{f.name: _value(record, f.name, str(f.type)) for f in held})


def sha256_of(path: str | Path) -> str:
    """The file's sha256 in hex, read in pieces of 1 MiB. Raises InputError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return digest.hexdigest()


def digest_of(path: str | Path) -> str:
    """The sha256 of a file, or of a folder's files, their names and what they hold, in the order of names. In hex.
    Raises InputError when something cannot be read."""
    if not Path(path).is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(f for f in Path(path).iterdir() if f.is_file()):
        digest.update(f"{sha256_of(file)} {file.name}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _value(record: dict[str, Any], name: str, kind: str) -> Any:
    """The record's value for one field, of the Python type its annotation says. Raises InputError."""
    if name not in record:
        raise InputError(f"the recipe lacks {name!r}; it was cut short or is not sora's")
    value = record[name]
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and _is_int(value):
        return value
    if kind == "float" and _is_number(value):
        return float(value)
    if kind == "tuple[int, int]" and _is_pair(value) and all(map(_is_int, value)):
        return tuple(value)
    if kind == "tuple[str, ...]" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if kind.startswith("tuple[tuple") and isinstance(value, list) and all(map(_is_string_pair, value)):
        return tuple(map(tuple, value))
    raise InputError(f"the recipe's {name!r} is {json.dumps(value)[:60]}, expected {_EXPECTED.get(kind, 'pairs')}")


_EXPECTED = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "tuple[int, int]": "[width, height]",
    "tuple[str, ...]": "strings",
}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_int(value) and abs(value) < 1 << 63) or (isinstance(value, float) and math.isfinite(value))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _is_string_pair(value: Any) -> bool:
    return _is_pair(value) and all(isinstance(v, str) for v in value)
