"""Sizes in a model's configuration, checked before a network is built of them: even without weights, a billion layers
take all memory and time. Every published model is far below the bounds. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_SIZE = 1 << 17  # of a width, in channels
MAX_LAYERS = 256
MAX_VOCABULARY = 1 << 22
MAX_NUMBERS = 1 << 41  # of parameters, about

LIMITS: dict[str, int] = {
    **dict.fromkeys(("num_layers", "num_hidden_layers", "num_res_blocks", "vace_layers", "patch_size"), MAX_LAYERS),
    **dict.fromkeys(("num_attention_heads", "num_heads", "pos_embed_seq_len"), 1 << 13),
    "dim_mult": 64,
    "image_size": 1 << 13,
    "vocab_size": MAX_VOCABULARY,
}
"""The largest value of a size by its name in a configuration; MAX_SIZE of all others."""


def whole_number(value: object, name: str, minimum: int = 1) -> int:
    """A size from a configuration. Raises ValueError for what is no whole number in the range of its name."""
    maximum = LIMITS.get(name, MAX_SIZE)
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        shown = repr(value) if len(repr(value)) < 40 else type(value).__name__
        raise ValueError(f"{name} is {shown}; expected a whole number from {minimum} to {maximum}")
    return value


def whole_numbers(config: Mapping[str, Any], names: tuple[str, ...], what: str) -> list[int]:
    """Sizes under these names. what: whose configuration it is, for a person. Raises ValueError for one that is missing
    or out of range."""
    missing = [name for name in names if not isinstance(config.get(name), int)]
    if missing:
        raise ValueError(f"{what}'s config.json lacks {', '.join(missing)}; take it from the same repository")
    return [whole_number(config[name], name) for name in names]


def epsilon(value: object, name: str) -> float:
    """A small number that is added before a division. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}; expected a number from 0 to 1")
    return float(value)


def check_parameters(layers: int, width: int, inner: int) -> None:
    """Raises ValueError for a transformer of more parameters than any machine holds. inner: width of its
    feed-forward."""
    if layers * width * (4 * width + 2 * inner) > MAX_NUMBERS:
        raise ValueError(f"{layers} layers of a width of {width} are more than any machine holds")
