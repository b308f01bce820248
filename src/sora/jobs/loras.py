"""``--lora FILE[:STRENGTH]``: files checked by their headers, before torch is imported."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sora.catalog import few_step, repositories
from sora.catalog.few_step import FewStep
from sora.catalog.spec import ModelSpec
from sora.errors import InputError, ModelError, UsageError
from sora.weights import lora_file

MAX_STRENGTH = 10.0
TITLES = ("ss_output_name", "modelspec.title", "title", "name")
"""Where trainers write what a LoRA is called, in a file's metadata."""

STEPS = ("num_inference_steps", "inference_steps")
"""Where metadata says how many steps to sample with."""

_GENERIC = re.compile(r"(?:(?:high|low)_noise_model|adapter_model|pytorch_lora_weights|diffusion_pytorch_model)")


@dataclass(frozen=True)
class Lora:
    """A LoRA's file, or its folder as peft writes it, and how often it is added to the weights. titles: what its
    metadata says it is called. stated_steps: how many steps it says to sample with."""

    path: Path
    strength: float
    titles: tuple[str, ...] = ()
    stated_steps: int | None = None

    @property
    def few_step(self) -> FewStep | None:
        """How it is sampled, by what it is called, if it was distilled to few steps; None for a plain one."""
        name = self.path.name.removesuffix(".safetensors")
        folder = [self.path.absolute().parent.name] if _GENERIC.fullmatch(name) else []
        kind = next((kind for kind in map(few_step.named, (name, *folder, *self.titles)) if kind), None)
        if self.stated_steps is None:
            return kind
        return (kind or FewStep(self.stated_steps)).in_steps(self.stated_steps)

    @property
    def flag_value(self) -> str:
        """As the flag takes it."""
        return f"{self.path.absolute()}:{self.strength:g}"


def parse(texts: Sequence[str], spec: ModelSpec) -> tuple[Lora, ...]:
    """The files of a command's --lora flags. Raises UsageError, InputError and ModelError for what cannot be added to
    this model; which shapes fit is seen when the weights are there."""
    given = [parse_flag(text) for text in texts]
    return tuple(_checked(replace(lora, path=path), spec) for lora in given for path in _files(lora.path))


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
    if not (file := path if colon else text).strip():
        raise UsageError(f"--lora {text!r} names no file; expected FILE or FILE:STRENGTH")
    return Lora(Path(file), strength)


def _files(path: Path) -> Iterator[Path]:
    """The files of what a person named: at a path, or fetched from a repository. Raises InputError."""
    name = None if os.path.lexists(path) else repositories.parse(str(path))
    found = repositories.paths(name) if name else ()
    if name and name.files and not found:
        raise InputError(f"there is no LoRA {path} here; fetch it with: sora models pull {path}")
    for place in found or (path,):
        yield from _places(place)


def _places(path: Path) -> Iterator[Path]:
    """The files of what a person named: a file; a folder that peft wrote, as a whole; of any other folder its LoRA, or
    the two for Wan 2.2's experts. Raises InputError."""
    try:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
        words = [word for file in files for word in ("high", "low") if word in file.name.lower()]
        if len(files) == 2 and sorted(words) == ["high", "low"]:
            yield from files
        else:
            yield lora_file.peft_folder(path) or lora_file.located(path)
    except OSError as error:
        raise InputError(f"the LoRA {path} cannot be read ({error.strerror or error}); check the name") from None


def _checked(lora: Lora, spec: ModelSpec) -> Lora:
    facts = lora_file.facts(lora.path)
    family = facts.get("family", spec.family)
    if family != spec.family:
        raise ModelError(
            f"{lora.path} is a LoRA of {family}, and {spec.name} is of {spec.family}; choose another --model"
        )
    return replace(lora, titles=tuple(facts[key] for key in TITLES if key in facts), stated_steps=_stated(facts))


def _stated(facts: Mapping[str, str]) -> int | None:
    numbers = [facts[key] for key in STEPS if re.fullmatch(r"[1-9][0-9]?", facts.get(key, ""))]
    return next((int(number) for number in numbers if int(number) <= few_step.MAX_STEPS), None)
