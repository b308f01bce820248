"""``--lora FILE[:STRENGTH]``: files checked by their headers, before torch is imported."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sora.catalog.spec import ModelSpec
from sora.errors import ModelError, UsageError
from sora.weights import lora_file

MAX_STRENGTH = 10.0
MAX_DISTILLED_STEPS = 16
DISTILLED_STEPS = {"lightx2v": 4, "lightning": 4, "fastwan": 3, "causvid": 8, "accvid": 8, "self_forcing": 4, "dmd": 4}
"""Words in the names of published few-step LoRAs, and the steps their makers sample with."""


@dataclass(frozen=True)
class Lora:
    """A LoRA's file and how often it is added to the weights."""

    path: Path
    strength: float

    @property
    def distilled_steps(self) -> int | None:
        """How few steps it was distilled to, by what its file is called; None for a plain one."""
        name = self.path.stem.lower()
        match = re.search(r"(?<![0-9])([1-9][0-9]?)[-_ ]?steps?(?![a-z])", name)
        by_word = next((steps for word, steps in DISTILLED_STEPS.items() if word in name), None)
        return int(match[1]) if match and int(match[1]) <= MAX_DISTILLED_STEPS else by_word

    @property
    def flag_value(self) -> str:
        """As the flag takes it."""
        return f"{self.path.absolute()}:{self.strength:g}"


def parse(texts: Sequence[str], spec: ModelSpec) -> tuple[Lora, ...]:
    """The files of a command's --lora flags. Raises UsageError, InputError and ModelError for what cannot be added to
    this model; whether every shape fits is seen when the weights are there."""
    found = tuple(parse_flag(text) for text in texts)
    for lora in found:
        _check(lora.path, spec)
    return found


def parse_flag(text: str) -> Lora:
    """The file and the strength of one flag. Raises UsageError."""
    path, colon, number = text.rpartition(":")
    try:
        strength = float(number) if colon else 1.0
    except ValueError:  # a colon of the file's own name
        return Lora(Path(text), 1.0)
    if not math.isfinite(strength) or abs(strength) > MAX_STRENGTH:
        raise UsageError(
            f"--lora {text}: strength {number} is out of range; expected {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}"
        )
    return Lora(Path(path if colon else text), strength)


def _check(path: Path, spec: ModelSpec) -> None:
    family = lora_file.facts(path).get("family", spec.family)
    if family != spec.family:
        raise ModelError(f"{path} is a LoRA of {family}, and {spec.name} is of {spec.family}; choose another --model")
