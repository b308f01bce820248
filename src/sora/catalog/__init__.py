"""Every model that sora knows, as rows of data, and how one is found by its name or its path.

To add a checkpoint: one row. To add a family: a file of rows, named in ``FAMILIES``, and a package in ``models``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from sora.catalog import hub, mini, repositories, wan
from sora.catalog.repositories import RepositoryName
from sora.catalog.spec import Advice, Defaults, GuidedWeights, ModelSpec
from sora.errors import ModelError

__all__ = [
    "DEFAULT",
    "FAMILIES",
    "MODELS",
    "Advice",
    "Defaults",
    "GuidedWeights",
    "ModelSpec",
    "are_pair",
    "find",
    "recognise",
]


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

    def are_pair(self, first: Path, second: Path) -> bool:
        """Whether the names of two files say that they are such a model."""
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
    if not name.strip():
        raise ModelError("the model's name is empty; expected a name (see `sora models`) or a path")
    path = Path(name).expanduser()
    if _exists(path):
        return recognise(name, path)
    if repository := repositories.parse(name):
        return _of_repository(repository)
    if pair := _pair(name):
        return recognise(name, *pair)
    if nearest := _nearest(name):
        raise ModelError(f"no model is called {name!r}; the nearest is {nearest} (see `sora models`)")
    if path.name != name:
        raise ModelError(f"there is nothing at {name!r}; expected a model's name (see `sora models`) or a path")
    raise ModelError(f"no model is called {name!r}; there is {', '.join(MODELS)} (see `sora models`)")


def recognise(name: str, *paths: Path) -> ModelSpec:
    """What the first family that knows it makes of a path, or of two files that are one model. name: as it was typed.
    Raises ModelError of the last family that was asked."""
    refusals: list[ModelError] = []
    for rows in FAMILIES.values():
        try:
            if len(paths) == 1:
                found = rows.recognise(paths[0], name)
            else:
                found = rows.recognise_pair(paths[0], paths[1], name) if isinstance(rows, PairedFamily) else None
        except ModelError as error:
            refusals.append(error)
            continue
        if found is not None:
            return found
    raise refusals[-1] if refusals else ModelError(f"{name} holds no model that sora knows; see `sora models`")


def are_pair(first: Path, second: Path) -> bool:
    """Whether the names of two files say that they are one model."""
    return any(rows.are_pair(first, second) for rows in FAMILIES.values() if isinstance(rows, PairedFamily))


def _of_repository(repository: RepositoryName) -> ModelSpec:
    """A row of that repository, or else what was fetched of it. Raises ModelError for what is not here in all."""
    name, repo = repository.text, repository.repo
    row = next((row for row in MODELS.values() if row.repo.lower() == repo.lower()), None)
    if row is not None and not repository.files:
        return row
    places, record = repositories.paths(repository), repositories.recorded(name)
    if not places:
        nearest = _nearest(name)
        hint = f"; the nearest model is {nearest}" if nearest else ""
        problem = f"there is nothing at {name!r}, and no such repository is here"
        raise ModelError(f"{problem}; fetch it with: sora models pull {name}{hint} (see `sora models`)")
    if record is not None and record.kind == repositories.LORA:
        raise ModelError(f"{name} is a LoRA; add it to a model with --lora {name}")
    if record is not None and hub.local_copy(record).state != hub.COMPLETE:
        raise ModelError(f"{name} is here only in part; go on with: sora models pull {name}")
    spec = recognise(name, *places)
    known = {} if record is None else {"bytes": record.bytes, "licence": record.licence or spec.licence}
    return replace(spec, repo=repo, revision=hub.commit_of(places[0]), **known)


def _pair(name: str) -> tuple[Path, Path] | None:
    """The two paths in a name with a comma, which paths may have, too. Raises ModelError where one is not there."""
    parts = name.split(",")
    splits = [(",".join(parts[:at]).strip(), ",".join(parts[at:]).strip()) for at in range(1, len(parts))]
    pairs = [(_file(first), _file(second)) for first, second in splits if first and second]
    for first, second in pairs:
        if _exists(first) and _exists(second):
            return first, second
    for first, second in pairs:
        if _exists(first) or _exists(second):
            gone = second if _exists(first) else first
            raise ModelError(f"there is nothing at {str(gone)!r}; expected two files, as --model HIGH,LOW")
    return None


def _file(name: str) -> Path:
    """One of two files: at a path, or of a repository that was fetched."""
    repository = None if _exists(path := Path(name).expanduser()) else repositories.parse(name)
    found = repositories.paths(repository) if repository else ()
    return found[0] if len(found) == 1 else path


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
