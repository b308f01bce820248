"""How inputs of the fuzzer are made from valid ones: bytes changed anywhere, and JSON changed in its structure."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Sequence
from typing import Any

MAX_BYTES = 1 << 16  # of an input

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 1.5, -0.0, 1e308, 1e-320, 10**30, -(10**400), 2**31, 2**63, 2**64),
    *(
        "",
        " ",
        "\0",
        "x",
        "\x1b[2J",
        "\u202e",
        "\ud800",
        "١",
        "NaN",
        "-",
        "{",
        "{a|b}",
        "a" * 5000,
        "/dev/null",
        "..",
        "%s",
    ),
    *([], {}, [[]], [None], [0] * 300, {"": None}, {"a": {"a": {}}}, [1, "a", None, {}]),
)
"""Values that stand where others are expected."""


def changed_bytes(data: bytes, rng: random.Random, words: Sequence[bytes]) -> bytes:
    """A few changes anywhere. words: pieces that mean something in this kind of input."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _change(out, rng, words)
    return bytes(out[:MAX_BYTES])


def _change(out: bytearray, rng: random.Random, words: Sequence[bytes]) -> None:
    """One change in place."""
    at = rng.randrange(len(out) + 1)
    end = min(len(out), at + rng.choice((1, 1, 2, 4, 16, 200)))
    match rng.randrange(9):
        case 0:
            out[at:end] = rng.randbytes(end - at)
        case 1:
            del out[at:end]
        case 2:
            out[at:at] = out[at:end] * rng.choice((1, 2, 50))
        case 3 if at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        case 4:
            code = rng.choice(("<B", "<H", ">H", "<I", ">I", "<Q"))
            number = struct.pack(code, rng.choice(NUMBERS) % (1 << 8 * struct.calcsize(code)))
            out[at : at + len(number)] = number
        case 5:
            del out[at:]
        case 6 if words:
            out[at:at] = rng.choice(words)
        case 7 if words:
            word = rng.choice(words)
            out[at : at + len(word)] = word
        case _:
            source = rng.randrange(len(out) + 1)
            out[at:at] = out[source : source + rng.choice((1, 8, 100))]


def changed_json(data: bytes, rng: random.Random, words: Sequence[bytes]) -> bytes:
    """A few changes of values, keys and structure; of bytes where it is no JSON, and now and then anyway."""
    if rng.random() < 0.15:
        return changed_bytes(data, rng, words)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return changed_bytes(data, rng, words)
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = _changed_value(value, rng, words)
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return data
    return text.encode()[:MAX_BYTES]


def _changed_value(value: Any, rng: random.Random, words: Sequence[bytes]) -> Any:
    """The value with one node changed, or one in another's place."""
    paths = list(_paths(value))
    path = rng.choice(paths)
    return _with(value, path, rng, words)


def _paths(value: Any, path: tuple[Any, ...] = (), depth: int = 0) -> Any:
    """Where every node is, as the keys that lead to it."""
    yield path
    if depth < 12:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in list(inner)[:50]:
            yield from _paths(each, (*path, key), depth + 1)


def _with(value: Any, path: tuple[Any, ...], rng: random.Random, words: Sequence[bytes]) -> Any:
    if not path:
        return _other(value, rng, words)
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if not rest and rng.random() < 0.25:
        if rng.random() < 0.5 or isinstance(copy, list):
            del copy[key]
        else:
            copy[_word(rng, words)] = copy[key]
        return copy
    copy[key] = _with(copy[key], tuple(rest), rng, words)
    return copy


def _other(value: Any, rng: random.Random, words: Sequence[bytes]) -> Any:
    """What stands in a value's place."""
    match rng.randrange(6):
        case 0:
            return [value] * rng.choice((1, 2, 20))
        case 1:
            return {_word(rng, words): value}
        case 2 if isinstance(value, (int, float)) and not isinstance(value, bool):
            return rng.choice(
                (value + 1, value - 1, -value, value * 2, value // 2, value % 7 + 0.5, rng.choice(NUMBERS))
            )
        case 3 if isinstance(value, str):
            return changed_bytes(value.encode(errors="replace"), rng, words).decode(errors="replace")
        case 4 if isinstance(value, dict):
            return dict(value) | {_word(rng, words): rng.choice(STRANGE)}
        case _:
            return rng.choice(STRANGE)


def _word(rng: random.Random, words: Sequence[bytes]) -> str:
    return rng.choice(words).decode(errors="replace") if words else "x"


def changed_safetensors(data: bytes, rng: random.Random, words: Sequence[bytes]) -> bytes:
    """The header of a safetensors file changed as JSON, and its length set right, more often than not."""
    if rng.random() < 0.2 or len(data) < 10:
        return changed_bytes(data, rng, words)
    length = int.from_bytes(data[:8], "little") % len(data)
    header, body = changed_json(data[8 : 8 + length], rng, words), data[8 + length :]
    shown = len(header) + rng.choice((0,) * 12 + (1, -1, 8))
    return max(0, shown).to_bytes(8, "little") + header + body[: rng.choice((len(body),) * 4 + (0,))]
