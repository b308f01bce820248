"""What a file of weights is and says of itself, from its header alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sora.weights import strict
from sora.weights.lora_names import adapter_kind
from sora.weights.source import READ


@dataclass(frozen=True)
class WeightsFacts:
    """kind: "weights", or one of adapters, as "LoRA". tensors, parameters: how many. formats: number format -> tensors
    in it. metadata: what the file says of itself, as text."""

    kind: str
    tensors: int
    parameters: int
    formats: dict[str, int]
    metadata: dict[str, str]


def is_weights(path: Path) -> bool:
    """Whether a name is that of a file of weights which is read."""
    return path.suffix in READ


def facts(path: Path) -> WeightsFacts:
    """Raises ModelError for a file that is missing, damaged or of a number format that is not read."""
    table = strict.table(path)
    formats = Counter(entry.format for entry in table.values())
    parameters = sum(entry.numbers for entry in table.values())
    return WeightsFacts(adapter_kind(table) or "weights", len(table), parameters, dict(formats), strict.metadata(path))
