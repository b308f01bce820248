"""How strong a LoRA is meant to be: alpha / rank, or alpha / sqrt(rank) where it says rslora (arXiv 2312.03732).

The tensors of a file come first, ``<module>.alpha``. Then what else says it, in this order: diffusers' metadata (peft's
configuration as JSON, under ``lora_adapter_metadata``), plain metadata, and peft's ``adapter_config.json`` next to the
file. Where nothing says it, alpha is the rank.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sora.errors import ModelError
from sora.storage import regular

METADATA_KEY = "lora_adapter_metadata"  # diffusers' name for it
CONFIG = "adapter_config.json"
ALPHAS = ("lora_alpha", "alpha")  # peft calls it by the second for LoHa and LoKr
PLAIN_ALPHAS = (*ALPHAS, "ss_network_alpha", "network_alpha")
MAX_PATTERNS = 2000
MAX_NAME = 500  # characters of a module's name
COMPONENTS = ("transformer.", "transformer_2.")  # of a pipeline of diffusers, whose two experts share a file

_PATTERN = re.compile(r"\^?(?:[\w-]|\\?\.|\.[*+]|\\d\+?|\[0-9\]\+?|\((?:\?:)?[\w|-]+\))+\$?")
_MAX_STARS = 3
"""Expressions of a file that are searched for: names with a few placeholders, which no name takes long to match."""


@dataclass(frozen=True)
class Scale:
    """What a file says of its modules' strength besides their own tensors.

    alpha: None where nothing says it. rank: of adapters whose tensors do not tell. alpha_pattern, rank_pattern: those
    of modules whose names end in a pattern.
    """

    alpha: float | None = None
    rank: float | None = None
    alpha_pattern: Mapping[re.Pattern[str], float] = field(default_factory=dict)
    rank_pattern: Mapping[re.Pattern[str], float] = field(default_factory=dict)
    rslora: bool = False

    def of(self, module: str, rank: int | None) -> float:
        """The factor of a module. module: its name in the file, without a prefix. rank: by its tensors; None for
        factors without one."""
        alpha = _of_module(self.alpha_pattern, module, self.alpha)
        rank_there = rank or _of_module(self.rank_pattern, module, self.rank)
        if alpha is None or not rank_there:
            return 1.0
        return alpha / (math.sqrt(rank_there) if self.rslora else rank_there)


def scale_of(path: Path, metadata: Mapping[str, str], config: Path | None, component: str = COMPONENTS[0]) -> Scale:
    """path: of the file, for messages. config: ``adapter_config.json`` where it counts. component: of COMPONENTS.
    Raises ModelError for what is not understood."""
    try:
        if METADATA_KEY in metadata:
            values = regular.parse_json(metadata[METADATA_KEY])
            scale = _from_peft(_component(values, component))
            if scale.alpha is not None:
                return scale
        if "sora" in metadata:  # the alpha of our own files is in their factors
            return Scale()
        plain = _component(metadata, component)
        alpha = next((plain[name] for name in PLAIN_ALPHAS if plain.get(name) not in (None, "", "None")), None)
        if alpha is not None:
            nested = {k: regular.parse_json(plain[k]) for k in ("alpha_pattern", "rank_pattern") if plain.get(k)}
            rslora = str(plain.get("use_rslora", "")).lower() == "true"
            return _from_peft({"lora_alpha": alpha, "r": plain.get("r"), "use_rslora": rslora, **nested})
        return Scale() if config is None else _from_peft(regular.read_json(config))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"the strength of the LoRA {path} is not understood ({reason}); get another") from None


def _component(values: Mapping[str, Any], component: str) -> dict[str, Any]:
    """What holds for a transformer, with or without its name before it."""
    named = {k.removeprefix(component): v for k, v in values.items() if k.startswith(component)}
    return dict(values) | named


def _from_peft(config: Mapping[str, Any]) -> Scale:
    """Of peft's configuration. Raises ValueError, TypeError or AttributeError."""
    alpha = next((config[name] for name in ALPHAS if config.get(name) is not None), None)
    rank = config.get("r")
    return Scale(
        alpha=None if alpha is None else _number(alpha),
        rank=None if rank is None else _number(rank),
        alpha_pattern=_patterns(config.get("alpha_pattern")),
        rank_pattern=_patterns(config.get("rank_pattern")),
        rslora=config.get("use_rslora") is True,
    )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"alpha or rank {value}")
    return number


def _patterns(values: Mapping[str, Any] | None) -> dict[re.Pattern[str], float]:
    """Expression to number. Peft searches for one at the end of a name, behind a dot."""
    if len(values or {}) > MAX_PATTERNS:
        raise ValueError(f"more than {MAX_PATTERNS} patterns")
    for pattern in values or {}:
        if not _PATTERN.fullmatch(pattern) or len(re.findall(r"[*+]", pattern)) > _MAX_STARS:
            raise ValueError(f"the pattern {pattern[:60]}")
    return {re.compile(rf"(?:.*\.)?(?:{pattern})$"): _number(value) for pattern, value in (values or {}).items()}


def _of_module(patterns: Mapping[re.Pattern[str], float], module: str, otherwise: float | None) -> float | None:
    """What the first pattern says that fits a module."""
    found = (value for pattern, value in patterns.items() if len(module) <= MAX_NAME and pattern.match(module))
    return next(found, otherwise)
