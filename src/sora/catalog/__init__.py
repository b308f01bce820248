"""Every model that sora knows, as rows of data, and how one is found by its name or its path.

To add a checkpoint: one row. To add a family: a file of rows, named in ``FAMILIES``, and a package in ``models``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from sora.catalog import mini, wan
from sora.catalog.spec import Advice, Defaults, GuidedWeights, ModelSpec
from sora.errors import ModelError

__all__ = ["DEFAULT", "FAMILIES", "MODELS", "Advice", "Defaults", "GuidedWeights", "ModelSpec", "find"]


class Family(Protocol):
    """What a family's file of rows holds."""

    @property
    def MODELS(self) -> Mapping[str, ModelSpec]: ...

    def recognise(self, path: Path, name: str) -> ModelSpec | None:
        """What a person's own weights at a path are, if they are of this family. name: the path as it was typed. None
        for what another family may know. Raises ModelError for weights of this family that cannot be used."""
        ...


@runtime_checkable
class PairedFamily(Protocol):
    """What a family's file of rows also holds if a model of it can be two files."""

    def recognise_pair(self, first: Path, second: Path, name: str) -> ModelSpec:
        """As ``recognise``, of two transformers that a person named together."""
        ...


FAMILIES: dict[str, Family] = {"mini": mini, "wan": wan}
"""The rows of each family, by the name of its package in ``models``."""

MODELS: dict[str, ModelSpec] = {name: row for rows in FAMILIES.values() for name, row in rows.MODELS.items()}

DEFAULT = mini.MINI.name
"""The model that paints where none is named."""


def find(name: str) -> ModelSpec:
    """The row called ``name``, or what lies at that path: a folder in diffusers' layout, or a file with a transformer,
    or two of them, parted by a comma. Raises ModelError naming what there is, and for a path that holds no model."""
    if name in MODELS:
        return MODELS[name]
    path = Path(name).expanduser()
    if _exists(path):
        return _recognised(name, lambda rows: rows.recognise(path, name))
    if pair := _pair(name):
        return _recognised(
            name, lambda rows: rows.recognise_pair(*pair, name) if isinstance(rows, PairedFamily) else None
        )
    if nearest := _nearest(name):
        raise ModelError(f"no model is called {name!r}; the nearest is {nearest} (see `sora models`)")
    if path.name != name:
        raise ModelError(f"there is nothing at {name!r}; expected a model's name (see `sora models`) or a path")
    raise ModelError(f"no model is called {name!r}; there is {', '.join(MODELS)} (see `sora models`)")


def _recognised(name: str, recognise: Callable[[Family], ModelSpec | None]) -> ModelSpec:
    """What the first family that knows it makes of a path. Raises ModelError of the last that was asked."""
    refusals: list[ModelError] = []
    for rows in FAMILIES.values():
        try:
            found = recognise(rows)
        except ModelError as error:
            refusals.append(error)
            continue
        if found is not None:
            return found
    raise refusals[-1] if refusals else ModelError(f"{name} holds no model that sora knows; see `sora models`")


def _pair(name: str) -> tuple[Path, Path] | None:
    """The two paths in a name with a comma, which paths may have, too. Raises ModelError where one is not there."""
    parts = name.split(",")
    splits = [(",".join(parts[:at]).strip(), ",".join(parts[at:]).strip()) for at in range(1, len(parts))]
    pairs = [(Path(first).expanduser(), Path(second).expanduser()) for first, second in splits]
    for first, second in pairs:
        if _exists(first) and _exists(second):
            return first, second
    for first, second in pairs:
        if _exists(first) or _exists(second):
            gone = second if _exists(first) else first
            raise ModelError(f"there is nothing at {str(gone)!r}; expected two files, as --model HIGH,LOW")
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or one with a zero in it, is none
        return False


def _nearest(name: str) -> str:
    """The model that someone who typed this may have meant: by its name or its place on the hub; empty for none."""
    from difflib import get_close_matches

    names = {row.name.lower(): row.name for row in MODELS.values()}
    names |= {row.repo.lower(): row.name for row in MODELS.values() if row.repo}
    found = get_close_matches(name.lower(), names, n=1)
    return names[found[0]] if found else ""
